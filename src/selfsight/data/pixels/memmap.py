"""Rows of a memory map that stay on disk, and how many rows are read at once."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 16 << 20
"""Bytes of pixels that are looked at together, so that memory stays bounded at any image size."""


def rows_at_once(pixels: Any) -> int:
    """Images that are within `AT_ONCE` bytes, at least one."""
    size: int = int(np.prod(pixels.shape[1:])) * pixels.dtype.itemsize
    return max(1, AT_ONCE // max(1, size))


def picked(pixels: Any, rows: NDArray[Any]) -> Any:
    """``pixels[rows]``; what lies on disk or is encoded stays there until it is read."""
    subset = getattr(pixels, "subset", None)
    if subset is not None:
        return subset(rows)
    return Picked(pixels, rows) if isinstance(pixels, np.memmap) else pixels[rows]


def read_ahead(pixels: Any, rows: NDArray[np.int64]) -> None:
    """Asks the system for rows of a memory map all at once, before they are taken one by one.

    Without it each row waits for the disk in turn. Anything but a memory map is left as it is.
    """
    if isinstance(pixels, Picked):
        pixels, rows = pixels.pixels, pixels.rows[rows]
    mapped = getattr(pixels, "_mmap", None)
    if mapped is None or not hasattr(mmap, "MADV_WILLNEED"):
        return
    start = pixels.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
    size = pixels.strides[0]
    for row in rows.tolist():
        first = start + row * size
        page = first // mmap.PAGESIZE * mmap.PAGESIZE
        mapped.madvise(mmap.MADV_WILLNEED, page, first + size - page)


class Picked:
    """Some rows of a memory-mapped array, which reads like the array of them."""

    ndim = 4

    def __init__(self, pixels: NDArray[Any], rows: NDArray[Any]) -> None:
        self.pixels = pixels
        self.rows = np.arange(len(pixels))[rows]
        self.dtype = pixels.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.pixels.shape[1:])

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, rows: NDArray[Any]) -> Picked:
        return Picked(self.pixels, self.rows[rows])

    def __getitem__(self, key: Any) -> NDArray[Any]:
        first, *rest = key if isinstance(key, tuple) else (key,)
        rows = np.asarray(self.rows[first])
        found = np.asarray(self.pixels[rows])
        return found[(slice(None),) * rows.ndim + tuple(rest)] if rest else found

    def take(self, indices: Any, axis: int = 0, **_: Any) -> NDArray[Any]:
        assert axis == 0
        return self[np.asarray(indices)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)
