"""Sides that were recorded: of a run's own images, or in a table that the user names.

An image that was test in one round is test in every later one. A training records the side of each
image; a verb on the run's own images takes those sides as they are (`recorded`). Where images are
opened again for a later round, `selfsight.data.rounds` does the same for images that are known, and
places new ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.imageset import ImageSet, Scale
from selfsight.data.notes import Note, guess, left_out, some

SIDE = {"train": "train", "unlabelled": "train", "validation": "validation", "test": "test"}
"""Side of each split; train and unlabelled are one side."""
Digests = NDArray[np.uint64]


@dataclass(frozen=True)
class Sides:
    """Splits (and groups) that were recorded when images were first opened.

    Attributes:
        owner: how sentences call what recorded them.
        row_ids: ``(N,)``.
        splits: ``(N,)``.
        groups: ``(N,)`` int64, -1 in none, or None.
        group_name: their column.
        group_names: of the groups, by number; empty: their numbers are their names.
        fingerprint: of these images; `recorded` compares it; None: not known.
        digests: ``(N,)`` uint64 of the pixels, 0 where the image is blank; None: not known.
        scale: the form that the digests are of.
        empty: row ids of a table whose split is empty.
        notes: how words of a table are read.
    """

    owner: str
    row_ids: NDArray[np.str_]
    splits: NDArray[np.str_]
    groups: NDArray[np.int64] | None = None
    group_name: str | None = None
    group_names: tuple[str, ...] = ()
    fingerprint: str | None = None
    digests: Digests | None = None
    scale: Scale | None = None
    empty: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def of_groups(self) -> dict[str, str]:
        """The side of each group, by name."""
        named = zip(group_of(self), self.splits.tolist(), strict=True)
        return {name: SIDE[split] for name, split in named if name is not None}


def group_of(images: Any) -> list[str | None]:
    """The name of the group of each image of a set, a listing or a record; None: in no group."""
    if images.groups is None:
        return [None] * len(images.row_ids)
    names = images.group_names
    return [
        None if code < 0 else names[code] if code < len(names) else str(code)
        for code in images.groups.tolist()
    ]


def recorded(images: ImageSet, sides: Sides, source: str) -> ImageSet:
    """The images that have a recorded split, with it.

    Args:
        images: opened without a cut.
        sides: the splits, by row id.
        source: how the sentence calls the images.

    Raises:
        ValueError: the images are not those that the splits were recorded of.
    """
    place = {row_id: i for i, row_id in enumerate(sides.row_ids.tolist())}
    found = np.array([place.get(row_id, -1) for row_id in images.row_ids.tolist()], np.int64)
    notes = []
    if (found < 0).any():
        images, strangers = images.take(np.flatnonzero(found >= 0)), int((found < 0).sum())
        found = found[found >= 0]
        notes = [
            f"{counted(strangers, 'image has', 'images have')} no split in {sides.owner} and "
            + ("is left out." if strangers == 1 else "are left out.")
        ]
    if sides.fingerprint not in (None, images.fingerprint()):
        raise ValueError(
            f"{source}: its images are not those that {sides.owner} was trained on; restore them, "
            "or name the data to evaluate on."
        )
    images = images.changed(splits=sides.splits[found]).with_notes(*notes)
    if sides.groups is None:
        return images
    return images.changed(
        groups=sides.groups[found], group_name=sides.group_name, group_names=sides.group_names
    )


def read_sides(path: str) -> Sides:
    """Splits of a table (CSV, TSV, JSON lines, Parquet): row ids, splits, and groups where named.

    ``splits.parquet`` of a run is such a table. Rows with an empty split say nothing.

    Raises:
        ValueError: the table cannot be read, lacks a column, or names an image on two sides.
    """
    from selfsight.data.sources.steps.alike_names import alike_doubt
    from selfsight.data.sources.steps.columns import SPLIT, find_column, flat, groups_of, splits_of
    from selfsight.data.sources.steps.tables import read_columns

    columns, _, _ = read_columns(Path(path))
    split = find_column(columns, None, SPLIT, "split")
    if "row_id" not in columns or split is None:
        raise ValueError(
            f"splits {path}: it needs the columns row_id and split; it has {', '.join(columns)}."
        )
    cells = flat(columns["row_id"]).to_pylist()
    ids = [f"row {i + 1}" if cell is None else str(cell) for i, cell in enumerate(cells)]
    group = next((name for name in ("group_name", "group") if name in columns), None)
    try:
        splits, notes = splits_of(columns[split], split, ids)
        groups, names = (None, ()) if group is None else groups_of(columns[group], group, ids)
    except ValueError as error:
        raise ValueError(f"splits {path}: {error}") from None
    first: dict[str, int] = {}
    empty: list[str] = []
    for row, row_id in enumerate(ids):
        if not splits[row]:
            empty.append(row_id)
            continue
        was = first.setdefault(row_id, row)
        if SIDE[splits[was]] != SIDE[splits[row]]:
            raise ValueError(
                f"splits {path}: {row_id!r} is named twice (rows {was + 1} and {row + 1}), as "
                f"{splits[was]} and as {splits[row]}; keep one of these rows."
            )
        if groups is not None and groups[was] != groups[row]:
            raise ValueError(
                f"splits {path}: {row_id!r} is named twice (rows {was + 1} and {row + 1}) with "
                f"different {group}; keep one of these rows."
            )
    if not first:
        raise ValueError(f"splits {path}: its column {split} is empty in every row.")
    kept = np.array(list(first.values()), np.int64)
    taken = None if groups is None else groups[kept]
    said = [guess(str(note).split(" (--")[0].rstrip("."), "splits", path, about=path)
            for note in notes]  # fmt: skip
    said += alike_doubt(names, f"Groups in {path}", "groups", path, "splits")
    return Sides(
        path,
        np.array(list(first), np.str_),
        splits[kept],
        taken,
        "group",
        names,
        empty=tuple(row_id for row_id in dict.fromkeys(empty) if row_id not in first),
        notes=tuple(said),
    )


def unused_sides(sides: Sides, row_ids: NDArray[np.str_]) -> list[Note]:
    """What a table of splits says without effect on some images, and how its words are read.

    Args:
        sides: from `read_sides`.
        row_ids: of the images.
    """
    path, here, notes = sides.owner, set(row_ids.tolist()), [*sides.notes]
    strange = [row_id for row_id in (*sides.row_ids.tolist(), *sides.empty) if row_id not in here]
    empty = [row_id for row_id in sides.empty if row_id in here]
    if empty:
        text = (
            f"{len(empty):,} images have an empty split in {path} and are placed as images that it "
            f"does not name: {some(empty)}."
        )
        notes.append(left_out(text, about=path, count=len(empty), names=empty, setting="splits",
                              doubtful=True))  # fmt: skip
    if strange:
        text = f"{len(strange):,} rows of {path} name no image and are not used: {some(strange)}."
        notes.append(left_out(text, about=path, count=len(strange), names=strange,
                              setting="splits"))  # fmt: skip
    return notes
