"""Signals as exceptions; `tests/training/test_resume.py` sends them to trainings."""

from __future__ import annotations

import os
import signal
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

import pytest

from selfsight.cli import guarded
from selfsight.stops import AGAIN, Stopped, StopRequest, accept, raising, requested

pytestmark = pytest.mark.usefixtures("heard_signals")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_outside_a_training_a_signal_is_an_interrupt(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as stop, raising():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert isinstance(stop.value, Stopped)
    assert stop.value.exit_code == 128 + number
    assert number.name in str(stop.value)
    assert signal.getsignal(number) == before


class Plain:
    """Can be referred to weakly."""


class Noisy:
    """Gets a signal while it is deleted."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


def test_a_signal_inside_a_finalizer_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.unraisablehook
    began = time.monotonic()
    with pytest.raises(Stopped) as stop, raising():
        Noisy()
        time.sleep(5)
    assert stop.value.exit_code == 143
    assert time.monotonic() - began < 4
    assert "Traceback" not in capfd.readouterr().err
    assert sys.unraisablehook is before


def test_a_signal_inside_a_callback_at_the_very_end_is_not_lost() -> None:
    def heard(_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

    with pytest.raises(Stopped, match="stopped by SIGINT"), raising():
        thing = Plain()
        reference = weakref.ref(thing, heard)
        del thing
        assert reference() is None


def swallow_every_error() -> None:
    with suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)


def wrap_every_error() -> None:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    except BaseException as error:
        raise RuntimeError("the model cannot be exported") from error


def leave_on_every_error() -> None:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    except BaseException:
        sys.exit(1)


def interrupt_instead() -> None:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    except BaseException:
        raise KeyboardInterrupt from None


def try_other_ways() -> None:
    """As exporters do: errors of the ways that failed are collected."""
    errors = []
    for _ in range(3):
        try:
            wrap_every_error()
        except RuntimeError as error:
            errors.append(error)
    raise ValueError("no way works")


LIBRARIES = [
    *(swallow_every_error, wrap_every_error, leave_on_every_error),
    *(interrupt_instead, try_other_ways),
]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_stop_decides_whatever_a_library_makes_of_it(library: Callable[[], None]) -> None:
    with pytest.raises(Stopped) as stop, raising():
        library()
    assert stop.value.exit_code == 143


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_stop_decides_the_exit_code_and_the_sentence(
    library: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        library()
        return 0

    assert guarded(command, ["export"]) == 143
    assert capsys.readouterr().err == (
        "selfsight: stopped by SIGTERM. Files written before are whole; start the same command "
        "again.\n"
    )


def test_a_swallowed_stop_is_sent_again_to_a_command_that_goes_on() -> None:
    began = time.monotonic()
    with pytest.raises(Stopped), raising():
        swallow_every_error()
        time.sleep(5)
    assert time.monotonic() - began < 4


def test_a_stop_that_is_accepted_is_neither_raised_nor_sent_again() -> None:
    with raising():
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        assert requested() == signal.SIGINT
        accept()
        assert requested() == 0
        time.sleep(3 * AGAIN)
    assert requested() == 0


def test_errors_without_a_stop_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match="bad input"), raising():
        raise ValueError("bad input")


def test_other_errors_in_finalizers_are_reported_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ValueError("broken")

    told: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda each: told.append(str(each.exc_value)))
    with raising():
        Broken()
    assert told == ["broken"]


def test_the_second_signal_stops_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), StopRequest() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.number == signal.SIGINT
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert "again stops at once" in capfd.readouterr().err


def test_what_the_parent_ignores_stays_ignored() -> None:
    """``nohup`` ignores SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raising(), StopRequest() as request:
            os.kill(os.getpid(), signal.SIGHUP)
            assert request.number == 0
    finally:
        signal.signal(signal.SIGHUP, before)
