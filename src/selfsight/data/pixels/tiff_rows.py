"""Rows of a TIFF, from the strips or tiles that hold them, through tifffile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.tiff import ORIENTATION, opened_tiff, plain_values, tag_of

BLACK_IS_ZERO, RGB = 1, 2

Rows = Callable[[int, int], NDArray[Any]]
"""``(first, last)`` -> rows ``(H, W, C)`` of the file's own type; ``first`` must not fall."""


@contextmanager
def tiff_rows(encoded: bytes | Path) -> Iterator[Rows | None]:
    """Rows of a TIFF of grey, RGB or any channels; channels may be pages.

    None where tifffile or a codec that it needs is not installed, and for palettes, alpha, packed
    bits, turned images and volumes, which are read as a whole.
    """
    try:
        import tifffile
    except ImportError:
        yield None
        return
    try:
        file = opened_tiff(encoded)
    except (tifffile.TiffFileError, ValueError, OSError):
        yield None
        return
    with file:
        yield _rows_of(file)


def _rows_of(file: Any) -> Rows | None:
    series = file.series[0]
    pages = list(series.pages)
    if not pages or any(page is None for page in pages):
        return None
    page = pages[0]
    codes = (BLACK_IS_ZERO, RGB) if page.dtype == np.uint8 else (0, BLACK_IS_ZERO, RGB)
    lies_plain = (
        page.photometric in codes
        and page.imagedepth == 1
        and page.bitspersample == 8 * page.dtype.itemsize
        and page.dtype.kind in "uif"
        and not (page.dtype == np.uint8 and page.extrasamples)
        and tag_of(page, ORIENTATION, 1) == 1
        and series.axes.replace("X", "").endswith(("Y", "YS", "SY"))
        and series.size == len(pages) * page.size
    )
    if not lies_plain:
        return None
    reader = _TiffRows(pages)
    try:
        reader.rows(0, 1)
    except Exception:  # whatever a codec raises: the whole image is tried, and says what it lacks
        return None
    return reader.rows


class _TiffRows:
    """Rows of pages of one form; the decoded segments that reach further down are kept."""

    def __init__(self, pages: list[Any]) -> None:
        self.pages = pages
        self.decoded: dict[tuple[int, int], Any] = {}

    def rows(self, first: int, last: int) -> NDArray[Any]:
        parts = [self._page(number, first, last) for number in range(len(self.pages))]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
        return plain_values(values, self.pages[0].keyframe)

    def _page(self, number: int, first: int, last: int) -> NDArray[Any]:
        page = self.pages[number].keyframe
        planes, _, _, width, samples = page.shaped
        out = np.zeros((planes, last - first, width, samples), page.dtype)
        for plane in range(planes):
            if self._is_one_block(number):
                out[plane] = self._block(number, plane, first, last)
                continue
            for index in self._indices(page, plane, first, last):
                segment, top, left = self._segment(number, index, first)
                if segment is None:  # a hole, which is 0
                    continue
                low, high = max(top, first), min(top + len(segment), last)
                rows = segment[low - top : high - top]
                out[plane, low - first : high - first, left : left + rows.shape[1]] = rows
        values: NDArray[Any] = np.moveaxis(out, 0, 2).reshape(last - first, width, -1)
        return values

    def _is_one_block(self, number: int) -> bool:
        """Whether a plane lies in the file as it is in memory, in one piece."""
        page = self.pages[number]
        keyframe = page.keyframe
        one = len(page.dataoffsets) == keyframe.shaped[0] and not keyframe.is_tiled
        return one and keyframe.compression == 1 and keyframe.predictor == 1

    def _block(self, number: int, plane: int, first: int, last: int) -> NDArray[Any]:
        page = self.pages[number]
        kind = page.keyframe.dtype.newbyteorder(page.parent.byteorder)
        _, _, _, width, samples = page.keyframe.shaped
        row = width * samples * kind.itemsize
        handle = page.parent.filehandle
        handle.seek(page.dataoffsets[plane] + first * row)
        raw = handle.read((last - first) * row)
        return np.frombuffer(raw, kind).reshape(last - first, width, samples)

    def _indices(self, page: Any, plane: int, first: int, last: int) -> range:
        """The segments of a plane that hold the rows."""
        height = page.tilelength if page.is_tiled else page.rowsperstrip
        height = max(1, min(height, page.imagelength))
        across = -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1
        start = plane * across * -(-page.imagelength // height)
        return range(start + first // height * across, start + -(-last // height) * across)

    def _segment(self, number: int, index: int, first: int) -> tuple[Any, int, int]:
        """A decoded segment ``(h, w, samples)``, its top and its left side."""
        key = (number, index)
        if key not in self.decoded:
            self.decoded = {
                place: (segment, top, left)
                for place, (segment, top, left) in self.decoded.items()
                if segment is not None and top + len(segment) > first
            }
            self.decoded[key] = self._read(number, index)
        segment, top, left = self.decoded[key]
        return segment, top, left

    def _read(self, number: int, index: int) -> tuple[Any, int, int]:
        page = self.pages[number]
        keyframe = page.keyframe
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        handle = page.parent.filehandle
        handle.seek(offset)
        decoded, place, _ = keyframe.decode(handle.read(count), index)
        top, left = place[2], place[3]
        if decoded is None:
            return None, top, left
        # Tiles at the edges reach beyond the image.
        return decoded[0, : keyframe.imagelength - top, : keyframe.imagewidth - left], top, left
