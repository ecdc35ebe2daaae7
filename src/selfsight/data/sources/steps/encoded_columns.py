"""Encoded images behind the rows of a table: bytes in Parquet files, or paths of files."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.pixels.headers import Encoded
from selfsight.data.sources.steps.listing import file_identity

BATCH = 512


@dataclass(frozen=True)
class Part:
    """One file of the table: its path, its name in row ids, its first row, its image column."""

    path: Path
    name: str
    first: int
    image: str


def rows_of_parts(
    parts: Sequence[Part], folder: Path, rows: NDArray[np.int64]
) -> Iterable[list[Encoded | str]]:
    """Encoded images of the (ascending) rows; row groups without any of them are not read.

    Raises:
        ValueError: a file is damaged.
    """
    import pyarrow as pa

    for place, part in enumerate(parts):
        end = parts[place + 1].first if place + 1 < len(parts) else np.iinfo(np.int64).max
        inside = rows[(rows >= part.first) & (rows < end)] - part.first
        if not len(inside):
            continue
        count = 0
        try:
            for column, wanted in _chosen(part, inside):
                yield encoded_images(column.take(wanted), folder)
                count += len(wanted)
            if count < len(inside):
                raise OSError(f"{count:,} of {counted(len(inside), 'row')} can be read")
        except (OSError, UnicodeError, pa.ArrowException) as error:
            raise ValueError(f"{part.path} is damaged and cannot be read: {error}") from None


def _chosen(part: Part, inside: NDArray[np.int64]) -> Iterable[tuple[Any, NDArray[np.int64]]]:
    """Columns of the batches that hold any of the rows of a file, and their places in each."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(part.path) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        ends = np.cumsum(sizes)
        needed = np.unique(np.searchsorted(ends, inside, side="right")).tolist()
        # Row numbers within the row groups that are read.
        starts = np.concatenate([[0], np.cumsum([sizes[group] for group in needed])])
        held = np.searchsorted(ends, inside, side="right")
        before = (ends - sizes)[held]
        inside = inside - before + starts[np.searchsorted(needed, held)]
        start = 0
        for batch in file.iter_batches(BATCH, row_groups=needed, columns=[part.image]):
            first, start = start, start + batch.num_rows
            wanted = inside[(inside >= first) & (inside < start)] - first
            if len(wanted):
                yield batch.column(0), wanted


def encoded_images(column: Any, folder: Path) -> list[Encoded | str]:
    """Images of a column of bytes, or of struct<bytes, path> with paths inside the folder."""
    import pyarrow as pa

    found: list[Encoded | str] = []
    for value in column.to_pylist():
        if isinstance(value, dict) and pa.types.is_struct(column.type):
            path = value.get("path")
            value = value["bytes"]
            if value is None and path:
                value = inside_only(path, folder)
        found.append("no image in this row" if value is None else value)
    return found


def rows_of_files(
    paths: Sequence[str | None], root: Path, rows: NDArray[np.int64]
) -> Iterable[list[Encoded | str]]:
    for first in range(0, len(rows), BATCH):
        yield [inside_only(paths[row], root) for row in rows[first : first + BATCH].tolist()]


def identity_of_parts(parts: Sequence[Part], rows: NDArray[np.int64]) -> Iterable[str]:
    for part in parts:
        yield f"{part.image} {file_identity(part.path)}"
    yield rows.tobytes().hex()


def identity_of_files(
    paths: Sequence[str | None], root: Path, rows: NDArray[np.int64]
) -> Iterable[str]:
    for row in rows.tolist():
        yield file_identity(root / (paths[row] or ""))


def inside_only(text: str | None, root: Path) -> Encoded | str:
    r"""The file that a path in a table names, or why it is not read: it must stay in ``root``.

    Names with accents match in either Unicode form, and ``\`` separates folders as well.
    """
    if not text:
        return "no path in this row"
    if "\0" in text:
        return "a path with a null character"
    if "://" in text[:10]:
        return "an address; download the images, and name their files"
    path = _existing(text, root)
    real = os.path.realpath(os.path.join(root, path))
    base = os.path.realpath(root)
    if os.path.commonpath([real, base]) != base:
        return f"a path outside {root}"
    return Path(real) if os.path.isfile(real) else "there is no such file"


def _existing(text: str, root: Path) -> str:
    """The path as it is, or in another spelling where only that exists."""
    if os.path.isfile(os.path.join(root, text)):
        return text
    spellings = [text.replace("\\", "/")] if "\\" in text else []
    if not text.isascii():
        for form in ("NFC", "NFD"):
            spellings += [unicodedata.normalize(form, word) for word in (text, *spellings[:1])]
    return next((s for s in spellings if os.path.isfile(os.path.join(root, s))), text)
