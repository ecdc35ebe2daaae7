"""What is wrong with an image set before anyone trains on it: leaks, duplicates, blanks.

`leaks` is quick and is what a training checks first; `audit` looks at everything.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.copies import SIDES, Looked, look, sides_of
from selfsight.data.imageset import SPLITS, ImageSet, Target

MAX_PAIRS = 1000
BINS = 20


@dataclass(frozen=True)
class Crossing:
    """One thing that stands on two sides of the splits.

    Attributes:
        kind: ``pixels`` (the same image) or ``group``.
        splits: where it stands.
        rows: its images.
        what: one sentence that names them.
    """

    kind: str
    splits: tuple[str, ...]
    rows: tuple[int, ...]
    what: str


@dataclass(frozen=True)
class Copies:
    """Images of identical pixels.

    Attributes:
        rows: two or more.
        splits: of the rows.
        different: names of the targets that are known and differ between them.
    """

    rows: tuple[int, ...]
    splits: tuple[str, ...]
    different: tuple[str, ...]


@dataclass(frozen=True)
class NearPair:
    """Two images that look the same; ``similarity`` is the correlation at the best shift."""

    rows: tuple[int, int]
    splits: tuple[str, str]
    similarity: float
    different: tuple[str, ...]

    @property
    def across(self) -> bool:
        return SIDES[self.splits[0]] != SIDES[self.splits[1]]


@dataclass(frozen=True)
class Audit:
    """Everything that was found; row numbers are those of the image set.

    Attributes:
        name, images, height, width, channels, dtype: of the set.
        values: smallest and largest pixel value.
        splits: images of each split.
        distributions: for each target: its kind, its names, and for each split the known and
            unknown images and the counts (``edges`` are the bins of numbers).
        groups: name, number and largest size of the groups, or None.
        blank: rows of images without any content.
        copies: images of identical pixels, blanks apart.
        near: near-duplicates, most similar first; at most 1,000, those across splits first.
        near_count: how many there are.
        near_across: how many of them stand on two sides of the splits.
        crossings: what must not be.
        notes: of the image set and of the audit.
        seconds: that it took.
    """

    name: str
    images: int
    height: int
    width: int
    channels: int
    dtype: str
    values: tuple[float, float]
    splits: dict[str, int]
    distributions: dict[str, dict[str, Any]]
    groups: dict[str, Any] | None
    blank: tuple[int, ...]
    copies: tuple[Copies, ...]
    near: tuple[NearPair, ...]
    near_count: int
    near_across: int
    crossings: tuple[Crossing, ...]
    row_ids: dict[int, str]
    notes: tuple[str, ...]
    seconds: float

    @property
    def different_labels(self) -> tuple[Copies, ...]:
        """Identical images whose known targets differ."""
        return tuple(copies for copies in self.copies if copies.different)

    def plain(self) -> dict[str, Any]:
        """Dictionaries, lists, numbers and text; ``row_ids`` names the rows that are mentioned."""
        found = asdict(self)
        found["row_ids"] = {str(row): name for row, name in self.row_ids.items()}
        return found

    def to_json(self) -> str:
        return json.dumps(self.plain(), indent=1, ensure_ascii=False) + "\n"


def audit(images: ImageSet, *, near: bool = True) -> Audit:
    """Looks at every image, target and group.

    Args:
        images: with complete splits.
        near: whether to look for near-duplicates too (two minutes for 60,000 images of 32 px).
    """
    from selfsight.data.near import near_duplicates

    start = time.perf_counter()
    looked = look(images)
    copies = _copies(images, looked)
    blank = np.flatnonzero(looked.blank)
    notes = list(images.notes)
    pairs: list[NearPair] = []
    if near:
        first = np.unique(looked.codes, return_index=True)[1]  # one of each image
        rows = np.sort(first[~looked.blank[first]])
        found = near_duplicates(images, rows)
        notes += found.notes
        pairs = [
            NearPair(
                (int(a), int(b)),
                (str(images.splits[a]), str(images.splits[b])),
                float(similarity),
                _different(images, np.array([a, b])),
            )
            for (a, b), similarity in zip(found.rows, found.similarity, strict=True)
        ]
    shown = sorted(pairs, key=lambda pair: (not pair.across, -pair.similarity))[:MAX_PAIRS]
    crossings = _crossings(images, copies)
    named = {row for group in copies for row in group.rows} | set(blank.tolist())
    named |= {row for pair in shown for row in pair.rows}
    return Audit(
        name=images.name,
        images=len(images),
        height=images.height,
        width=images.width,
        channels=images.channels,
        dtype=images.pixels.dtype.name,
        values=looked.values,
        splits={split: len(images.rows(split)) for split in SPLITS},
        distributions={n: distribution(images, target) for n, target in images.targets.items()},
        groups=_groups(images),
        blank=tuple(blank.tolist()),
        copies=tuple(copies),
        near=tuple(shown),
        near_count=len(pairs),
        near_across=sum(pair.across for pair in pairs),
        crossings=tuple(crossings),
        row_ids={row: str(images.row_ids[row]) for row in sorted(named)},
        notes=tuple(notes),
        seconds=time.perf_counter() - start,
    )


def leaks(images: ImageSet) -> tuple[Crossing, ...]:
    """Identical images and shared groups across pool, validation and test.

    Blank images are left out: they hold nothing that could leak.
    """
    return tuple(_crossings(images, _copies(images, look(images))))


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


def distribution(images: ImageSet, target: Target) -> dict[str, Any]:
    """Known, unknown and the counts of a target in each split that has images.

    A class counts its images, a label the images that have it, a number the images of each of 20
    bins (``edges``, of each entry of a vector), an identity how many there are.
    """
    found: dict[str, Any] = {"kind": target.kind, "names": list(target.names), "splits": {}}
    edges: list[NDArray[np.float64]] = []
    if target.kind == "identity":
        found["names"] = []
    if target.kind == "number":
        for numbers in target.values.T:
            known = numbers[~np.isnan(numbers)]
            edges.append(np.histogram_bin_edges(known.astype(np.float64), BINS))
        found["edges"] = [edge.tolist() for edge in edges]
    for split in SPLITS:
        rows = images.rows(split)
        if not len(rows):
            continue
        values, known_rows = target.values[rows], target.known[rows]
        counts: Any
        if target.kind == "class":
            counts = np.bincount(values[known_rows], minlength=len(target.names)).tolist()
        elif target.kind == "labels":
            counts = np.nansum(values, axis=0).astype(int).tolist()
        elif target.kind == "identity":
            counts = len(np.unique(values[known_rows]))
        else:
            counts = [
                np.histogram(numbers[~np.isnan(numbers)], edge)[0].tolist()
                for numbers, edge in zip(values.T, edges, strict=True)
            ]
        known = int(known_rows.sum())
        found["splits"][split] = {
            "known": known,
            "unknown": len(rows) - known,
            "counts": counts,
        }
    return found


def _copies(images: ImageSet, looked: Looked) -> list[Copies]:
    codes = looked.codes
    rows = np.flatnonzero(np.bincount(codes)[codes] > 1)
    rows = rows[np.argsort(codes[rows], kind="stable")]
    groups = np.split(rows, np.flatnonzero(np.diff(codes[rows])) + 1) if len(rows) else []
    return [
        Copies(
            tuple(group.tolist()),
            tuple(images.splits[group].tolist()),
            _different(images, group),
        )
        for group in groups
    ]


def _different(images: ImageSet, rows: NDArray[np.int64]) -> tuple[str, ...]:
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


def _crossings(images: ImageSet, copies: list[Copies]) -> list[Crossing]:
    found: list[Crossing] = []
    for group in copies:
        if len({SIDES[split] for split in group.splits}) > 1:
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


def _groups(images: ImageSet) -> dict[str, Any] | None:
    if images.groups is None:
        return None
    sizes = np.unique(images.groups[images.groups >= 0], return_counts=True)[1]
    return {
        "name": images.group_name,
        "count": len(sizes),
        "largest": int(sizes.max(initial=0)),
        "alone": int((images.groups < 0).sum()),
    }
