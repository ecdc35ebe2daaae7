"""TIFF images that Pillow does not read exactly: many channels, deep colour, signed or wide values.

Through tifffile (``selfsight[tiff]``), which is asked only for these.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.pixels.header import Header, upright
from selfsight.data.pixels.store import machine_memory
from selfsight.data.pixels.values import value_type

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORIENTATION, PHOTOMETRIC, LARGEST = 274, 262, 281
WHITE_IS_ZERO = 0
PAGES = 4096
"""Of an image, at most; a damaged header can claim any number, and each takes time to read."""


def is_tiff(start: bytes) -> bool:
    """Whether a file with these first bytes is a TIFF; its name may lie."""
    return start[:4] in STARTS


def tiff_header(encoded: bytes | Path) -> Header | None:
    """The header, or None where Pillow reads the image exactly: 8 bits grey or RGB(A), 16 grey.

    Channels are the samples of a pixel or pages of one size. None too where tifffile is not
    installed or cannot read the file.
    """
    try:
        import tifffile
    except ImportError:
        return None
    try:
        with opened_tiff(encoded) as file:
            return _header(file)
    except (tifffile.TiffFileError, ValueError, IndexError, KeyError, OSError, TypeError):
        return None


def read_tiff(encoded: bytes | Path) -> NDArray[Any]:
    """The pixels ``(H, W, C)`` upright, of the file's own type; floats as float32.

    Raises:
        ValueError: more pixels than the memory holds.
    """
    with opened_tiff(encoded) as file:
        page, series = file.series[0].pages[0], file.series[0]
        size = int(np.prod(series.shape, dtype=object)) * series.dtype.itemsize
        if size > machine_memory() // 4:
            raise ValueError(
                f"its {size / 1e9:.1f} GB of pixels are more than a quarter of the memory; cut it "
                "into tiles by --tile"
            )
        values, axes = series.asarray(), series.axes
        values = np.moveaxis(values, (axes.index("Y"), axes.index("X")), (0, 1))
        values = plain_values(values.reshape(*values.shape[:2], -1), page)
    return upright(values, tag_of(page, ORIENTATION, 1))


def _header(file: Any) -> Header | None:
    series = file.series[0]
    page = series.pages[0]
    shape, axes, dtype = series.shape, series.axes, series.dtype
    if dtype is None or "Y" not in axes or "X" not in axes or dtype.kind not in "uif":
        return None
    sides = {axis: size for axis, size in zip(axes, shape, strict=True) if axis in "YX"}
    height, width = sides["Y"], sides["X"]
    channels = int(np.prod(shape)) // (height * width)
    plain = dtype.newbyteorder("=")
    inverted = tag_of(page, PHOTOMETRIC, 1) == WHITE_IS_ZERO and plain == np.uint16
    if (channels == 1 and plain in (np.uint8, np.uint16) and not inverted) or (
        channels in (3, 4) and plain == np.uint8 and axes.endswith("S")
    ):
        return None
    if tag_of(page, ORIENTATION, 1) >= 5:
        height, width = width, height
    bits = declared_bits(tag_of(page, LARGEST, None)) if plain.kind == "u" else None
    return Header(height, width, channels, value_type(dtype), bits, "TIFF")


def declared_bits(largest: Any) -> int | None:
    """The bits of a largest value such as 4095; None where it is not one below 16 bits."""
    value = largest[0] if isinstance(largest, tuple | list) and largest else largest
    if not isinstance(value, int) or value < 255 or value & (value + 1) or value >= 65535:
        return None
    return value.bit_length()


def plain_values(values: NDArray[Any], page: Any) -> NDArray[Any]:
    """Values in the machine's byte order, floats as float32, 0 black."""
    if values.dtype.kind == "f":
        return np.ascontiguousarray(values, np.float32)
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    if values.dtype.kind == "u" and tag_of(page, PHOTOMETRIC, 1) == WHITE_IS_ZERO:
        bits = declared_bits(tag_of(page, LARGEST, None)) or 8 * values.dtype.itemsize
        values = values.dtype.type(2**bits - 1) - values
    return values


def tag_of(page: Any, code: int, default: Any) -> Any:
    """The value of a tag of a page."""
    tag = page.tags.get(code)
    return default if tag is None else tag.value


def opened_tiff(encoded: bytes | Path) -> Any:
    """The file, opened by tifffile.

    Raises:
        ValueError: it has more than `PAGES` pages.
    """
    import tifffile

    # A line for each tag that is damaged; the image is named once, by its caller.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    file = tifffile.TiffFile(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded)
    count = len(file.pages)  # follows the chain of pages without reading them
    if count > PAGES:
        file.close()
        raise ValueError(f"it says {counted(count, 'page')}, more than {PAGES:,}")
    return file
