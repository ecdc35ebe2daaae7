"""Stops: SIGINT, SIGTERM, SIGHUP and SIGUSR1 as one exception, where nothing gets lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    if hasattr(signal, name)
)
"""What ends a command: Ctrl-C, kill and schedulers, a closed terminal, SLURM's warning."""
AGAIN = 0.05
"""Seconds after which a signal that was lost is sent again."""


class Stopped(KeyboardInterrupt):
    """A signal has ended the work.

    In Python it is a `KeyboardInterrupt`, as after Ctrl-C; the command line exits with
    `exit_code`.

    Args:
        number: of the signal.
        state: a sentence on what is on disk.
    """

    def __init__(self, number: int, state: str = "") -> None:
        super().__init__(number, state)
        self.number, self.state = number, state

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells count: 130, 143, 129."""
        return 128 + self.number

    def __str__(self) -> str:
        state = self.state or "Files written before are whole; start the same command again."
        return f"stopped by {signal.Signals(self.number).name}. {state}"


@contextmanager
def raising() -> Iterator[None]:
    """Signals raise `Stopped` where the program is, in the main thread of a command."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    with _handled(handler), _sent_again():
        yield


@contextmanager
def _sent_again() -> Iterator[None]:
    """Sends a signal again whose exception was ignored.

    Python ignores what is raised inside ``__del__`` and callbacks of weak references, so a signal
    that arrives there would be lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = sys.unraisablehook
    main = threading.get_ident()
    lost: list[tuple[int, threading.Timer]] = []

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        stop = unraisable.exc_value
        if not isinstance(stop, Stopped):
            before(unraisable)
            return
        timer = threading.Timer(AGAIN, signal.pthread_kill, [main, stop.number])
        timer.daemon = True
        timer.start()
        lost.append((stop.number, timer))

    sys.unraisablehook = hook
    try:
        yield
        for number, timer in lost:
            if timer.is_alive():
                raise Stopped(number)
    finally:
        sys.unraisablehook = before
        for _, timer in lost:
            timer.cancel()
            timer.join()  # so that it sends nothing once the handlers are gone


class StopRequest:
    """Remembers the first signal for a loop that looks at it; a second one raises `Stopped`.

    A ``with`` block; in another thread than the main one it does nothing.

    Attributes:
        number: of the signal; 0 where there was none.
    """

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> StopRequest:
        self._handled = _handled(self._handle)
        self._handled.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._handled.__exit__(None, None, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            raise Stopped(number, "It could not finish its step; the last checkpoint is whole.")
        self.number = number
        name = signal.Signals(number).name
        text = f"\n{name}: stopping after this step, with a checkpoint; again stops at once.\n"
        with suppress(OSError):
            os.write(2, text.encode())  # print may be at work at this moment


@contextmanager
def _handled(handler: Any) -> Iterator[None]:
    """Installs a handler; signals that the parent ignores (nohup, ``&``) stay ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    mine = [n for n, old in before.items() if old is not signal.SIG_IGN and old is not None]
    for number in mine:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])
