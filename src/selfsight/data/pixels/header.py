"""`Header`: what is known of an encoded image before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.values import ValueScale, declared, pixel_type


@dataclass(frozen=True)
class Header:
    """What can be known before decoding.

    Attributes:
        height, width: pixels, of the upright image.
        channels: 1 or 3 of a picture (without alpha), any number of others.
        type: of the values, see `ValueScale.type`.
        bits: that the file says the values use; None where it says no more than its type.
        format: of the file, as Pillow calls it.
        frames: at least so many; only the first is read.
        orientation: EXIF orientation that the decoded pixels still have to be turned by.
    """

    height: int
    width: int
    channels: int
    type: str = "uint8"
    bits: int | None = 8
    format: str = ""
    frames: int = 1
    orientation: int = 1

    def scale(self, bits: int | None, value_range: tuple[float, float] | None) -> ValueScale:
        """What the values mean; what the user declares goes to what the file leaves open."""
        plain = ValueScale(self.type, pixel_type(self.type))
        return declared(plain, bits if self.bits is None else self.bits, value_range)


def upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """``(H, W, C)`` turned as EXIF orientation 1 to 8 says."""
    if orientation >= 5:
        values = values.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return np.ascontiguousarray(values)
