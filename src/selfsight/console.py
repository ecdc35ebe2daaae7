"""What a person reads while a command works: lines and one status line on standard error.

On a terminal the status line shows the steps that are open, with rate and time left; elsewhere, as
in a log file, it becomes a line every half minute. Bars of tqdm cannot do the second, nor show that
a step of unknown length goes on, so the line is written here.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator

DELAY = 1.0
"""Seconds before a step is shown on a terminal."""
TICK = 0.5
"""Seconds between two looks at the open steps."""
LINE_SECONDS = 30.0
"""Seconds between two lines where there is no terminal."""
QUIET = "SELFSIGHT_QUIET"
"""Set in the environment while only results, warnings and errors are printed."""


class Step:
    """A step that is open: how far it is, and what is shown of it.

    Args:
        what: it does, as in ``decoding images``.
        total: how many things it has to do; None: not known.
        done: how many of them were done before.
    """

    def __init__(self, what: str, total: int | None, done: int = 0) -> None:
        self.what, self.total, self.count, self.more = what, total, done, ""
        self.done = done
        self.began = time.monotonic()

    def update(self, count: int = 1, more: str = "") -> None:
        """``count`` more things are done; ``more`` is shown behind them, as in ``loss 1.2``."""
        self.count += count
        self.more = more or self.more

    def __str__(self) -> str:
        passed = time.monotonic() - self.began
        if not self.total:
            words = [self.what, duration(passed)]
        else:
            words = [f"{self.what} {self.count:,} of {self.total:,}"]
            rate = (self.count - self.done) / max(passed, 1e-9)
            if rate:
                words.append(_speed(rate))
                words.append(f"{duration((self.total - self.count) / rate)} left")
            else:
                words.append(duration(passed))
        return "  ".join([*words, self.more] if self.more else words)


def _speed(rate: float) -> str:
    """``1,200/s``, ``2.5/s``, or ``12 s each`` where a thing takes seconds."""
    if rate < 0.4:
        return f"{duration(1 / rate)} each"
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"


class _Screen:
    """The open steps of this process, and the thread that shows them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.steps: list[Step] = []
        self.drawn = False
        self.last_line = 0.0
        self.wake = threading.Event()
        self.thread: threading.Thread | None = None

    def open(self, step: Step) -> None:
        with self.lock:
            if not self.steps:
                self.last_line = time.monotonic()
            self.steps.append(step)
            if self.thread is None or not self.thread.is_alive():
                self.wake.clear()
                self.thread = threading.Thread(target=self._tick, name="status", daemon=True)
                self.thread.start()

    def close(self, step: Step) -> None:
        with self.lock:
            self.steps.remove(step)
            self.erase()
            if not self.steps:
                self.wake.set()
                self.thread = None

    def erase(self) -> None:
        if self.drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self.drawn = False

    def show(self) -> None:
        """Draws the status line, or prints it as a line where its time has come."""
        now = time.monotonic()
        if not self.steps or now - self.steps[0].began < DELAY:
            return
        # The first step is the whole command; it is shown where nothing else is open.
        shown = [step for step in self.steps[1:] if now - step.began >= DELAY] or self.steps[:1]
        text = " > ".join(map(str, shown))
        if sys.stderr.isatty():
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[K{text[-width:] if len(text) > width else text}")
            self.drawn = True
        elif now - self.last_line >= LINE_SECONDS:
            sys.stderr.write(f"{text}\n")
            self.last_line = now
        sys.stderr.flush()

    def _tick(self) -> None:
        wake = self.wake
        while not wake.wait(TICK):
            with self.lock, contextlib.suppress(ValueError, OSError):  # stderr was closed
                if self.wake is wake:
                    self.show()


_SCREEN = _Screen()


def say(text: str) -> None:
    """Prints a line on standard error, once over all processes; with ``--quiet`` warnings only."""
    if first_process() and (not is_quiet() or text.startswith("Warning")):
        with _SCREEN.lock:
            _SCREEN.erase()
            print(shown(text), file=sys.stderr, flush=True)
            _SCREEN.last_line = time.monotonic()


def warn(text: str) -> None:
    """Prints a line that ``--quiet`` leaves, too: data were left out, or something went wrong."""
    say(f"Warning: {text}" if is_quiet() and not text.startswith("Warning") else text)


def shown(text: str) -> str:
    """Text for a terminal: control characters as escapes; lines and tabs as they are.

    The name of a file may hold escape sequences, which would move the cursor or clear the screen.
    """
    text = text.replace("\N{NO-BREAK SPACE}", " ")  # of "83.1 %", which is no control character
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


@contextlib.contextmanager
def progress(what: str, total: int | None = None, done: int = 0) -> Iterator[Step]:
    """Shows that a step is under way, from its second second on.

    Call ``update()`` of the step for each of ``total`` things; without a total the time passed is
    shown. Steps may be nested.
    """
    step = Step(what, total, done)
    if not first_process() or is_quiet() or multiprocessing.parent_process() is not None:
        yield step
        return
    _SCREEN.open(step)
    try:
        yield step
    finally:
        _SCREEN.close(step)


@contextlib.contextmanager
def quiet(on: bool = True) -> Iterator[None]:
    """Inside, only warnings are printed, also by the processes that are started there."""
    before = os.environ.get(QUIET)
    if on:
        os.environ[QUIET] = "1"
    try:
        yield
    finally:
        if on:
            os.environ.pop(QUIET)
            if before is not None:
                os.environ[QUIET] = before


def is_quiet() -> bool:
    return bool(os.environ.get(QUIET))


def first_process() -> bool:
    """Whether this process is the one that speaks and writes, of those that a launcher started.

    `torchrun` gives all a rank, `srun` a number, Lightning the place on a node.
    """
    environment = os.environ
    if "RANK" in environment:
        return environment["RANK"] == "0"
    if int(environment.get("SLURM_STEP_NUM_TASKS") or 1) > 1:
        return environment.get("SLURM_PROCID", "0") == "0"
    return environment.get("LOCAL_RANK", "0") == "0" and environment.get("NODE_RANK", "0") == "0"


def counted(count: int, one: str, many: str | None = None) -> str:
    """``1 image``, ``2,000 images``; with both forms ``1 query``, or ``2 images hold``.

    Args:
        count: how many.
        one: the words behind 1.
        many: the words behind every other number; None: those for one with an s.
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def duration(seconds: float) -> str:
    """``95`` -> ``1 min 35 s``."""
    seconds = round(seconds)
    hours, minutes, rest = seconds // 3600, seconds % 3600 // 60, seconds % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
