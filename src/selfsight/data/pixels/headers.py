"""Encoded images (files or bytes): the one reader of headers, and a pool of threads for them."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.notes import NAMED, Note, left_out
from selfsight.data.pixels.dicom import dicom_header, is_dicom
from selfsight.data.pixels.formats import format_of, missing, readable, start_of
from selfsight.data.pixels.header import Header
from selfsight.data.pixels.tiff import declared_bits, is_tiff, tiff_header
from selfsight.data.reading import MAX_PIXELS

Encoded = bytes | Path
Batches = Callable[[NDArray[np.int64]], Iterable[list["Encoded | str"]]]
"""Row numbers -> the encoded images in that order, some at a time; text says why there is none."""

GREY = ("1", "L", "LA", "La", "F")
TURNED = ("JPEG", "MPO", "WEBP", "AVIF")
"""Formats whose decoders leave the EXIF orientation to us."""
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
ORIENTATION = 0x0112
BITS_PER_SAMPLE, LARGEST, SAMPLE_FORMAT, SIGNED = 258, 281, 339, 2
TOO_LARGE = (
    "more pixels than an honest image has, perhaps a decompression bomb; --max-pixels allows more"
)


class Coloured(Exception):  # noqa: N818 - a finding, not an error
    """An image is coloured where grey ones were expected."""


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
            raise ValueError(
                f"{source}: none of the {counted(count, 'image')} can be read; {named}"
            )
        if count > allowed * len(rows):
            raise ValueError(
                f"{source}: {count:,} of {counted(len(rows), 'image')} cannot be read, more "
                "than the "
                f"{allowed:.0%} that max_unreadable allows; {named}"
            )

    def notes(self, row_ids: NDArray[np.str_]) -> list[Note]:
        if not self.reasons:
            return []
        rows = sorted(self.reasons)
        named = "; ".join(f"{row_ids[row]} ({self.reasons[row]})" for row in rows[:NAMED])
        more = "" if len(rows) <= NAMED else f"; and {len(rows) - NAMED:,} more"
        what = "image was" if len(rows) == 1 else "images were"
        text = f"{len(rows):,} unreadable {what} skipped: {named}{more}."
        every = (f"{row_ids[row]} ({self.reasons[row]})" for row in rows)
        return [
            left_out(
                text, about="unreadable", count=len(rows), names=every, setting="max_unreadable"
            )
        ]


def scan(
    batches: Batches, rows: NDArray[np.int64], max_pixels: int = MAX_PIXELS
) -> tuple[dict[int, Header], Unreadable]:
    """The headers of the rows, and the rows that have none."""
    headers: dict[int, Header] = {}
    bad = Unreadable()
    found = each(lambda encoded: read_header(encoded, max_pixels), batches(rows), max_pixels)
    for row, header in zip(rows.tolist(), found, strict=True):
        if isinstance(header, Header):
            headers[row] = header
        else:
            bad.reasons[row] = header
    return headers, bad


def read_header(encoded: Encoded, max_pixels: int = MAX_PIXELS) -> Header:
    """Size, channels, type, bits and orientation of an encoded image of any format.

    Raises:
        ValueError: it has more than ``max_pixels`` pixels, or no decoder is installed for it.
    """
    start = start_of(encoded)
    header = dicom_header(encoded) if is_dicom(start) else None
    if header is None and is_tiff(start):
        header = tiff_header(encoded)
    if header is None:
        lacking = missing(format_of(start))
        if lacking:
            raise ValueError(lacking)
        with opened(encoded) as image:
            header = header_of(image)
            if image.format in ANIMATED and _animated(image):
                header = replace(header, frames=2)
    sides = (header.height, header.width)
    if not all(isinstance(side, int | np.integer) and side > 0 for side in sides):
        raise ValueError(f"its header says {sides[0]} x {sides[1]} pixels")  # a TIFF tag of floats
    if header.height * header.width > max_pixels:
        raise ValueError(TOO_LARGE)
    return header


def header_of(image: Any) -> Header:
    """The header of an image that Pillow has opened and not loaded yet."""
    width, height = image.size
    orientation = 1
    # A PNG's orientation would be sought behind its pixels, by decoding them.
    if image.format in TURNED or (image.format == "PNG" and "exif" in image.info):
        orientation = image.getexif().get(ORIENTATION, 1)
    elif image.format == "TIFF":  # Pillow turns it itself; old versions not in ``size``
        width, height = image.tag_v2[256], image.tag_v2[257]
        if image.tag_v2.get(ORIENTATION, 1) >= 5:
            width, height = height, width
    if orientation not in range(1, 9):
        orientation = 1
    if orientation >= 5:
        width, height = height, width
    kind, bits = _value_type(image)
    channels = 1 if image.mode in GREY or image.mode.startswith("I") else 3
    if image.format == "PNG" and rawmode(image) == "LA;16B":
        channels = 1
    return Header(height, width, channels, kind, bits, str(image.format), orientation=orientation)


def _value_type(image: Any) -> tuple[str, int | None]:
    """Type of the values in the file, and the bits that it declares besides."""
    if image.mode == "F":
        return "float32", None
    if image.format == "TIFF":
        depth, form = image.tag_v2.get(BITS_PER_SAMPLE, (8,)), image.tag_v2.get(SAMPLE_FORMAT, (1,))
        if max(depth) > 8:
            if len(depth) > 1:
                raise ValueError(f"colour of {max(depth)} bits in TIFF needs selfsight[tiff]")
            if max(depth) == 12:
                return "uint16", 12
            kind = f"{'int' if form[0] == SIGNED else 'uint'}{max(depth)}"
            if kind == "uint32":
                raise ValueError("values of 32 bits in TIFF need selfsight[tiff]")
            return kind, declared_bits(image.tag_v2.get(LARGEST))
        if form[0] == SIGNED:
            raise ValueError("signed values of 8 bits in TIFF need selfsight[tiff]")
        return "uint8", 8
    if image.format == "PNG" and "16" in rawmode(image):
        return "uint16", _significant_bits(image)
    if image.format == "JPEG2000" and (depth := _codestream_bits(image)) > 8:
        if not image.mode.startswith("I"):
            raise ValueError(f"colour of {depth} bits in JPEG 2000, which Pillow cuts to 8")
        return "uint16", depth
    if image.mode.startswith("I"):  # PGM, which Pillow stretches to 16 bits
        return "uint16", 16
    return "uint8", 8


def rawmode(image: Any) -> str:
    """How the samples of an opened PNG lie in the file, as Pillow calls it."""
    args = image.tile[0][3] if image.tile else ""
    return args if isinstance(args, str) else str(args[0])


def read_as(image: Any, mode: str) -> None:
    """Has the samples of an opened PNG, which is not loaded yet, read in another `rawmode`."""
    image.tile = [
        type(tile)(*tile[:3], mode) if hasattr(tile, "_fields") else (*tile[:3], mode)
        for tile in image.tile
    ]


def _significant_bits(image: Any) -> int | None:
    """The largest depth in a PNG's chunk sBIT, below 16; the chunk stands before the pixels."""
    file = image.fp
    place = file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"sBIT" and length <= 4:
                depth = max(file.read(length))
                return depth if 8 <= depth < 16 else None
            if kind in (b"IDAT", b"IEND"):
                break
            file.seek(length + 4, io.SEEK_CUR)
    finally:
        file.seek(place)
    return None


def _codestream_bits(image: Any) -> int:
    """Bits of the first component in a JPEG 2000 codestream's SIZ marker; 8 where there is none."""
    file = image.fp
    place = file.tell()
    file.seek(0)
    start = file.read(1 << 16)
    file.seek(place)
    at = start.find(b"\xff\x4f\xff\x51")
    return (start[at + 42] & 0x7F) + 1 if 0 <= at < len(start) - 42 else 8


def _animated(image: Any) -> bool:
    with suppress(EOFError, OSError, ValueError, SyntaxError):
        return bool(getattr(image, "is_animated", False))
    return False


@contextmanager
def opened(encoded: Encoded) -> Iterator[Any]:
    """An opened image; only plain raster formats, so that no file can start a program."""
    from PIL import Image

    with (
        io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded.open("rb") as file,
        Image.open(file, formats=readable()) as image,
    ):
        yield image


def each(
    task: Callable[[Any], Any], batches: Iterable[Sequence[Any]], max_pixels: int = MAX_PIXELS
) -> Iterator[Any]:
    """The task's result, or why there is none, for each image, in order, from a thread pool.

    Args:
        task: takes an encoded image, or what has one as ``encoded``.
        batches: of such; text says why there is none.
        max_pixels: above which an image is taken for a decompression bomb.
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
            return reason_of(error, getattr(encoded, "encoded", encoded))

    def some(part: Sequence[Any]) -> list[Any]:
        return [one(encoded) for encoded in part]

    readable()  # here: two threads that register the decoders at once fail over each other
    before = Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            if max_pixels > MAX_PIXELS:
                Image.MAX_IMAGE_PIXELS = max_pixels
            for batch in batches:
                parts = [batch[first : first + 64] for first in range(0, len(batch), 64)]
                for results in pool.map(some, parts):
                    yield from results
        finally:
            Image.MAX_IMAGE_PIXELS = before


def reason_of(error: Exception, encoded: Encoded) -> str:
    """Why an image cannot be read, in a few words."""
    from PIL import Image, UnidentifiedImageError

    size = len(encoded) if isinstance(encoded, bytes) else None
    if size is None:
        assert isinstance(encoded, Path)
        with suppress(OSError):
            size = encoded.stat().st_size
    if size == 0:
        return "an empty file"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return TOO_LARGE
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    text = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    return text.replace(str(encoded), "the file") if isinstance(encoded, Path) else text
