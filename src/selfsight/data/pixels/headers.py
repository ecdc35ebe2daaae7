"""Encoded images (files or bytes): their headers, and a pool of threads that reads them."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.tiff import Bands, bands_of, is_tiff

Encoded = bytes | Path
Kind = Literal["grey", "grey16", "float", "color", "bands"]
Batches = Callable[[NDArray[np.int64]], Iterable[list["Encoded | str"]]]
"""Row numbers -> the encoded images in that order, some at a time; text says why there is none."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""MPO (several JPEGs in one) is opened as JPEG, and by no name of its own."""
SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp"}
SUFFIXES |= {".dib", ".gif", ".pgm", ".ppm", ".pnm"}
KINDS: dict[str, Kind] = {"1": "grey", "L": "grey", "LA": "grey", "La": "grey", "F": "float"}
NAMED = 3


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


def scan(batches: Batches, rows: NDArray[np.int64]) -> tuple[dict[int, Header], Unreadable]:
    """The headers of the rows, and the rows that have none."""
    headers: dict[int, Header] = {}
    bad = Unreadable()
    for row, found in zip(rows.tolist(), each(header_of, batches(rows)), strict=True):
        if isinstance(found, Header):
            headers[row] = found
        else:
            bad.reasons[row] = found
    return headers, bad


def header_of(encoded: Encoded) -> Header:
    found = bands_of(encoded) if is_tiff(encoded) else None
    if found is not None:
        return Header(found.height, found.width, "bands", found)
    with opened(encoded) as image:
        width, height = image.size
        # A PNG's would be sought behind its pixels, by decoding them.
        asked = image.format in ("JPEG", "MPO", "TIFF", "WEBP")
        if asked or (image.format == "PNG" and "exif" in image.info):
            turned = image.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 swap the sides
            width, height = (height, width) if turned else (width, height)
        kind = KINDS.get(image.mode, "grey16" if image.mode.startswith("I") else "color")
        return Header(height, width, kind)


@contextmanager
def opened(encoded: Encoded) -> Iterator[Any]:
    """An opened image; only plain raster formats, so that no file can start a program."""
    from PIL import Image

    with (
        io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded.open("rb") as file,
        Image.open(file, formats=FORMATS) as image,
    ):
        yield image


def each(task: Callable[[Any], Any], batches: Iterable[Sequence[Any]]) -> Iterator[Any]:
    """The task's result, or why there is none, for each image, in order, from a thread pool.

    Args:
        task: takes an encoded image, or what has one as ``encoded``.
        batches: of such; text says why there is none.
    """
    from PIL import Image

    def one(encoded: Any) -> Any:
        if isinstance(encoded, str):
            return encoded
        place = getattr(encoded, "encoded", encoded)
        if isinstance(place, Path) and place.exists() and not place.is_file():
            return "no plain file"  # reading a named pipe or a device would never end
        try:
            return task(encoded)
        except Coloured:
            raise
        except Exception as error:  # a damaged file can raise anything inside a decoder
            return _reason(error, getattr(encoded, "encoded", encoded))

    def some(part: Sequence[Any]) -> list[Any]:
        return [one(encoded) for encoded in part]

    Image.init()  # here: two threads that do so at once fail over each other
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
