"""Stops: SIGINT, SIGTERM, SIGHUP and SIGUSR1 as one exception, where nothing gets lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
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
"""Seconds after which a signal whose exception was lost is sent again."""


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


class _Watch:
    """What has become of the signals of a command.

    A library may ignore the exception of a signal (``__del__``, callbacks), swallow it, or wrap it
    in an error of its own. So the signal is remembered, and sent again once its exception is gone
    while the command goes on.

    Attributes:
        number: of the signal; 0 where there was none.
    """

    def __init__(self) -> None:
        self.number, self._at_work = 0, True
        self._main = threading.get_ident()
        self._exception: weakref.ref[Stopped] | None = None
        self._timers: list[threading.Timer] = []

    def stop(self, number: int, frame: FrameType | None) -> None:
        """The handler.

        Raises:
            Stopped: always.
        """
        stop = Stopped(number)
        self.number, self._exception = number, weakref.ref(stop, self._send_again)
        try:
            raise stop
        finally:
            del stop  # its traceback holds this frame, so it would live until it is collected

    def _send_again(self, _: object) -> None:
        if self._at_work and self.number:
            timer = threading.Timer(AGAIN, signal.pthread_kill, [self._main, self.number])
            timer.daemon = True
            timer.start()
            self._timers.append(timer)

    def accept(self) -> None:
        """Forgets the signal."""
        self.number = 0
        for timer in self._timers:
            timer.cancel()
            timer.join()
        self._timers.clear()

    def close(self) -> None:
        """From here on nothing is sent."""
        self._at_work = False
        self.accept()


_watches: list[_Watch] = []
"""Of the blocks of `raising`, the innermost last."""


def requested() -> int:
    """The number of the signal that is to end this command; 0 where there was none.

    Code that goes on after an error of a library asks first: the error may be the stop.
    """
    return _watches[-1].number if _watches else 0


def accept() -> None:
    """The signal has done its work: the command goes on, or ends as one that was finished."""
    for watch in _watches:
        watch.accept()


@contextmanager
def raising() -> Iterator[None]:
    """Signals raise `Stopped` where the program is, in the main thread of a command.

    Raises:
        Stopped: at the end of the block too, where a signal came and the block ends without an
            error, or with another one: libraries swallow or wrap what is raised inside them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watch = _Watch()
    _watches.append(watch)
    try:
        with _handled(watch.stop), _stops_unprinted():
            try:
                yield
            except Stopped:
                raise
            except BaseException as error:
                if watch.number:
                    raise Stopped(watch.number) from error
                raise
            if watch.number:
                raise Stopped(watch.number)
    finally:
        watch.close()
        _watches.remove(watch)


@contextmanager
def _stops_unprinted() -> Iterator[None]:
    """Python prints what is raised in ``__del__`` and callbacks; a stop there is sent again."""
    before = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, Stopped):
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


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
            for watch in _watches:
                watch.number = number
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
