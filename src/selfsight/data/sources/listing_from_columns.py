"""Encoded images with columns beside them become a `Listing`: targets, groups and splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.sources.columns import (
    GROUP,
    SPLIT,
    find_column,
    groups_of,
    identities,
    splits_of,
    targets_of,
)
from selfsight.data.sources.listing import Files, Listing
from selfsight.settings import unknown

SPLIT_LIKE = re.compile(r"(^|_)split$", re.I)


@dataclass(frozen=True)
class Asked:
    """Columns that the user named; None: guessed by their names, and said."""

    target: str | None = None
    group: str | None = None
    split: str | None = None


def described(
    files: Files,
    columns: Mapping[str, Any],
    names: Mapping[str, Sequence[str]],
    splits: NDArray[np.str_] | None,
    asked: Asked,
    notes: tuple[str, ...] = (),
) -> Listing:
    """A listing of the files with what the columns say of them.

    Args:
        files: the images.
        columns: pyarrow columns by name, without the images.
        names: class or label names of integer columns.
        splits: where the names of files or folders give them.
        asked: columns that the user named.
        notes: what has been said.

    Raises:
        ValueError: a column that was asked for is not there or does not fit.
    """
    given, said = _given_splits(len(files.row_ids), columns, splits, asked.split)
    group = find_column(columns, asked.group, GROUP, "group")
    if group is not None and asked.group is None:
        said.append(f"Column {group} is taken as the group.")
    target = asked.target
    rest = {
        name: column
        for name, column in columns.items()
        if name == target or (name not in (group, asked.split) and not SPLIT_LIKE.search(name))
    }
    if target is not None and not set(map(str.strip, target.split(","))) <= set(columns):
        raise unknown(f"target in {files.name} named", target, rest)
    targets, more = targets_of(rest, names, target)
    said += more
    if target is None and len(targets) == 1:
        said.append(f"Column {next(iter(targets))} is the only target and is taken.")
    targets, more = identities(targets, given)
    return Listing(
        name=files.name,
        row_ids=files.row_ids,
        splits=given,
        load=files.load,
        targets=targets,
        groups=None if group is None else groups_of(columns[group]),
        group_name=group,
        notes=(*notes, *said, *more),
        files=files,
    )


def _given_splits(
    count: int, columns: Mapping[str, Any], splits: NDArray[np.str_] | None, asked: str | None
) -> tuple[NDArray[np.str_], list[str]]:
    name = find_column(columns, asked, SPLIT, "split") if asked or splits is None else None
    if name is not None:
        said = [] if asked else [f"Column {name} is taken as the split."]
        return splits_of(columns[name], name), said
    return np.full(count, "train", dtype="<U10") if splits is None else splits, []
