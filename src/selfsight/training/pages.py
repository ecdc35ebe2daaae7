"""Pages that a training step frees stay with the process, for the next step to use again."""

from __future__ import annotations

import ctypes
import sys

_TRIM, _MMAP = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)."""
_LARGEST_HEAP_BLOCK = 32 * 2**20
"""The most that glibc takes for M_MMAP_THRESHOLD on 64 bits."""
_NEVER = 2**31 - 1


def keep_freed_pages() -> bool:
    """Tells glibc to keep what is freed; without effect on other systems and allocators.

    By default it hands large blocks back to the kernel as soon as they are freed, and the next step
    faults every page of its activations in again: some 50,000 faults a step of a ResNet-20. The
    process then stays as large as its largest step, which it needs again at once.

    Returns:
        Whether it was told.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl has no mallopt
        return False
    return bool(mallopt(_MMAP, _LARGEST_HEAP_BLOCK)) and bool(mallopt(_TRIM, _NEVER))
