"""What is wrong with an image set before anyone trains on it: leaks, duplicates, blanks.

`selfsight.data.leaks` is quick and is what a training checks first; `audit` looks at everything.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.duplicates import SIDES, look
from selfsight.data.imageset import SPLITS, ImageSet, Target
from selfsight.data.leaks import Copies, Crossing, copies_of, crossings_of, different_targets

MAX_PAIRS = 1000
BINS = 20


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
    from selfsight.data.near_duplicates import near_duplicates

    start = time.perf_counter()
    looked = look(images)
    copies = copies_of(images, looked)
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
                different_targets(images, np.array([a, b])),
            )
            for (a, b), similarity in zip(found.rows, found.similarity, strict=True)
        ]
    shown = sorted(pairs, key=lambda pair: (not pair.across, -pair.similarity))[:MAX_PAIRS]
    crossings = crossings_of(images, copies)
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
