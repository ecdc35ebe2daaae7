"""A table of targets joined to any images by row id."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from selfsight.data.imageset import ImageSet
from selfsight.data.notes import guess
from selfsight.data.reading import FOLDER, NONE, Asked
from selfsight.data.sources.steps.alike_names import alike_doubt
from selfsight.data.sources.steps.columns import (
    SPLIT,
    find_column,
    groups_of,
    splits_of,
    with_own_splits,
)
from selfsight.data.sources.steps.group_columns import groups_and_targets
from selfsight.data.sources.steps.labels_by_name import named_rows
from selfsight.data.sources.steps.listing import Listing
from selfsight.data.sources.steps.matching import key_columns
from selfsight.data.sources.steps.tables import read_columns
from selfsight.data.sources.steps.targets import NO_TARGET_COLUMNS, check_asked

Set = TypeVar("Set", ImageSet, Listing)


def join_labels(images: Set, file: str | Path, asked: Asked | None = None) -> Set:
    """The images with the targets of a table (CSV, TSV, JSON lines, Parquet).

    One column holds row ids: the path inside the source, ``file#row`` or ``#row``; see
    `selfsight.data.sources.steps.matching` for how names may differ. Images that the table does
    not name, and empty cells, are unknown; a null list of labels is unknown, an empty one means
    none of them. Several rows for an image are joined. A group column is taken where the images
    have no groups or it was asked for, a split column gives the splits of the rows it names; a
    table may hold these alone.

    Args:
        images: of any source.
        file: the table; its targets replace those of the same name.
        asked: target, group and split as columns of the table, and how cells are read.

    Raises:
        ValueError: the table cannot be read, names no image, or has no target, group or split.
    """
    joined: Set = _joined(images, Path(file), asked or Asked())
    return joined


def _joined(result: Any, path: Path, asked: Asked) -> Any:
    if asked.split == FOLDER:  # the images are in their splits already
        asked = replace(asked, split=NONE)
    columns, names, notes = read_columns(path)
    rows = named_rows(columns, names, result.row_ids.tolist(), path.name, asked)
    if rows is None:
        raise ValueError(_no_match(path, columns, str(result.row_ids[0])))
    columns, place = dict(rows.columns), rows.place
    found = np.flatnonzero(place >= 0)
    result = replace(result, notes=(*result.notes, *notes, *rows.notes))
    split = find_column(columns, asked.split, SPLIT, "split")
    rest = {name: values for name, values in columns.items() if name != split}
    check_asked(path.name, asked.target, asked.options, {**columns, **result.targets})
    keeps = result.groups is not None and asked.group is None
    if keeps:  # the column of the images' own groups is no target
        asked = replace(asked, group=result.group_name if result.group_name in columns else NONE)
    own = bool(result.targets)
    count = max([int(place.max()) + 1, *map(len, columns.values())])
    of_rows: list[str | None] = [None] * count
    for image, row in zip(result.row_ids.tolist(), place.tolist(), strict=True):
        if row >= 0:
            of_rows[row] = image
    column, targets, said = groups_and_targets(
        rest, columns, names, asked, labelled=own, images=of_rows
    )
    grouped = column is not None and column != asked.target and not keeps
    if column is not None and grouped:
        groups, group_names = groups_of(columns[column], column, of_rows)
        said += alike_doubt(group_names, f"Groups of {column}", "groups", column, "group")
        new = np.full(len(result.row_ids), -1, np.int64)
        new[found] = groups[place[found]]
        result = replace(result, groups=new, group_name=column, group_names=group_names)
    divided = split is not None and split != asked.target
    if split is not None and divided:
        if asked.split is None:
            text = f"Column {split} is taken as the split"
            said.append(guess(text, "split_column", split, [NONE], about=split))
        splits = result.splits.astype("<U10")
        told, more = splits_of(columns[split], split, of_rows)
        told = told[place[found]]
        splits[found], empty = with_own_splits(
            told, splits[found], told == "", split, result.row_ids[found].tolist()
        )
        said += [*more, *empty]
        result = replace(result, splits=splits)
    if not (targets or grouped or divided):
        why = next((str(note) for note in said if note.startswith(NO_TARGET_COLUMNS)), "")
        raise ValueError(f"{path}: beside the row ids it has no column of targets. {why}".rstrip())
    spread = {}
    for name, given in targets.items():
        shape = (len(result.row_ids), *given.values.shape[1:])
        values = np.full(shape, -1 if given.values.ndim == 1 else np.nan, given.values.dtype)
        values[found] = given.values[place[found]]
        spread[name] = replace(given, values=values)
    return replace(result, targets={**result.targets, **spread}, notes=(*result.notes, *said))


def _no_match(path: Path, columns: Any, row_id: str) -> str:
    keys = key_columns(columns)
    if not keys:
        return f"{path}: it has no text column with row ids, such as {row_id!r}."
    column, values = next(iter(keys.items()))
    given = next((value for value in values if value is not None), None)
    return (
        f"{path}: no column names any image; row ids look like {row_id!r}, column {column} "
        f"holds {given!r}."
    )
