"""Encoded images (files or bytes) into one array of one size, a thread pool at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from selfsight.console import progress
from selfsight.data.pixels.headers import Batches, Coloured, Encoded, Header, Kind, each, opened
from selfsight.data.pixels.resize import resized
from selfsight.data.pixels.tiff import Bands, is_tiff, read_bands

MAX_NATIVE = 256
MAX_AUTOMATIC = 224
LOOKED_AT = 32
MIN_SIDE = 4


@dataclass(frozen=True)
class Plan:
    """Height, width, channels and type that all images are brought to, and why."""

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    notes: tuple[str, ...] = ()
    grey: bool = False
    """Coloured files are expected to be grey; `Coloured` is raised at the first that is not."""
    bands: bool = False
    """They are TIFF of so many channels and this type; others are unreadable."""

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels


def plan(headers: Iterable[Header], size: int | tuple[int, int] | None, source: str) -> Plan:
    """One size, number of channels and type for all the images.

    Images of one size up to 256 pixels stay as they are; others are brought to a square with the
    median short side, rounded to a multiple of 8, at most 224 pixels.

    Args:
        headers: of all the images; at least one.
        size: of the square, or (height, width), or None: automatic.
        source: its name, for messages.

    Raises:
        ValueError: the images are too small.
    """
    headers = list(headers)
    sizes = Counter((header.height, header.width) for header in headers)
    notes: list[str] = []
    (height, width), _ = sizes.most_common(1)[0]
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
    elif len(sizes) > 1 or min(height, width) > MAX_NATIVE:
        short = np.repeat([min(pair) for pair in sizes], list(sizes.values()))
        side = min(MAX_AUTOMATIC, max(8, 8 * round(float(np.median(short)) / 8)))
        height = width = side
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"{source}: its images of {height}x{width} pixels are too small; each side needs "
            f"{MIN_SIDE} at least."
        )
    if any(pair != (height, width) for pair in sizes):
        heights, widths = zip(*sizes, strict=True)
        span = f"{min(heights)}x{min(widths)} to {max(heights)}x{max(widths)}"
        what = f"Images of {len(sizes):,} sizes ({span})" if len(sizes) > 1 else f"Images ({span})"
        notes.append(f"{what} were resized and centre-cropped to {height}x{width} pixels.")
    form = form_of(headers)
    return replace(form, height=height, width=width, notes=(*notes, *form.notes))


def form_of(headers: Iterable[Header]) -> Plan:
    """Channels and type that all the images are brought to; the sides stay 0."""
    kinds: Counter[Kind] = Counter()
    bands: Counter[Bands] = Counter()
    for header in headers:
        kinds[header.kind] += 1
        if header.bands is not None:
            bands[replace(header.bands, height=0, width=0)] += 1
    notes: list[str] = []
    if kinds["bands"] > kinds.total() / 2:
        most = bands.most_common(1)[0][0]
        notes.append(f"TIFF images of {most.channels} channels, {most.dtype}.")
        kept = np.dtype(most.dtype)
        return Plan(0, 0, most.channels, kept, tuple(notes), bands=True)
    channels = 1
    dtype: np.dtype[Any] = np.dtype(np.uint8)
    if kinds["color"]:
        channels = 3
        if kinds["grey"] or kinds["grey16"] or kinds["float"]:
            grey = kinds.total() - kinds["color"]
            notes.append(f"{grey:,} grey images among coloured ones were made RGB of 8 bits.")
    elif kinds["float"]:
        dtype = np.dtype(np.float32)
    elif kinds["grey16"]:
        dtype = np.dtype(np.uint16)
        if kinds["grey"]:
            notes.append(f"{kinds['grey']:,} grey images of 8 bits were widened to 16 bits.")
    return Plan(0, 0, channels, dtype, tuple(notes))


def all_grey(batches: Batches, rows: NDArray[np.int64], wanted: Plan) -> bool:
    """Whether some images of the rows, evenly spread, have three equal channels."""
    some = rows[np.unique(np.linspace(0, len(rows) - 1, LOOKED_AT).astype(np.int64))]
    found = each(lambda encoded: _equal_channels(decode(encoded, wanted)), batches(some))
    seen = [grey for grey in found if not isinstance(grey, str)]
    return bool(seen) and all(seen)


class Sink(Protocol):
    """What decoded images are written to: an array, or nothing where only errors are sought."""

    def __setitem__(self, place: Any, image: Any) -> None: ...


def fill(pixels: Sink, batches: Batches, rows: NDArray[np.int64], wanted: Plan) -> dict[str, Any]:
    """Decodes the rows into ``pixels`` one after the other, leaving no gap for unreadable ones.

    Returns:
        ``{"rows": how many were filled, "broken": {row: why}}``.
    """
    broken: dict[str, str] = {}
    place = 0
    images = each(lambda encoded: decode(encoded, wanted), batches(rows))
    with progress("decoding images", len(rows)) as bar:
        for row, image in zip(rows.tolist(), images, strict=True):
            bar.update()
            if isinstance(image, str):
                broken[str(row)] = image
            else:
                pixels[place] = image
                place += 1
    return {"rows": place, "broken": broken}


def decode(encoded: Encoded, wanted: Plan) -> NDArray[Any]:
    """One image ``(H, W, C)``: upright, converted, resized on its short side, centre-cropped.

    Transparent pixels are shown on white.
    """
    from PIL import ImageOps

    if wanted.bands:
        return _decoded_bands(encoded, wanted)
    with opened(encoded) as image:
        if image.format in ("JPEG", "MPO"):  # decoding at a power-of-two scale is much cheaper
            image.draft(None, (2 * wanted.width, 2 * wanted.height))
        upright: Any = ImageOps.exif_transpose(image)
        if wanted.grey:
            coloured = replace(wanted, channels=3, grey=False)
            values = _fitted(_converted(upright, coloured), coloured)
            if not _equal_channels(values):
                raise Coloured
            return values[..., :1]
        return _fitted(_converted(upright, wanted), wanted)


def _decoded_bands(encoded: Encoded, wanted: Plan) -> NDArray[Any]:
    if not is_tiff(encoded):
        raise ValueError(f"no TIFF, where the others have {wanted.channels} channels")
    values = read_bands(encoded)
    if values.shape[2] != wanted.channels or values.dtype != wanted.dtype:
        raise ValueError(
            f"{values.shape[2]} channels of {values.dtype}, where most have {wanted.channels} of "
            f"{wanted.dtype}"
        )
    one: NDArray[Any] = resized(values[None], (wanted.height, wanted.width))[0]
    return one


def _equal_channels(values: NDArray[Any]) -> bool:
    return bool((values == values[..., :1]).all())


def _converted(image: Any, wanted: Plan) -> Any:
    from PIL import Image

    deep = image.mode.startswith("I") or image.mode == "F"
    if wanted.dtype == np.float32:
        return image if deep and image.mode == "F" else image.convert("F")
    if wanted.dtype == np.uint16:
        values = np.asarray(image if deep else image.convert("L"))
        values = values if deep else values.astype(np.uint16) * 257
        return Image.fromarray(np.clip(values, 0, 65535).astype(np.float32))
    if deep:
        values = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.clip(values / 257, 0, 255).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("L" if wanted.channels == 1 else "RGB")


def _fitted(image: Any, wanted: Plan) -> NDArray[Any]:
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
