"""Leaks: identical images and shared groups across the splits, and images that a run has seen.

`selfsight.data.request` looks for them whenever images are opened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.duplicates import Looked, look, sides_of
from selfsight.data.imageset import SPLITS, ImageSet, Scale
from selfsight.data.tile_ids import other_tiles
from selfsight.records.audits import Copies, Crossing

SHOWN = 3
"""Leaks that a sentence names; it counts the others."""
FLAGS = "Give --drop-leaks to leave {} out, or --allow-leaks to go on and mark every result."


@dataclass(frozen=True)
class ReadLabels:
    """Labels that a training, or the choice between trainings, has read.

    Attributes:
        target: what they are labels of.
        row_ids: ``(M,)`` of their images.
        digests: ``(M,)`` uint64 of the pixels, 0 where the image is blank.
    """

    target: str
    row_ids: NDArray[np.str_]
    digests: NDArray[np.uint64]


@dataclass(frozen=True)
class Seen:
    """Images that some weights were trained on, as digests of their pixels.

    Attributes:
        owner: how sentences call the run.
        scale: the form that the digests are of.
        digests: ``(N,)`` uint64, of every image of the training, blanks left out.
        labelled: ``(M,)`` uint64, those among them whose label the training read.
        labels: these labels, and those that the choice of the training read.
        row_ids: ``(L,)`` of the images of the training.
    """

    owner: str
    scale: Scale
    digests: NDArray[np.uint64]
    labelled: NDArray[np.uint64]
    labels: tuple[ReadLabels, ...] = ()
    row_ids: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, "<U1"))


def checked(images: ImageSet, drop: bool, allow: bool, *, decoded: bool = True) -> ImageSet:
    """The images without what stands on two sides of their splits, or with it, where allowed.

    Args:
        images: with complete splits.
        drop: leave out the train copies.
        allow: go on; ``leaks`` of the set then says each.
        decoded: False looks at groups alone, for images that are not decoded yet.

    Raises:
        ValueError: identical images or one group on two sides, and neither was asked for.
    """
    crossings = leaks(images, pixels=decoded)
    if not crossings:
        return images
    if drop:
        return without_leaks(images, crossings)
    sentences = tuple(crossing.what for crossing in crossings)
    if allow:
        return images.changed(leaks=(*images.leaks, *sentences))
    more = f" (and {len(sentences) - SHOWN:,} more)" if len(sentences) > SHOWN else ""
    raise ValueError(
        f"{images.name} leaks across its splits: {' '.join(sentences[:SHOWN])}{more} "
        + FLAGS.format("the train copies")
    )


def unseen(
    images: ImageSet, seen: Seen, digests: NDArray[np.uint64], drop: bool, allow: bool
) -> ImageSet:
    """The images without those among the scored rows that weights were trained on, or with them.

    What was trained on with its label is a leak, what was trained on without it a caution.

    Args:
        images: with complete splits.
        seen: what the weights were trained on.
        digests: of the pixels of `scored_rows`, in the form of ``seen``.
        drop: leave them out.
        allow: go on with those whose label was read; ``leaks`` of the set then says so.

    Raises:
        ValueError: a label was read and neither was asked for, or no scored image is left.
    """
    rows = scored_rows(images)
    same = np.isin(digests, seen.digests) & ~images.content.blank[rows]
    read = np.isin(digests, seen.labelled) & same
    ids = images.row_ids[rows]
    named = other_tiles(ids, seen.row_ids) >= 0
    same |= named
    for labels in seen.labels:
        read |= other_tiles(ids, labels.row_ids) >= 0
    cut = ", known by their names, since they are cut into other tiles" if named.any() else ""
    if not same.any():
        return images
    split, count = str(images.splits[rows[0]]), int(same.sum())
    if drop and count == len(rows):
        raise ValueError(
            f"{images.name}: {seen.owner} was trained on every {split} image; leave --drop-leaks "
            "out, or name other images."
        )
    if drop:
        kept = np.setdiff1d(np.arange(len(images)), rows[same])
        note = (
            f"{counted(count, f'{split} image')} that {seen.owner} was trained on "
            f"{'was' if count == 1 else 'were'} dropped."
        )
        return images.take(kept).with_notes(note)
    if read.any():
        names = ", ".join(images.row_ids[rows[read][:SHOWN]].tolist())
        more = f" and {int(read.sum()) - SHOWN:,} more" if read.sum() > SHOWN else ""
        leak = (
            f"{seen.owner} was trained on {int(read.sum()):,} of the {len(rows):,} {split} images "
            f"with their labels ({names}{more}{cut})."
        )
        if not allow:
            raise ValueError(f"{images.name}: {leak} {FLAGS.format('them')}")
        images = images.changed(leaks=(*images.leaks, leak))
    if not (same & ~read).any():
        return images
    caution = (
        f"{seen.owner} was trained on {int((same & ~read).sum()):,} of the {len(rows):,} {split} "
        f"images of {images.name}, without their labels{cut}: results on them say less about new "
        "images (--drop-leaks leaves them out)."
    )
    return images.changed(cautions=(*images.cautions, caution))


def apart(
    pool: ImageSet, images: ImageSet, drop: bool, allow: bool
) -> tuple[NDArray[np.int64], int, tuple[str, ...]]:
    """Rows of another pool that are no validation or test image of ``images``.

    Args:
        pool: further images to pretrain on, of the same form.
        images: the set that is evaluated.
        drop: leave such rows out.
        allow: keep them.

    Returns:
        The rows, how many were left out, and a sentence where such rows were allowed.

    Raises:
        ValueError: there are some, and neither was asked for.
    """
    rows = pool.pool
    held = images.content.digests[images.rows("validation", "test")]
    same = np.isin(pool.content.digests[rows], held) & ~pool.content.blank[rows]
    if not same.any():
        return rows, 0, ()
    if drop:
        return rows[~same], int(same.sum()), ()
    leak = (
        f"pool {pool.name}: {int(same.sum()):,} of its images are validation or test images of "
        f"{images.name}."
    )
    if allow:
        return rows, 0, (leak,)
    raise ValueError(f"{leak} {FLAGS.format('them')}")


def leaks(images: ImageSet, *, pixels: bool = True) -> tuple[Crossing, ...]:
    """Identical images and shared groups across pool, validation and test.

    Blank images are left out: they hold nothing that could leak.

    Args:
        images: with complete splits.
        pixels: False looks at groups alone, for images that are not decoded yet.
    """
    if len(np.unique(sides_of(images))) < 2:
        return ()
    return tuple(crossings_of(images, copies_of(images, look(images)) if pixels else []))


def scored_rows(images: ImageSet) -> NDArray[np.int64]:
    """Rows that results are read on: test, or validation where there is no test split."""
    test = images.rows("test")
    return test if len(test) else images.rows("validation")


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
