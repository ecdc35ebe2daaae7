"""One process in a folder at a time: a lock that says who holds it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from selfsight.console import first_process, say
from selfsight.files import remove_leftovers

LOCK, HOLDER = ".lock", ".lock.json"
"""The locked file, which stays, and what names its holder."""

_held: set[Path] = set()


@contextmanager
def locked(folder: str | Path, *, wait: bool = False) -> Iterator[None]:
    """Holds a folder against all other processes, on this machine and on a shared disk.

    The system gives the lock back when a process dies. Within one process, and in all processes of
    a training but the first, it does nothing. The holder removes what killed processes left.

    Args:
        folder: is made where it is missing.
        wait: until the other process lets go, instead of an error.

    Raises:
        ValueError: another process holds it; names host and process.
        OSError: the folder cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    if folder in _held or not first_process():
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / LOCK), folder / HOLDER
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if wait:
            say(f"{folder} is in use by {_name(holder)}: waiting for it.")
            lock.acquire()
    if not lock.is_locked:
        raise ValueError(
            f"{folder} is in use by {_name(holder)}. Wait for it, or choose another --out."
        )
    _held.add(folder)
    try:
        me = {"host": platform.node(), "pid": os.getpid()}
        holder.write_text(json.dumps(me) + "\n", encoding="utf-8")
        remove_leftovers(folder, below=True)
        yield
    finally:
        _held.discard(folder)
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _name(holder: Path) -> str:
    try:
        content = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {int(content['pid'])} on {content['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
