"""The status line, the lines of a log file, and `--quiet`."""

from __future__ import annotations

import io
import sys
import time

import pytest

from selfsight import console
from selfsight.data.notes import doubt, guess, left_out, say_notes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "DELAY", 0.0)
    monkeypatch.setattr(console, "TICK", 0.02)
    monkeypatch.setattr(console, "LINE_SECONDS", 0.05)


def screen(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> io.StringIO:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def until(stream: io.StringIO, text: str) -> None:
    end = time.monotonic() + 20
    while text not in stream.getvalue():
        assert time.monotonic() < end, stream.getvalue()
        time.sleep(0.01)


def test_a_terminal_has_one_line_with_rate_and_time_left(
    fast: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = screen(monkeypatch, True)
    monkeypatch.setenv("COLUMNS", "200")
    with console.progress("command"), console.progress("reading files", 1000) as step:
        step.update(250, "loss 1.5")
        until(stream, "left  loss 1.5")
        console.say("epoch 1/2")
    text = stream.getvalue()
    assert "reading files 250 of 1,000" in text and "/s" in text
    assert "\r\x1b[Kepoch 1/2\n" in text, "the line must not stick to the bar"
    assert text.count("\n") == 1 and text.endswith(("\r\x1b[K", "\n"))
    assert console._SCREEN.steps == [] and console._SCREEN.thread is None


def test_without_a_terminal_there_are_whole_lines(
    fast: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = screen(monkeypatch, False)
    with console.progress("export"):
        until(stream, "export")
        time.sleep(0.2)
    lines = stream.getvalue().splitlines()
    assert len(lines) >= 2 and "\r" not in stream.getvalue()
    assert all(line.startswith("export") for line in lines)


def test_no_line_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = screen(monkeypatch, False)
    monkeypatch.setattr(console, "TICK", 0.02)
    with console.progress("quick"):
        time.sleep(0.2)
    assert stream.getvalue() == ""


def test_quiet_leaves_warnings(fast: None, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = screen(monkeypatch, True)
    with console.quiet(), console.progress("anything", 3) as step:
        step.update()
        console.say("a note")
        console.say("Warning: collapsed")
        time.sleep(0.1)
    assert stream.getvalue() == "Warning: collapsed\n"
    assert not console.is_quiet()
    console.say("again")
    assert "again" in stream.getvalue()


def test_data_that_are_left_out_are_said_with_quiet(
    fast: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = screen(monkeypatch, False)
    lines = [
        "A fact.",
        left_out("2 files are left out.", about="x", count=2),
        doubt("A doubt."),
        guess("A guess", "axes", "NHWC"),
    ]
    with console.quiet():
        say_notes(lines)
        console.warn("1 image was left out.")
        console.warn("Warning: collapsed")
    said = ["2 files are left out.", "A doubt.", "1 image was left out.", "collapsed"]
    assert stream.getvalue().splitlines() == [f"Warning: {line}" for line in said]
    console.warn("1 image was left out.")
    assert stream.getvalue().endswith("\n1 image was left out.\n")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 images"), (1, "1 image"), (2000, "2,000 images")]
)
def test_counts(count: int, text: str) -> None:
    assert console.counted(count, "image") == text
    assert console.counted(count, "query is", "queries are").split()[1] == (
        "query" if count == 1 else "queries"
    )


def test_what_was_done_before_does_not_count_for_the_rate() -> None:
    step = console.Step("training step", 100, done=90)
    assert "left" not in str(step)
    step.began -= 10
    step.update(5)
    assert "95 of 100" in str(step) and "0.5/s" in str(step) and "10 s left" in str(step)


@pytest.mark.parametrize(
    ("rate", "text"),
    [(1234.5, "1,234/s"), (2.5, "2.5/s"), (0.5, "0.5/s"), (0.074, "14 s each")],
)  # fmt: skip
def test_what_takes_seconds_is_counted_in_seconds(rate: float, text: str) -> None:
    assert console._speed(rate) == text


def test_steps_close_after_an_error(fast: None, monkeypatch: pytest.MonkeyPatch) -> None:
    screen(monkeypatch, True)
    with pytest.raises(ValueError), console.progress("a"), console.progress("b"):
        raise ValueError
    assert console._SCREEN.steps == []


def test_a_space_that_does_not_break_is_a_space() -> None:
    assert console.shown("accuracy 83.1\N{NO-BREAK SPACE}%") == "accuracy 83.1 %"
    assert console.shown("a\x1b[2Jb\x9bc") == "a\\x1b[2Jb\\x9bc"
