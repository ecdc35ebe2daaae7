"""One pass over the pixels: a digest of each image, its smallest and largest value, blanks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.memmap import rows_at_once


@dataclass(frozen=True)
class Content:
    """What one pass over the pixels of N images finds.

    Attributes:
        digests: ``(N,)`` uint64, the same number for identical pixels (blake2b of their bytes).
        low, high: ``(N,)`` float32, smallest and largest finite value of each image; NaN where it
            has none.
        blank: ``(N,)`` whether every channel is constant: such an image holds nothing.
        holes: ``(N,)`` whether a value is not finite.
    """

    digests: NDArray[np.uint64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    blank: NDArray[np.bool_]
    holes: NDArray[np.bool_]

    def take(self, rows: NDArray[Any]) -> Content:
        parts = (self.digests, self.low, self.high, self.blank, self.holes)
        return Content(*(part[rows] for part in parts))


def content_of(pixels: Any) -> Content:
    """Reads ``(N, H, W, C)`` pixels once, a chunk at a time."""
    count = len(pixels)
    low, high = np.zeros(count, np.float32), np.zeros(count, np.float32)
    blank, holes = np.zeros(count, bool), np.zeros(count, bool)
    digests: list[bytes] = []
    size = rows_at_once(pixels)
    for first in range(0, count, size):
        part = np.ascontiguousarray(pixels[first : first + size])
        here = slice(first, first + len(part))
        flat = part.reshape(len(part), -1, part.shape[-1])
        least, most = np.fmin.reduce(flat, axis=1), np.fmax.reduce(flat, axis=1)
        blank[here] = (least == most).all(axis=1)
        if part.dtype.kind == "f":
            finite = np.isfinite(flat)
            holes[here] = ~finite.all(axis=(1, 2))
            if holes[here].any():
                known = np.where(finite, flat, np.float32(np.nan))
                least, most = np.fmin.reduce(known, axis=1), np.fmax.reduce(known, axis=1)
        low[here], high[here] = np.fmin.reduce(least, axis=1), np.fmax.reduce(most, axis=1)
        digests += [hashlib.blake2b(image.data, digest_size=8).digest() for image in part]
    numbers = np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
    return Content(numbers, low, high, blank, holes)
