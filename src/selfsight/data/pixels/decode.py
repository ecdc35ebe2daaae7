"""Encoded images (files or bytes) into one array of one form, a thread pool at a time.

`read_pixels` is the one decoder: of every format, upright, in the file's own type.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from selfsight.console import progress
from selfsight.data.pixels.dicom import dicom_header, is_dicom, read_dicom
from selfsight.data.pixels.form import equal_channels, finished
from selfsight.data.pixels.formats import format_of, missing, start_of
from selfsight.data.pixels.header import Header, upright
from selfsight.data.pixels.headers import (
    TOO_LARGE,
    Batches,
    Encoded,
    each,
    header_of,
    opened,
    rawmode,
    read_as,
)
from selfsight.data.pixels.plan import DecodePlan
from selfsight.data.pixels.room import room_for
from selfsight.data.pixels.tiff import is_tiff, read_tiff, tiff_header

LOOKED_AT = 32


class Sink(Protocol):
    """What decoded images are written to: an array, or nothing where only errors are sought."""

    def __setitem__(self, place: Any, image: Any) -> None: ...


def fill(
    pixels: Sink, batches: Batches, rows: NDArray[np.int64], wanted: DecodePlan
) -> dict[str, Any]:
    """Decodes the rows into ``pixels`` one after the other, leaving no gap for unreadable ones.

    Returns:
        ``{"rows": how many were filled, "broken": {row: why}}``.
    """
    broken: dict[str, str] = {}
    place = 0
    images = each(lambda encoded: decode(encoded, wanted), batches(rows), wanted.options.max_pixels)
    with progress("decoding images", len(rows)) as bar:
        for row, image in zip(rows.tolist(), images, strict=True):
            bar.update()
            if isinstance(image, str):
                broken[str(row)] = image
            else:
                pixels[place] = image
                place += 1
    return {"rows": place, "broken": broken}


def all_grey(
    batches: Batches,
    rows: NDArray[np.int64],
    wanted: DecodePlan,
    look: Callable[[Encoded, DecodePlan], NDArray[Any]] | None = None,
) -> bool:
    """Whether some images of the rows, evenly spread, have three equal channels.

    Args:
        batches, rows, wanted: see `fill`.
        look: decodes what of an image is looked at; None: all of it.
    """
    some = rows[np.unique(np.linspace(0, len(rows) - 1, LOOKED_AT).astype(np.int64))]
    look = look or decode
    found = each(
        lambda encoded: equal_channels(look(encoded, wanted)),
        batches(some),
        wanted.options.max_pixels,
    )
    seen = [grey for grey in found if not isinstance(grey, str)]
    return bool(seen) and all(seen)


def decode(encoded: Encoded, wanted: DecodePlan) -> NDArray[Any]:
    """One image ``(H, W, C)``: upright, converted, resized on its short side, centre-cropped.

    Transparent pixels are shown on white.
    """
    with ExitStack() as room:
        header, image = read_pixels(encoded, wanted.coloured, room)
        return finished(header, image, wanted)


def read_pixels(
    encoded: Encoded, wanted: DecodePlan, room: ExitStack | None = None
) -> tuple[Header, Any]:
    """Header and pixels of an encoded image, upright, without alpha.

    The pixels are an array ``(H, W, C)`` of the file's own type, exact; but of 8 bits where 8 are
    wanted they are a Pillow image with the wanted channels, JPEGs decoded at no more than twice
    the wanted size.

    Args:
        encoded: one image.
        wanted: see `DecodePlan`.
        room: holds the memory that a large image takes until it is closed.

    Raises:
        ValueError: too many pixels, no decoder, or a file that cannot be read exactly.
    """
    start = start_of(encoded)
    if is_dicom(start):
        header = dicom_header(encoded)
        _check_size(header, wanted, room)
        return header, read_dicom(encoded)
    found = tiff_header(encoded) if is_tiff(start) else None
    if found is not None:
        _check_size(found, wanted, room)
        return found, read_tiff(encoded)
    lacking = missing(format_of(start))
    if lacking:
        raise ValueError(lacking)
    with opened(encoded) as image:
        header = header_of(image)
        _check_size(header, wanted, room)
        if header.type != "uint8":
            return header, _deep(encoded, image, header)
        if image.format in ("JPEG", "MPO"):  # decoding at a power-of-two scale is much cheaper
            image.draft(None, (2 * wanted.width, 2 * wanted.height))
        plain = wanted.channels in (1, 3) and wanted.scale.type == "uint8"
        picture = pictured(_turned(image, header), wanted.channels if plain else header.channels)
        if plain and wanted.options.nodata is None:
            return header, picture
        values = np.asarray(picture)
        return header, values.reshape(*values.shape[:2], -1)


def _check_size(header: Header, wanted: DecodePlan, room: ExitStack | None) -> None:
    if header.height * header.width > wanted.options.max_pixels:
        raise ValueError(TOO_LARGE)
    if room is not None:
        room.enter_context(room_for(header))


def _turned(image: Any, header: Header) -> Any:
    """The loaded Pillow image, upright."""
    from PIL import Image

    image.load()
    turn = Image.Transpose
    ways = {
        2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE,
        6: turn.ROTATE_270, 7: turn.TRANSVERSE, 8: turn.ROTATE_90,
    }  # fmt: skip
    way = ways.get(header.orientation)
    return image if way is None else image.transpose(way)


def pictured(image: Any, channels: int) -> Any:
    """A Pillow image of 8 bits, grey or RGB; what is transparent is white."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _deep(encoded: Encoded, image: Any, header: Header) -> NDArray[Any]:
    """``(H, W, C)`` exact and upright, of an image whose values are not of 8 bits."""
    raw = rawmode(image) if image.format == "PNG" else ""
    if raw in ("RGB;16B", "RGBA;16B", "LA;16B"):
        values = _opaque(_deep_colour(encoded, raw.partition(";")[0]))
    else:
        values = np.asarray(image)[..., None]
    kind = np.dtype(header.type)
    if values.dtype != kind:  # Pillow keeps 16 bits of some formats in 32
        values = values.astype(kind)
    return upright(values, header.orientation)


def _deep_colour(encoded: Encoded, mode: str) -> NDArray[np.uint16]:
    """All samples of a PNG of 16 bits in colour or with alpha, which Pillow would cut to 8.

    Its decoder takes the first byte of each sample, or the second where it is told that samples
    are little-endian.
    """
    if mode == "LA":  # four bytes a pixel, as they are
        both = _samples(encoded, "RGBA")
        return _joined(both[..., 0::2], both[..., 1::2])
    return _joined(_samples(encoded, f"{mode};16B"), _samples(encoded, f"{mode};16L"))


def _joined(high: NDArray[np.uint16], low: NDArray[np.uint16]) -> NDArray[np.uint16]:
    return np.asarray(high << np.uint16(8) | low, np.uint16)


def _samples(encoded: Encoded, raw: str) -> NDArray[np.uint16]:
    with opened(encoded) as image:
        read_as(image, raw)
        return np.asarray(image).astype(np.uint16)


def _opaque(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Without alpha, on white."""
    if values.shape[2] not in (2, 4):
        return values
    alpha = values[..., -1:].astype(np.float64) / 65535.0
    shown = values[..., :-1] * alpha + 65535.0 * (1.0 - alpha)
    return shown.round().astype(np.uint16)
