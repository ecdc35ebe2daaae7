"""What search, pairs and clusters found."""

from __future__ import annotations

from dataclasses import dataclass

from selfsight.records.content import FileContent
from selfsight.records.drift import ShownImage, ShownNeighbours


@dataclass(frozen=True)
class SearchFile(FileContent):
    """The JSON beside the table of a search, for its page.

    Attributes:
        index: its folder.
        data: name of the indexed images.
        images: how many there are.
        table: file name of all neighbours.
        far: whether the least similar were asked for.
        queries: how many.
        neighbours: of each query.
        novel: queries that are unlike anything indexed.
        novelty: from which distance, in words; None: unknown.
        recall: of an approximate search; None: it is exact.
        shown: the first queries.
        left_out: pictures that the page had no room for.
    """

    index: str
    data: str
    images: int
    table: str
    far: bool
    queries: int
    neighbours: int
    novel: int
    novelty: str | None
    recall: float | None
    shown: tuple[ShownNeighbours, ...]
    left_out: int = 0


@dataclass(frozen=True)
class ShownPair:
    """Two images and the cosine of their representations."""

    images: tuple[ShownImage, ...]
    cosine: float


@dataclass(frozen=True)
class Curve:
    """A ROC curve: rates of false and of true acceptance."""

    falsely: tuple[float, ...]
    accepted: tuple[float, ...]


@dataclass(frozen=True)
class VerificationLine:
    """Scores of pairs; ``points``: rate, accepted of same, falsely accepted of different."""

    name: str
    pairs: int
    same: int
    accuracy: float
    standard_error: float
    folds: int
    majority: float
    auc: float
    equal_error: float
    points: tuple[tuple[float, int, int, int, int], ...]


@dataclass(frozen=True)
class PairsFile(FileContent):
    """The JSON beside the table of `pairs`, for its page.

    Attributes:
        index, data, images, table: see `SearchFile`.
        labels_read: the sentence on the labels that trained the backbone; None: there were none.
        lines: scores of the pairs; none where no file of pairs was given.
        threshold: cosine that separates all pairs best; it has seen every one of them.
        drawn: whether the folds were drawn.
        missing: pairs that were left out.
        warnings: what lessens the scores.
        curve: ROC of all pairs.
        first, second: pairs that are pictured: wrongly refused and wrongly accepted, or without a
            file most similar and least similar.
        counts: how many there are of each.
    """

    index: str
    data: str
    images: int
    table: str
    labels_read: str | None
    lines: tuple[VerificationLine, ...] = ()
    threshold: float | None = None
    drawn: bool = False
    missing: int = 0
    warnings: tuple[str, ...] = ()
    curve: Curve | None = None
    first: tuple[ShownPair, ...] = ()
    second: tuple[ShownPair, ...] = ()
    counts: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class GroupLine:
    """How groups agree with labels.

    Attributes:
        name: of the grouping.
        groups: how many, single images included.
        pair_precision, pair_recall, pair_f1: of all pairs that share a group, those that share a
            label, and the other way round.
        bcubed: F1 of the BCubed precision and recall (Bagga and Baldwin, 1998), a mean over
            images.
    """

    name: str
    groups: int
    pair_precision: float
    pair_recall: float
    pair_f1: float
    bcubed: float


@dataclass(frozen=True)
class ShownGroup:
    """A group: its number, its size, and the first of its images."""

    number: int
    size: int
    images: tuple[ShownImage, ...]


@dataclass(frozen=True)
class ClustersFile(FileContent):
    """The JSON beside the table of `cluster`, for its page.

    Attributes:
        index, data, images, table: see `SearchFile`.
        by: hdbscan or linkage.
        threshold: of linkage.
        groups: of two images or more.
        alone: images in no group.
        largest: images of the largest group.
        near: cosine from which two images are near-duplicates.
        duplicates: images that are a near-duplicate of an earlier one.
        scores: beside the labels; none where there are none.
        target: where the labels come from.
        shown: the largest groups.
        copies: near-duplicates with the image that is kept.
    """

    index: str
    data: str
    images: int
    table: str
    by: str
    threshold: float | None
    groups: int
    alone: int
    largest: int
    near: float
    duplicates: int
    scores: tuple[GroupLine, ...]
    target: str | None
    shown: tuple[ShownGroup, ...]
    copies: tuple[tuple[ShownImage, ...], ...]
