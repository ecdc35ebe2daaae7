"""`audit.json`: what an audit finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from selfsight.console import counted
from selfsight.records.content import FileContent

SIDES = {"train": 0, "unlabelled": 0, "validation": 1, "test": 2}
"""Side of each split: nothing may stand on two of them."""


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

    @property
    def across(self) -> bool:
        """Whether they stand on two sides of the splits."""
        return len({SIDES.get(split) for split in self.splits}) > 1


@dataclass(frozen=True)
class NearPair(Copies):
    """Two images that look the same; ``similarity`` is the correlation at the best shift."""

    similarity: float


@dataclass(frozen=True)
class RowNote:
    """An image that an audit mentions: its row id, its split and its targets in words."""

    name: str
    split: str
    target: str


MAX_NEAR = 0.01
"""Share of test images with a near-duplicate in train above which a training does not start."""
MIN_NEAR = 3
"""Test images with one, in a small test split: one or two may be a chance resemblance."""


def near_leak(count: int, of: int) -> bool:
    """Whether so many of the test images have a near-duplicate in train that a verb stops."""
    return count >= MIN_NEAR and count > MAX_NEAR * of


@dataclass(frozen=True)
class Audit(FileContent):
    """``audit.json``: everything that an audit found; row numbers are those of the image set.

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
        near_test: test images that have a near-duplicate in train.
        crossings: what must not be.
        rows: the images that are mentioned, by row.
        notes: of the image set and of the audit.
        readings: notes on how the images were read, in parts (`selfsight.data.notes.Note`).
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
    near_test: int
    crossings: tuple[Crossing, ...]
    rows: dict[int, RowNote]
    notes: tuple[str, ...]
    readings: tuple[dict[str, Any], ...]
    seconds: float

    @property
    def near_leak(self) -> bool:
        """Whether too many test images have a near-duplicate in train; see `near_leak`."""
        return near_leak(self.near_test, self.splits.get("test", 0))

    @property
    def near_sentence(self) -> str:
        """How many test images have a near-duplicate in train."""
        of = self.splits.get("test", 0)
        return (
            f"{self.near_test:,} of the {counted(of, 'test image has', 'test images have')} a "
            "near-duplicate in train."
        )

    @property
    def different_labels(self) -> tuple[Copies, ...]:
        """Identical images whose known targets differ."""
        return tuple(copies for copies in self.copies if copies.different)
