"""What a training changes in its process: freed pages are kept, and a faster product is taken.

Both last as long as one of selfsight's own trainings, fits or passes over images
(`freed_pages_kept`). Importing the package and calling a loss change nothing in a process. For a
training loop of your own, turn them on::

    with selfsight.kernels.memory_pages.freed_pages_kept():
        ...

``SELFSIGHT_PROCESS_TUNING=off`` in the environment turns them off everywhere.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_MMAP_MAX of mallopt(3)."""
_KEEP = {_TRIM: 2**31 - 1, _MMAP_MAX: 0}
"""No end of the heap is given back, and no block of the main thread lies outside it: those always
would be. (The threshold alone does not do: blocks above 32 MiB, a large network's activations,
ignore it.)"""
_GIVE = {_TRIM: 2**17, _MMAP_MAX: 65_536, _MMAP_THRESHOLD: 4 * 2**20}
"""New blocks from 4 MiB lie outside the heap again, free memory at its end goes down to 128 KiB."""
SWITCH = "SELFSIGHT_PROCESS_TUNING"
"""The environment variable: ``on``, which is the default, or ``off``."""
_depth, _lock = 0, threading.Lock()


def allowed() -> bool:
    """Whether trainings and fits of selfsight may tune the process they run in.

    Raises:
        ValueError: the environment variable is neither ``on`` nor ``off``.
    """
    asked = os.environ.get(SWITCH, "on")
    if asked not in ("on", "off"):
        raise ValueError(f"{SWITCH}: must be 'on' or 'off' (got {asked!r}).")
    return asked == "on"


def tuning() -> bool:
    """Whether a training of selfsight runs in this process, and tunes it."""
    return _depth > 0


@contextmanager
def freed_pages_kept() -> Iterator[None]:
    """For as long as a training lasts, and those inside it: `keep_freed_pages`, then back."""
    global _depth
    if not allowed():
        yield
        return
    with _lock:
        _depth += 1
        if _depth == 1:
            keep_freed_pages()
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                give_pages_back()


def give_leftovers_back() -> None:
    """What a training still held when it ended: by a trainer, a cycle, or by its exception."""
    gc.collect()
    with _lock:
        if _depth == 0 and allowed():
            give_pages_back()


def keep_freed_pages() -> bool:
    """Tells glibc to keep what is freed; without effect on other systems and allocators.

    By default it hands large blocks back to the kernel as soon as they are freed, and the next step
    faults every page of its activations in again: some 50,000 faults a step of a ResNet-20,
    400,000 of a ResNet-18. The process then stays as large as its largest step, which it needs
    again at once.

    Returns:
        Whether it was told.
    """
    return _told(_KEEP)


def give_pages_back() -> bool:
    """Hands what is free back to the kernel, and tells glibc to do so with large blocks again.

    What follows a training (an audit, another image set) takes large blocks once, not in every
    step, and would stand in memory beside what it kept. Blocks of the training that are freed
    later stay in the heap, for others, until this is called again.

    Returns:
        Whether it was told.
    """
    if not _told(_GIVE):
        return False
    ctypes.CDLL(None).malloc_trim(0)
    return True


def _told(values: dict[int, int]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl has no mallopt
        return False
    accepted = [mallopt(name, value) for name, value in values.items()]  # each of them is told
    return all(accepted)
