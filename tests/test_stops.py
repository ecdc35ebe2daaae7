"""Signals as exceptions; `tests/training/test_resume.py` sends them to trainings."""

from __future__ import annotations

import os
import signal
import time

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
