"""Rows of a PNG: its stream is inflated as far as they go, and Pillow undoes the filters.

A filter (PNG specification, section 9) needs the row above. So the filtered rows of a strip
become a small PNG of their own below the last row of the strip before, and the rows that come out
become another one, with the palette and the depth of the file: the one decoder reads it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.pixels.headers import opened, read_as

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type -> samples of a pixel."""
COPIED = (b"PLTE", b"tRNS", b"sBIT")
"""Chunks that say what samples mean."""
LIKE = {1: (0, 8), 2: (4, 8), 3: (2, 8), 4: (6, 8), 6: (2, 16), 8: (6, 16)}
"""Bytes of a pixel -> a colour type and a depth of that width, by which Pillow gives all bytes."""
CHUNK = 1 << 18

Rows = Callable[[int, int], bytes]
"""``(first, last)`` -> a PNG of these rows; ``first`` must not fall from call to call."""


@contextmanager
def png_rows(encoded: bytes | Path) -> Iterator[Rows | None]:
    """Rows of a PNG; None where it is interlaced or its first chunk is damaged."""
    with io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded.open("rb") as file:
        layout = _layout(file)
        yield None if layout is None else _PngRows(file, layout).rows


@dataclass(frozen=True)
class PngLayout:
    """The header of a PNG.

    Attributes:
        width, height: pixels.
        depth: bits of a sample.
        colour: the colour type of the specification.
        chunks: `COPIED` as they stand in the file.
    """

    width: int
    height: int
    depth: int
    colour: int
    chunks: bytes

    @property
    def pixel(self) -> int:
        """Bytes of a pixel, at least 1: what filters look back."""
        return max(1, SAMPLES[self.colour] * self.depth // 8)

    @property
    def row(self) -> int:
        """Bytes of a row."""
        return -(-self.width * SAMPLES[self.colour] * self.depth // 8)


def _layout(file: IO[bytes]) -> PngLayout | None:
    """Reads up to the first pixels."""
    if file.read(8) != SIGNATURE:
        return None
    fields: tuple[int, ...] | None = None
    chunks = b""
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            file.seek(-8, io.SEEK_CUR)
            break
        if kind == b"IHDR" and length == 13:
            fields = struct.unpack(">IIBBBBB", file.read(13))
            file.seek(4, io.SEEK_CUR)
        elif kind in COPIED and length < CHUNK:
            chunks += head + file.read(length + 4)
        else:
            file.seek(length + 4, io.SEEK_CUR)
    if fields is None or fields[3] not in SAMPLES or fields[6] != 0:
        return None
    return PngLayout(fields[0], fields[1], fields[2], fields[3], chunks)


class _PngRows:
    """Rows in order; keeps those that the next strip may ask for again."""

    def __init__(self, file: IO[bytes], layout: PngLayout) -> None:
        self.file, self.layout = file, layout
        self.stream = zlib.decompressobj()
        self.pending, self.left = b"", 0
        self.kept = np.zeros((0, layout.row), np.uint8)
        self.first = 0

    def rows(self, first: int, last: int) -> bytes:
        layout = self.layout
        assert self.first <= first < last <= layout.height
        step = max(1, CHUNK * 16 // max(1, layout.row))
        while self.first + len(self.kept) < last:
            start = self.first + len(self.kept)
            count = min(step, last - start)
            above = self.kept[-1:] if len(self.kept) else np.zeros((1, layout.row), np.uint8)
            fresh = self._unfiltered(above, self._inflated(count))
            # The last row stays in any case: the next filters need it.
            gone = min(max(0, first - self.first), len(self.kept) + len(fresh) - 1)
            self.kept = np.concatenate([self.kept, fresh])[gone:]
            self.first += gone
        gone = min(first - self.first, len(self.kept) - 1)
        self.kept, self.first = self.kept[gone:], self.first + gone
        wanted = self.kept[first - self.first : last - self.first]
        plain = np.concatenate([np.zeros((len(wanted), 1), np.uint8), wanted], axis=1)
        return _png(layout.width, layout.depth, layout.colour, plain, layout.chunks)

    def _inflated(self, count: int) -> NDArray[np.uint8]:
        """The next rows with their filter bytes, ``(count, 1 + row)``."""
        size = count * (self.layout.row + 1)
        parts: list[bytes] = []
        while size > 0:
            raw = self.pending or self._compressed()
            if not raw:
                raise ValueError(
                    f"the file is cut off: {len(self.kept) + self.first:,} of "
                    f"{counted(self.layout.height, 'row is', 'rows are')} in it"
                )
            part = self.stream.decompress(raw, size)
            self.pending = self.stream.unconsumed_tail
            parts.append(part)
            size -= len(part)
        return np.frombuffer(b"".join(parts), np.uint8).reshape(count, -1)

    def _compressed(self) -> bytes:
        """The next bytes of the chunks IDAT; empty at their end."""
        while self.left == 0:
            head = self.file.read(8)
            if len(head) < 8 or head[4:] != b"IDAT":
                return b""
            self.left = int.from_bytes(head[:4], "big")
            if self.left == 0:
                self.file.seek(4, io.SEEK_CUR)
        raw = self.file.read(min(CHUNK, self.left))
        self.left -= len(raw)
        if self.left == 0:
            self.file.seek(4, io.SEEK_CUR)
        return raw

    def _unfiltered(
        self, above: NDArray[np.uint8], filtered: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """The bytes of the rows, ``(count, row)``."""
        pixel = self.layout.pixel
        colour, depth = LIKE[pixel]
        unfiltered = np.zeros((1, 1), np.uint8)
        lines = np.concatenate([np.concatenate([unfiltered, above], axis=1), filtered])
        strip = _png(self.layout.row // pixel, depth, colour, lines)
        if depth == 8:
            found = _opened(strip, None)
        else:
            mode = "RGB" if pixel == 6 else "RGBA"
            both = [_opened(strip, f"{mode};16B"), _opened(strip, f"{mode};16L")]
            found = np.stack(both, axis=-1)
        return np.ascontiguousarray(found.reshape(len(lines), -1)[1:])


def _opened(strip: bytes, mode: str | None) -> NDArray[np.uint8]:
    """The samples of a PNG; of 16 bits the first or the second byte, as the mode says."""
    with opened(strip) as image:
        if mode is not None:
            read_as(image, mode)
        return np.asarray(image)


def _png(
    width: int, depth: int, colour: int, lines: NDArray[np.uint8], chunks: bytes = b""
) -> bytes:
    """A PNG of lines that begin with their filter bytes, without compression."""
    head = struct.pack(">IIBBBBB", width, len(lines), depth, colour, 0, 0, 0)
    pixels = zlib.compress(lines.tobytes(), 0)
    return b"".join(
        [SIGNATURE, _chunk(b"IHDR", head), chunks, _chunk(b"IDAT", pixels), _chunk(b"IEND", b"")]
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
