"""A table of targets joined to any images by row id."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.data.sources.columns import (
    GROUP,
    SPLIT,
    find_column,
    groups_of,
    splits_of,
    targets_of,
)
from selfsight.data.sources.listing import Listing
from selfsight.data.sources.table import read_columns

ROW_ID = re.compile(r"^(row_?id|id|path|file|file_?name|file_?path|image|image_?(id|path))$", re.I)

Set = TypeVar("Set", ImageSet, Listing)


def join_labels(
    images: Set,
    file: str | Path,
    target: str | None = None,
    group: str | None = None,
    split: str | None = None,
) -> Set:
    """The images with the targets of a table (CSV, TSV, JSON lines, Parquet).

    One column holds row ids: the path inside the source, or ``file#row``. Images that the table
    does not name, and empty cells, are unknown; a null list of labels is unknown, an empty one
    means none of them. A group column is taken where the images have no groups or it was asked
    for, a split column gives the splits of the rows it names.

    Args:
        images: of any source.
        file: the table; its targets replace those of the same name.
        target: a column to take as a target whatever it looks like.
        group, split: columns of the table; None: guessed by their names.

    Raises:
        ValueError: the table cannot be read, names no image or one image twice, or has no target.
    """
    joined: Set = _joined(images, Path(file), target, group, split)
    return joined


def _joined(
    result: Any, path: Path, target: str | None, group: str | None, split: str | None
) -> Any:
    columns, names = read_columns(path)
    key, place, how = _matched(columns, result.row_ids, path)
    columns.pop(key)
    found = np.flatnonzero(place >= 0)
    result = replace(result, notes=(*result.notes, *_said(path, key, place, how)))
    column = find_column(columns, group, GROUP, "group")
    if column is not None and column != target:
        groups = groups_of(columns.pop(column))
        if result.groups is None or group is not None:
            new = np.full(len(result.row_ids), -1, np.int64)
            new[found] = groups[place[found]]
            result = replace(result, groups=new, group_name=column)
    column = find_column(columns, split, SPLIT, "split")
    if column is not None and column != target:
        splits = result.splits.astype("<U10")
        splits[found] = splits_of(columns.pop(column), column)[place[found]]
        result = replace(result, splits=splits)
    targets, notes = targets_of(columns, names, target)
    if not targets:
        raise ValueError(f"{path}: beside the row ids in {key} it has no column of targets.")
    spread = {}
    for name, given in targets.items():
        shape = (len(result.row_ids), *given.values.shape[1:])
        values = np.full(shape, -1 if given.values.ndim == 1 else np.nan, given.values.dtype)
        values[found] = given.values[place[found]]
        spread[name] = replace(given, values=values)
    return replace(result, targets={**result.targets, **spread}, notes=(*result.notes, *notes))


def _matched(
    columns: dict[str, Any], row_ids: NDArray[np.str_], file: Path
) -> tuple[str, NDArray[np.int64], str]:
    """The column of row ids, the row of the table for each image (-1: none), and how they match."""
    import pyarrow as pa

    texts = [n for n, c in columns.items() if pa.types.is_string(c.type)]
    texts.sort(key=lambda name: not ROW_ID.search(name))
    ways: dict[str, Callable[[str], str]] = {
        "": str,
        " without the suffix": _stem,
        " by the name of the file alone": _base,
    }
    for how, shortened in ways.items():
        wanted = [shortened(text) for text in row_ids.tolist()]
        if how and len(set(wanted)) < len(wanted):
            continue
        for name in texts:
            keys = [None if v is None else shortened(v) for v in columns[name].to_pylist()]
            if not set(wanted).isdisjoint(keys):
                return name, _places(wanted, keys, file), how
    if not texts:
        raise ValueError(f"{file}: it has no text column with row ids, such as {row_ids[0]!r}.")
    given = columns[texts[0]][0].as_py()
    raise ValueError(
        f"{file}: no column names any image; row ids look like {row_ids[0]!r}, column {texts[0]} "
        f"holds {given!r}."
    )


def _places(wanted: list[str], keys: Sequence[str | None], file: Path) -> NDArray[np.int64]:
    rows: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key is not None and rows.setdefault(key, row) != row:
            raise ValueError(
                f"{file}: {key!r} is named twice (rows {rows[key] + 1} and {row + 1})."
            )
    return np.array([rows.get(key, -1) for key in wanted], np.int64)


def _stem(text: str) -> str:
    head, _, tail = text.rpartition(".")
    return head if head and "/" not in tail and "#" not in tail else text


def _base(text: str) -> str:
    return text.rpartition("/")[2]


def _said(file: Path, key: str, place: NDArray[np.int64], how: str) -> list[str]:
    known = int((place >= 0).sum())
    return [f"{file.name} names {known:,} of {len(place):,} images in column {key}{how}."]
