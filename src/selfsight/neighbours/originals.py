"""The whole images behind an index: only those of its rows, never another file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfsight.data.pixels.formats import FORMAT_OF, suffix_of
from selfsight.data.sources.steps.image_columns import image_columns
from selfsight.neighbours.appending import without_prefix
from selfsight.neighbours.index import Index

SHOWN_AS_IT_IS = {"PNG": "png", "JPEG": "jpeg", "WEBP": "webp", "GIF": "gif"}
"""What every browser shows; other formats are decoded and sent as PNG."""
MOST_BYTES = 100_000_000
SAFE = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")
"""What Pillow may open here; the decoders of these formats start no other program."""


@dataclass(frozen=True)
class OriginalImages:
    """Images of an index by place: files of its folders, rows of its Parquet files."""

    index: Index

    def at(self, place: int) -> tuple[bytes, str] | None:
        """Encoded image and its type (``image/png``); None where the source cannot give it.

        A row id names a file below the source. A link, or a damaged table, that leads out of it
        gives nothing.

        Args:
            place: in the index, from 0 to N - 1.
        """
        source, prefix = (self.index.rows[name][place].as_py() for name in ("source", "prefix"))
        row_id = without_prefix(str(self.index.row_ids[place]), prefix)
        if not source:
            return None
        root = Path(source).expanduser()
        if not root.exists():  # named in another working directory
            root = Path(self.index.card.directory) / root
        content = None
        if root.is_dir() and suffix_of(row_id) in FORMAT_OF:
            path = root / row_id
            if _inside(root, path) and path.stat().st_size <= MOST_BYTES:
                content = path.read_bytes()
        elif "#" in row_id:
            file, _, row = row_id.rpartition("#")
            path = root / file if root.is_dir() else root
            if row.isdigit() and _inside(root if root.is_dir() else root.parent, path):
                content = _cell(path, int(row))
        return None if content is None else _for_a_browser(content)


def _inside(root: Path, path: Path) -> bool:
    """Whether a file lies below a folder, with links followed."""
    try:
        return path.is_file() and path.resolve().is_relative_to(root.resolve())
    except (OSError, ValueError):
        return False


def _cell(path: Path, row: int) -> bytes | None:
    """The encoded image of one row of a Parquet file; only its row group is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = image_columns(path)
    if not columns:
        return None
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if row < count:
                    table: Any = file.read_row_group(group, columns=[columns[0]])
                    value = table[columns[0]][row].as_py()
                    value = value.get("bytes") if isinstance(value, dict) else value
                    return value if isinstance(value, bytes) else None
                row -= count
    except (OSError, UnicodeError, pa.ArrowException):
        return None
    return None


def _for_a_browser(content: bytes) -> tuple[bytes, str] | None:
    """The image as it is, or as PNG; None where it is no image that Pillow reads."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=SAFE) as image:
            if image.format in SHOWN_AS_IT_IS:
                return content, f"image/{SHOWN_AS_IT_IS[image.format]}"
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "PNG")
    except Exception:  # a damaged file may raise anything
        return None
    return buffer.getvalue(), "image/png"
