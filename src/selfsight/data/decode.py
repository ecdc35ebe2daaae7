"""Encoded images (files or bytes) into one array of one size, a thread pool at a time."""

from __future__ import annotations

import io
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from selfsight.data.bands import Bands, bands_of, is_tiff, read_bands
from selfsight.data.resize import resized

Encoded = bytes | Path
Kind = Literal["grey", "grey16", "float", "color", "bands"]
Batches = Callable[[NDArray[np.int64]], Iterable[list["Encoded | str"]]]
"""Row numbers -> the encoded images in that order, some at a time; text says why there is none."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "MPO")
SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp"}
SUFFIXES |= {".dib", ".gif", ".pgm", ".ppm", ".pnm"}
MAX_NATIVE = 256
MAX_AUTOMATIC = 224
KINDS: dict[str, Kind] = {"1": "grey", "L": "grey", "LA": "grey", "La": "grey", "F": "float"}
NAMED = 3
LOOKED_AT = 32
MIN_SIDE = 4


class Coloured(Exception):  # noqa: N818 - a finding, not an error
    """An image is coloured where grey ones were expected."""


@dataclass(frozen=True)
class Header:
    """What can be known before decoding."""

    height: int
    width: int
    kind: Kind
    bands: Bands | None = None


@dataclass
class Unreadable:
    """Images that could not be read: row -> why."""

    reasons: dict[int, str] = field(default_factory=dict)

    def check(
        self, rows: NDArray[np.int64], row_ids: NDArray[np.str_], allowed: float, source: str
    ) -> None:
        """Raises ``ValueError`` when more than the share ``allowed`` of the rows is unreadable."""
        if not self.reasons:
            return
        count, first = len(self.reasons), min(self.reasons)
        named = f"the first is {row_ids[first]} ({self.reasons[first]})."
        if count == len(rows):
            raise ValueError(f"{source}: none of the {count:,} images can be read; {named}")
        if count > allowed * len(rows):
            raise ValueError(
                f"{source}: {count:,} of {len(rows):,} images cannot be read, more than the "
                f"{allowed:.0%} that max_unreadable allows; {named}"
            )

    def notes(self, row_ids: NDArray[np.str_]) -> list[str]:
        if not self.reasons:
            return []
        rows = sorted(self.reasons)
        named = "; ".join(f"{row_ids[row]} ({self.reasons[row]})" for row in rows[:NAMED])
        more = "" if len(rows) <= NAMED else f"; and {len(rows) - NAMED:,} more"
        what = "image was" if len(rows) == 1 else "images were"
        return [f"{len(rows):,} unreadable {what} skipped: {named}{more}."]


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


def scan(batches: Batches, rows: NDArray[np.int64]) -> tuple[dict[int, Header], Unreadable]:
    """The headers of the rows, and the rows that have none."""
    headers: dict[int, Header] = {}
    bad = Unreadable()
    for row, found in zip(rows.tolist(), _each(_header, batches(rows)), strict=True):
        if isinstance(found, Header):
            headers[row] = found
        else:
            bad.reasons[row] = found
    return headers, bad


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
    kinds: Counter[Kind] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    bands: Counter[Bands] = Counter()
    for header in headers:
        kinds[header.kind] += 1
        if header.bands is not None:
            bands[replace(header.bands, height=0, width=0)] += 1
        sizes[header.height, header.width] += 1
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
    if kinds["bands"] > kinds.total() / 2:
        most = bands.most_common(1)[0][0]
        notes.append(f"TIFF images of {most.channels} channels, {most.dtype}.")
        kept = np.dtype(most.dtype)
        return Plan(height, width, most.channels, kept, tuple(notes), bands=True)
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
    return Plan(height, width, channels, dtype, tuple(notes))


def all_grey(batches: Batches, rows: NDArray[np.int64], wanted: Plan) -> bool:
    """Whether some images of the rows, evenly spread, have three equal channels."""
    some = rows[np.unique(np.linspace(0, len(rows) - 1, LOOKED_AT).astype(np.int64))]
    found = _each(lambda encoded: _equal_channels(decode(encoded, wanted)), batches(some))
    seen = [grey for grey in found if not isinstance(grey, str)]
    return bool(seen) and all(seen)


def fill(
    pixels: NDArray[Any], batches: Batches, rows: NDArray[np.int64], wanted: Plan
) -> dict[str, Any]:
    """Decodes the rows into ``pixels`` one after the other, leaving no gap for unreadable ones.

    Returns:
        ``{"rows": how many were filled, "broken": {row: why}}``.
    """
    broken: dict[str, str] = {}
    place = 0
    images = _each(lambda encoded: decode(encoded, wanted), batches(rows))
    for row, image in zip(rows.tolist(), images, strict=True):
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
    with _opened(encoded) as image:
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


def _header(encoded: Encoded) -> Header:
    found = bands_of(encoded) if is_tiff(encoded) else None
    if found is not None:
        return Header(found.height, found.width, "bands", found)
    with _opened(encoded) as image:
        width, height = image.size
        if image.format in ("JPEG", "MPO", "TIFF", "WEBP", "PNG"):
            turned = image.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 swap the sides
            width, height = (height, width) if turned else (width, height)
        kind = KINDS.get(image.mode, "grey16" if image.mode.startswith("I") else "color")
        return Header(height, width, kind)


@contextmanager
def _opened(encoded: Encoded) -> Iterator[Any]:
    """An opened image; only plain raster formats, so that no file can start a program."""
    from PIL import Image

    with (
        io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded.open("rb") as file,
        Image.open(file, formats=FORMATS) as image,
    ):
        yield image


def _each(
    task: Callable[[Encoded], Any], batches: Iterable[Sequence[Encoded | str]]
) -> Iterator[Any]:
    """The task's result, or why there is none, for each image, in order, from a thread pool."""
    from PIL import Image

    def one(encoded: Encoded | str) -> Any:
        if isinstance(encoded, str):
            return encoded
        try:
            return task(encoded)
        except Coloured:
            raise
        except Exception as error:  # a damaged file can raise anything inside a decoder
            return _reason(error, encoded)

    def some(part: Sequence[Encoded | str]) -> list[Any]:
        return [one(encoded) for encoded in part]

    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for batch in batches:
            parts = [batch[first : first + 64] for first in range(0, len(batch), 64)]
            for results in pool.map(some, parts):
                yield from results


def _reason(error: Exception, encoded: Encoded) -> str:
    from PIL import Image, UnidentifiedImageError

    size = len(encoded) if isinstance(encoded, bytes) else None
    if isinstance(encoded, Path) and encoded.is_file():
        size = encoded.stat().st_size
    if size == 0:
        return "an empty file"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "more pixels than an honest image has, perhaps a decompression bomb"
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    text = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    return text.replace(str(encoded), "the file") if isinstance(encoded, Path) else text
