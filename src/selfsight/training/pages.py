"""Pages that a training step frees stay with the process, for the next step to use again."""

from __future__ import annotations

import ctypes
import sys

_TRIM, _MMAP = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)."""
_LARGEST_HEAP_BLOCK = 32 * 2**20
"""The most that glibc takes for M_MMAP_THRESHOLD on 64 bits."""
_NEVER = 2**31 - 1
_LARGE, _LITTLE = 4 * 2**20, 2**17
"""Blocks that go back by themselves, and free memory at the end of the heap that stays."""


def keep_freed_pages() -> bool:
    """Tells glibc to keep what is freed; without effect on other systems and allocators.

    By default it hands large blocks back to the kernel as soon as they are freed, and the next step
    faults every page of its activations in again: some 50,000 faults a step of a ResNet-20. The
    process then stays as large as its largest step, which it needs again at once.

    Returns:
        Whether it was told.
    """
    return _told(_LARGEST_HEAP_BLOCK, _NEVER)


def give_pages_back() -> bool:
    """Tells glibc to hand large blocks back again when they are freed, and those freed before.

    What follows a training (an audit, another image set) takes large blocks once, not in every
    step, and would stand in memory beside what it kept.

    Returns:
        Whether it was told.
    """
    if not _told(_LARGE, _LITTLE):
        return False
    ctypes.CDLL(None).malloc_trim(0)
    return True


def _told(block: int, kept: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl has no mallopt
        return False
    return bool(mallopt(_MMAP, block)) and bool(mallopt(_TRIM, kept))
