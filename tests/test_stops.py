"""Signals as exceptions; `tests/training/test_resume.py` sends them to trainings."""

from __future__ import annotations

import os
import signal
import sys
import time
import weakref

import pytest

from selfsight.stops import Stopped, StopRequest, raising

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
