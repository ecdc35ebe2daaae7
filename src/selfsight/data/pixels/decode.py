"""Encoded images (files or bytes) into one array of one form, a thread pool at a time.

`read_pixels` is the one decoder: of every format, upright, in the file's own type.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from selfsight.console import progress
from selfsight.data.pixels.dicom import dicom_header, is_dicom, read_dicom
from selfsight.data.pixels.formats import format_of, missing, start_of
from selfsight.data.pixels.header import Header, upright
from selfsight.data.pixels.headers import (
    TOO_LARGE,
    Batches,
    Coloured,
    Encoded,
    each,
    header_of,
    opened,
    rawmode,
    read_as,
)
from selfsight.data.pixels.plan import DecodePlan, factor_of
from selfsight.data.pixels.resize import resized
from selfsight.data.pixels.room import room_for
from selfsight.data.pixels.tiff import is_tiff, read_tiff, tiff_header
from selfsight.data.pixels.values import converted, fill_nodata

LOOKED_AT = 32
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


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
        header, image = read_pixels(encoded, _coloured(wanted), room)
        return finished(header, image, wanted)


def _coloured(wanted: DecodePlan) -> DecodePlan:
    """The plan by which an image is read, before it is known to be grey."""
    return replace(wanted, channels=3, grey=False) if wanted.grey else wanted


def finished(header: Header, image: Any, wanted: DecodePlan) -> NDArray[Any]:
    """``(H, W, C)`` in the wanted form, of what `read_pixels` gives.

    Raises:
        ValueError: see `to_form`.
        Coloured: the image is coloured where grey ones are expected.
    """
    form = _coloured(wanted)
    if isinstance(image, np.ndarray):
        values = fitted_values(to_form(image, header, form), form)
    else:
        values = _fitted(image, form)
    if not wanted.grey:
        return values
    if not equal_channels(values):
        raise Coloured
    return values[..., :1]


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


def to_form(values: NDArray[Any], header: Header, wanted: DecodePlan) -> NDArray[Any]:
    """``(H, W, C)`` of a file's own type in the channels and the value scale that are wanted.

    Raises:
        ValueError: other channels, or a type that does not say what its values mean.
    """
    options = wanted.options
    if values.shape[2] != wanted.channels:
        if {values.shape[2], wanted.channels} != {1, 3}:
            raise ValueError(
                f"{values.shape[2]} channels of {header.type}, where most have {wanted.channels}"
            )
        values = grey(values) if wanted.channels == 1 else np.repeat(values, 3, axis=2)
    factor, shift = factor_of(header, wanted)
    return converted(fill_nodata(values, options.nodata), wanted.dtype, factor, shift)


def grey(values: NDArray[Any]) -> NDArray[Any]:
    """``(..., 3)`` to ``(..., 1)``, by luma (ITU-R BT.601); the type is kept."""
    luma = values.astype(np.float32) @ LUMA
    return (luma if values.dtype.kind == "f" else luma.round()).astype(values.dtype)[..., None]


def fitted_values(values: NDArray[Any], wanted: DecodePlan) -> NDArray[Any]:
    """``(H, W, C)`` of the wanted type, resized on its short side and centre-cropped."""
    from PIL import Image

    if values.shape == wanted.shape:
        return values
    if wanted.channels not in (1, 3):
        one: NDArray[Any] = resized(values[None], (wanted.height, wanted.width))[0]
        return one
    if values.dtype == np.uint8:
        picture = Image.fromarray(values if values.shape[2] == 3 else values[..., 0])
        return _fitted(picture, wanted)
    single = replace(wanted, channels=1)
    planes = [
        _fitted(Image.fromarray(np.ascontiguousarray(values[..., c], np.float32)), single)
        for c in range(values.shape[2])
    ]
    return np.concatenate(planes, axis=2)


def _fitted(image: Any, wanted: DecodePlan) -> NDArray[Any]:
    from PIL import Image

    height, width = wanted.height, wanted.width
    if image.size != (width, height):
        scale = max(height / image.height, width / image.width)
        size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
        if image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    values = np.asarray(image)
    if wanted.dtype == np.uint16:
        values = np.clip(values.round(), 0, 65535).astype(np.uint16)
    return values.reshape(wanted.shape)


def equal_channels(values: NDArray[Any]) -> bool:
    return bool((values == values[..., :1]).all())
