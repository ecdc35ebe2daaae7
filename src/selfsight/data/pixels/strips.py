"""Large images a few rows at a time, so that memory does not grow with their height.

PNG (not interlaced) and TIFF are read in strips. Other formats allow no such thing: JPEG, WebP
and the rest are decoded once as a whole, and strips are cut from that. In each case the values are
those of `selfsight.data.pixels.decode.decode`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.decode import decode, pictured, read_pixels
from selfsight.data.pixels.form import finished
from selfsight.data.pixels.formats import start_of
from selfsight.data.pixels.header import Header
from selfsight.data.pixels.headers import Encoded, read_header
from selfsight.data.pixels.plan import DecodePlan
from selfsight.data.pixels.png_rows import png_rows
from selfsight.data.pixels.tiff import is_tiff, tiff_header
from selfsight.data.pixels.tiff_rows import tiff_rows

LARGE = 1 << 24
"""Pixels of an image above which it is read in strips."""
Strips = Callable[[int, int], NDArray[Any]]
"""``(first, last)`` -> the rows ``first`` to ``last - 1`` as ``(H, W, C)``; first never falls."""


@contextmanager
def strips_of(encoded: Encoded, wanted: DecodePlan) -> Iterator[Strips]:
    """Rows of an upright image at its own size, as `decode` gives them.

    Args:
        encoded: one image.
        wanted: channels and value scale; its height and width are not read.

    Raises:
        ValueError: see `selfsight.data.pixels.decode.read_pixels`.
    """
    header = read_header(encoded, wanted.options.max_pixels)
    with ExitStack() as held:
        read = None
        if header.orientation == 1:
            read = _png(encoded, header, wanted, held) or _tiff(encoded, header, wanted, held)
        yield read or _whole(encoded, header, wanted)


def first_strip(encoded: Encoded, wanted: DecodePlan) -> NDArray[Any]:
    """The image in the form that is wanted, or the first rows of a large one."""
    header = read_header(encoded, wanted.options.max_pixels)
    if header.height * header.width <= LARGE:
        return decode(encoded, wanted)
    with strips_of(encoded, wanted) as strips:
        return strips(0, min(header.height, wanted.height))


def _png(encoded: Encoded, header: Header, wanted: DecodePlan, held: ExitStack) -> Strips | None:
    rows = held.enter_context(png_rows(encoded)) if header.format == "PNG" else None
    if rows is None:
        return None
    return lambda first, last: decode(rows(first, last), _form(header, wanted, last - first))


def _tiff(encoded: Encoded, header: Header, wanted: DecodePlan, held: ExitStack) -> Strips | None:
    rows = held.enter_context(tiff_rows(encoded)) if is_tiff(start_of(encoded)) else None
    if rows is None:
        return None
    by_pillow = tiff_header(encoded) is None

    def read(first: int, last: int) -> NDArray[Any]:
        values = rows(first, last)
        form = _form(header, wanted, last - first)
        return finished(header, _as_pillow_gives(values, form) if by_pillow else values, form)

    return read


def _as_pillow_gives(values: NDArray[Any], wanted: DecodePlan) -> Any:
    """Bytes as the Pillow image that `read_pixels` gives for them."""
    from PIL import Image

    plain = values.dtype == np.uint8 and values.shape[2] in (1, 3)
    if not (plain and wanted.channels in (1, 3) and wanted.scale.type == "uint8"):
        return values
    if wanted.options.nodata is not None:
        return values
    picture = Image.fromarray(np.ascontiguousarray(values if values.shape[2] == 3
                                                   else values[..., 0]))  # fmt: skip
    return pictured(picture, 3 if wanted.grey else wanted.channels)


def _whole(encoded: Encoded, header: Header, wanted: DecodePlan) -> Strips:
    whole = _form(header, wanted, header.height)
    _, image = read_pixels(encoded, replace(whole, channels=3, grey=False) if wanted.grey
                           else whole)  # fmt: skip

    def read(first: int, last: int) -> NDArray[Any]:
        part = (
            image[first:last]
            if isinstance(image, np.ndarray)
            else image.crop((0, first, image.width, last))
        )
        return finished(header, part, replace(whole, height=last - first))

    return read


def _form(header: Header, wanted: DecodePlan, height: int) -> DecodePlan:
    return replace(wanted, height=height, width=header.width)
