"""Leaks: identical images and shared groups across the splits; what a training checks first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.duplicates import Looked, look, sides_of
from selfsight.data.imageset import SPLITS, ImageSet
from selfsight.records import Copies, Crossing


def leaks(images: ImageSet) -> tuple[Crossing, ...]:
    """Identical images and shared groups across pool, validation and test.

    Blank images are left out: they hold nothing that could leak.
    """
    return tuple(crossings_of(images, copies_of(images, look(images))))


def without_leaks(images: ImageSet, found: tuple[Crossing, ...]) -> ImageSet:
    """The images without the copies that leak: the train side gives way to validation and test.

    Args:
        images: the audited set.
        found: from `leaks` or `Audit.crossings`.
    """
    dropped = np.zeros(len(images), bool)
    side = sides_of(images)
    for crossing in found:
        rows = np.array(crossing.rows)
        dropped[rows[side[rows] < side[rows].max()]] = True
    if not dropped.any():
        return images
    counts = ", ".join(
        f"{int((dropped & (images.splits == split)).sum()):,} of {split}"
        for split in SPLITS
        if (dropped & (images.splits == split)).any()
    )
    kept = images.take(np.flatnonzero(~dropped).astype(np.int64))
    return kept.with_notes(f"Images that are in another split too were dropped: {counts}.")


def copies_of(images: ImageSet, looked: Looked) -> list[Copies]:
    """Groups of images of identical pixels."""
    codes = looked.codes
    rows = np.flatnonzero(np.bincount(codes)[codes] > 1)
    rows = rows[np.argsort(codes[rows], kind="stable")]
    groups = np.split(rows, np.flatnonzero(np.diff(codes[rows])) + 1) if len(rows) else []
    return [
        Copies(
            tuple(group.tolist()),
            tuple(images.splits[group].tolist()),
            different_targets(images, group),
        )
        for group in groups
    ]


def different_targets(images: ImageSet, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """Targets that are known for some of the rows with more than one value."""
    found = []
    for name, target in images.targets.items():
        values = target.values[rows][target.known[rows]]
        if len(values) > 1:
            spread = np.ptp(values, axis=0) if values.ndim == 1 else _spread(values)
            if (spread > 0).any():
                found.append(name)
    return tuple(found)


def _spread(values: NDArray[Any]) -> NDArray[Any]:
    """Largest minus smallest known value of each column."""
    low, high = (
        np.where(np.isnan(values), np.inf, values),
        np.where(np.isnan(values), -np.inf, values),
    )
    return np.asarray(high.max(axis=0) - low.min(axis=0))


def crossings_of(images: ImageSet, copies: list[Copies]) -> list[Crossing]:
    """Copies and groups that stand on two sides of the splits."""
    found: list[Crossing] = []
    for group in copies:
        if group.across:
            found.append(_crossing(images, "pixels", np.array(group.rows), "The same image"))
    if images.groups is not None:
        both = np.stack([images.groups, sides_of(images)])
        pairs = np.unique(both[:, images.groups >= 0], axis=1)
        numbers, counts = np.unique(pairs[0], return_counts=True)
        for number in numbers[counts > 1]:
            rows = np.flatnonzero(images.groups == number)
            found.append(_crossing(images, "group", rows, f"A {images.group_name or 'group'}"))
    return found


def _crossing(images: ImageSet, kind: str, rows: NDArray[np.int64], what: str) -> Crossing:
    splits = [split for split in SPLITS if split in images.splits[rows]]
    examples = [str(images.row_ids[rows[images.splits[rows] == split][0]]) for split in splits]
    named = ", ".join(f"{split} ({name})" for split, name in zip(splits, examples, strict=True))
    return Crossing(kind, tuple(splits), tuple(rows.tolist()), f"{what} is in {named}.")
