"""Tables that lie in a folder of images and name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.notes import doubt, guess, left_out
from selfsight.data.reading import NONE, Asked
from selfsight.data.sources.steps.labels_by_name import NamedRows, named_rows
from selfsight.data.sources.steps.tables import SUFFIXES, read_columns
from selfsight.data.sources.steps.united import united

MAX_TABLES = 20
MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class FolderTables:
    """What the tables of a folder say of its images.

    Attributes:
        files: the tables that were read.
        columns: a value for each image; null where no table names it.
        names: class names of integer columns.
        notes: which images they name.
    """

    files: frozenset[str]
    columns: Mapping[str, Any]
    names: Mapping[str, Sequence[str]]
    notes: tuple[str, ...]


def folder_tables(
    root: Path, others: Sequence[str], row_ids: NDArray[np.str_], asked: Asked
) -> FolderTables | None:
    """The tables of a folder, or of the folders in it, that name its images; None: there are none.

    Args:
        root: the folder.
        others: files that are no images.
        row_ids: of the images, relative to the root.
        asked: columns, and how cells are read.
    """
    import pyarrow as pa

    paths = [name for name in others if PurePosixPath(name).suffix.lower() in SUFFIXES]
    small = [name for name in paths if (root / name).stat().st_size <= MAX_BYTES]
    if not small:
        return None
    notes: list[str] = []
    found: dict[str, NamedRows] = {}
    for name in sorted(small, key=lambda name: (name.count("/"), name))[:MAX_TABLES]:
        folder = PurePosixPath(name).parent.as_posix()
        prefix = "" if folder == "." else f"{folder}/"
        inside = np.char.startswith(row_ids, prefix) if prefix else np.ones(len(row_ids), bool)
        rows = np.flatnonzero(inside)
        try:
            columns, names, said = read_columns(root / name)
            ids = [row_id[len(prefix) :] for row_id in row_ids[rows].tolist()]
            match = named_rows(columns, names, ids, name, asked) if ids else None
        except ValueError as error:
            notes.append(doubt(f"{name} is not used: {error}", about=name, setting="labels"))
            continue
        if match is None:
            text = f"{name} names no image of the folder and is not used."
            notes.append(left_out(text, about=name, count=1, setting="labels"))
            continue
        place = np.full(len(row_ids), -1, np.int64)
        place[rows] = match.place
        found[name] = NamedRows(match.columns, match.names, place, (*said, *match.notes))
    if not found:
        return FolderTables(frozenset(), {}, {}, tuple(notes))
    tables = {name: pa.table(dict(rows.columns)) for name, rows in found.items()}
    try:
        columns, names, said = united(root, tables, {n: rows.names for n, rows in found.items()})
    except ValueError as error:
        text = f"{error} None of its tables is used; choose one with --labels."
        return FolderTables(frozenset(), {}, {}, (*notes, doubt(text, setting="labels")))
    place = np.full(len(row_ids), -1, np.int64)
    start = 0
    for name, match in found.items():
        notes += match.notes
        fresh = (match.place >= 0) & (place < 0)
        place[fresh] = match.place[fresh] + start
        start += tables[name].num_rows
    indices = pa.array(place, mask=place < 0)
    spread = {name: column.take(indices) for name, column in columns.items()}
    count = int((place < 0).sum())
    text = f"Targets are read from {', '.join(found)}"
    doubtful = count > len(place) // 10
    notes.append(
        guess(
            text, "labels", "", [NONE],
            about=next(iter(found)), count=len(place) - count, doubtful=doubtful,
        )
    )  # fmt: skip
    return FolderTables(frozenset(found), spread, names, (*notes, *said))
