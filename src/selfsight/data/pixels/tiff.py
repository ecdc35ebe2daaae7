"""TIFF images of any number of channels, 8 or 16 bits or float (through tifffile)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.store import machine_memory


@dataclass(frozen=True)
class Bands:
    """What a TIFF of many channels holds: sides in pixels, channels, type."""

    height: int
    width: int
    channels: int
    dtype: str


def is_tiff(encoded: bytes | Path) -> bool:
    """Whether it begins like a TIFF: the name of a file may lie."""
    if isinstance(encoded, bytes):
        start = encoded[:4]
    else:
        with encoded.open("rb") as file:
            start = file.read(4)
    return start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def bands_of(encoded: bytes | Path) -> Bands | None:
    """What is in the TIFF, or None where Pillow reads it without loss: 1 channel, or 8-bit RGB(A).

    Channels are the samples of a pixel or pages of one size. None too where tifffile is not
    installed or cannot read the file.
    """
    try:
        import tifffile
    except ImportError:
        return None
    try:
        with _opened(encoded) as file:
            series = file.series[0]
            shape, axes, dtype = series.shape, series.axes, series.dtype
    except (tifffile.TiffFileError, ValueError, IndexError, KeyError, OSError):
        return None
    if dtype is None or "Y" not in axes or "X" not in axes or dtype.kind not in "uif":
        return None
    sides = {axis: size for axis, size in zip(axes, shape, strict=True) if axis in "YX"}
    channels = int(np.prod(shape)) // (sides["Y"] * sides["X"])
    if channels == 1 or (channels in (3, 4) and dtype == np.uint8 and axes.endswith("S")):
        return None
    if int(np.prod(shape)) * dtype.itemsize > machine_memory() // 8:
        raise ValueError("more pixels than an honest image has, perhaps a decompression bomb")
    return Bands(sides["Y"], sides["X"], channels, _kept_type(dtype).name)


def read_bands(encoded: bytes | Path) -> NDArray[Any]:
    """The pixels ``(H, W, C)``, uint8, uint16 or float32."""
    with _opened(encoded) as file:
        series = file.series[0]
        values, axes = series.asarray(), series.axes
    values = np.moveaxis(values, (axes.index("Y"), axes.index("X")), (0, 1))
    values = values.reshape(*values.shape[:2], -1)
    return np.ascontiguousarray(values, _kept_type(values.dtype))


def _kept_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    plain = dtype.newbyteorder("=")
    return plain if plain in (np.uint8, np.uint16) else np.dtype(np.float32)


def _opened(encoded: bytes | Path) -> Any:
    import tifffile

    return tifffile.TiffFile(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded)
