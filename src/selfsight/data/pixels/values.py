"""What pixel values mean: their type, the bits that they use, and which are black and white.

A run keeps the scale of its images. Later images of the same type keep it too and are never looked
at; those of another type are converted by what both types declare, and refused where one declares
nothing. No conversion depends on the values of other images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOP = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
"""The value that is 1 on the unit scale of a network, by type of the pixels."""


@dataclass(frozen=True)
class ValueScale:
    """What the values of images mean.

    Attributes:
        type: of the values in the files: ``uint8``, ``uint16``, ``int16``, ``int32``, ``float32``
            (floats of any width)...
        dtype: of the pixels that they become: ``uint8``, ``uint16`` or ``float32``.
        bits: that integers use, where they say it (8 of uint8, 12 of uint16 by metadata).
        low, high: the values that mean black and white; None: not known.
    """

    type: str
    dtype: str
    bits: int | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, dtype: str | np.dtype[Any], bits: int | None = None) -> ValueScale:
        """Of images of a type that says no more than its name; uint8 has 8 bits."""
        name = np.dtype(dtype).name
        return declared(cls(name, pixel_type(name)), 8 if name == "uint8" else bits, None)

    @property
    def span(self) -> tuple[float, float] | None:
        """Black and white, or None where they are not known."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def words(self) -> str:
        """``uint16 of 12 bits``, ``float32 from 0 to 1``, ``int32 of no declared range``."""
        if self.bits is not None:
            return f"{self.type} of {self.bits} bits"
        if self.span is not None:
            return f"{self.type} from {self.span[0]:g} to {self.span[1]:g}"
        return f"{self.type} of no declared range"


def pixel_type(name: str) -> str:
    """The type that holds values of another without a change, or nearly: float32 at worst."""
    return name if name in ("uint8", "uint16") else "float32"


def value_type(dtype: np.dtype[Any]) -> str:
    """``ValueScale.type`` of an array: floats are one type, truth values are uint8."""
    if dtype.kind == "b":
        return "uint8"
    return "float32" if dtype.kind == "f" else dtype.newbyteorder("=").name


def declared(
    scale: ValueScale, bits: int | None, value_range: tuple[float, float] | None
) -> ValueScale:
    """The scale with the bits that a file or the user declares; a range goes to what has none."""
    if bits is not None and scale.type != "float32":
        return replace(scale, bits=bits, low=0.0, high=float(2**bits - 1))
    if value_range is not None and scale.span is None:
        return replace(scale, low=value_range[0], high=value_range[1])
    return scale


def conversion(
    images: ValueScale,
    run: ValueScale,
    owner: str,
    value_range: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """``(factor, shift)`` that bring values of some images to the scale of a run.

    Args:
        images: their scale.
        run: the scale to bring them to.
        owner: of the run's scale, for messages.
        value_range: what the user says of the side that declares nothing.

    Raises:
        ValueError: the types differ, and one of them does not say what its values mean.
    """
    images = declared(images, None, value_range)
    if value_range is not None and images.span is not None:
        run = declared(run, None, value_range)
    alike = images.bits == run.bits or None in (images.bits, run.bits)
    spans = value_range is not None and None not in (images.span, run.span)
    if images.type == run.type and alike and not spans:
        return 1.0, 0.0
    if images.span is None or run.span is None:
        raise ValueError(
            f"its values are {images.words}, and {owner} has {run.words}; say what they mean by "
            "--bits N or by --value-range LO HI, the values of black and white"
            + (f" in {owner}" if images.span is not None else "")
        )
    factor = (run.span[1] - run.span[0]) / (images.span[1] - images.span[0])
    return factor, run.span[0] - factor * images.span[0]


def converted(
    values: NDArray[Any], dtype: str | np.dtype[Any], factor: float = 1.0, shift: float = 0.0
) -> NDArray[Any]:
    """Values times a factor plus a shift in a type; integers are rounded and clipped.

    Raises:
        ValueError: without a conversion, values that the type cannot hold.
    """
    wanted = np.dtype(dtype)
    if (factor, shift) == (1.0, 0.0):
        if values.dtype == wanted:
            return values
        if wanted.kind == "u" and values.size and values.dtype.kind in "iuf":
            low, high = values.min(), values.max()
            if not (low >= 0 and high <= np.iinfo(wanted).max):
                raise ValueError(
                    f"its values from {low} to {high} do not fit into {wanted}, which the first "
                    "images of this kind were kept in; convert them before"
                )
        return np.ascontiguousarray(values, wanted)
    if wanted.kind == "f":
        scaled = values.astype(np.float32) * np.float32(factor) + np.float32(shift)
        return np.ascontiguousarray(scaled, wanted)
    scaled = values.astype(np.float64) * factor + shift
    return np.clip(np.nan_to_num(scaled).round(), 0, np.iinfo(wanted).max).astype(wanted)


def fill_nodata(values: NDArray[Any], nodata: str | None) -> NDArray[Any]:
    """``(H, W, C)`` in which pixels without data have the mean of their channel.

    A channel without any data becomes 0.

    Args:
        values: of one image, in its own type.
        nodata: the value, ``nan`` for all that are not finite, or None: nothing is done.
    """
    if nodata is None:
        return values
    value = float(nodata)
    empty = ~np.isfinite(values) if np.isnan(value) else values == value
    if values.dtype.kind == "f" and not np.isnan(value):
        empty |= np.isclose(values, value, rtol=1e-6, atol=0.0)
    if not empty.any():
        return values
    held = ~empty & np.isfinite(values)
    count = held.sum(axis=(0, 1))
    total = np.where(held, values.astype(np.float64), 0).sum(axis=(0, 1))
    mean = total / np.maximum(count, 1)
    if values.dtype.kind in "iu":
        mean = mean.round()
    return np.where(empty, mean.astype(values.dtype), values)


def without_holes(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """``(N, H, W, C)`` float32 in which values that are not finite have the mean of their channel.

    For looking at images and comparing them; what is trained on is filled by `fill_nodata`.
    """
    values = pixels.astype(np.float32)
    for row in np.flatnonzero(~np.isfinite(values).all(axis=(1, 2, 3))).tolist():
        values[row] = fill_nodata(values[row], "nan")
    return values
