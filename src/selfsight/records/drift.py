"""What two sets of images have in common: new images, and how far the sets are apart."""

from __future__ import annotations

from dataclasses import dataclass

from selfsight.console import counted
from selfsight.records.content import FileContent
from selfsight.records.labelling import ShownPicture


@dataclass(frozen=True)
class ShownImage:
    """An image on a page of neighbours: row id, label, split, a word, and its picture."""

    name: str
    label: str
    split: str
    words: str
    picture: ShownPicture | None


@dataclass(frozen=True)
class ShownNeighbours:
    """A query and its neighbours; ``novel``: it is unlike anything in the index."""

    query: ShownImage
    neighbours: tuple[ShownImage, ...]
    novel: bool


@dataclass(frozen=True)
class DriftFile(FileContent):
    """``drift.json`` of an audit against other images.

    Attributes:
        data: name of the images.
        against: name of the images that they are compared with.
        run: whose representations were used.
        images: how many there are.
        reference: images of the other set that they are compared with.
        auc: of a classifier that tells the sets apart, out of fold; 0.5: not at all, 1: always.
        low: lower end of its 95 % interval.
        high: upper end.
        p: of the permutation test of no difference.
        differ: whether p is at most 0.05.
        compared: images of each set that the classifier took.
        permutations: of the test.
        novel: images that are unlike all of the other set.
        threshold: the distance from which they are; None: the other set is too small to tell.
        shortest, longest: lengths of a representation outside which they are, too.
        share: of the other set's own images that are novel, at most.
        seen: images of each set that the training of the run saw; 0 where that is not known.
        table: file name of the distances.
        shown: the furthest images.
    """

    data: str
    against: str
    run: str
    images: int
    reference: int
    auc: float
    low: float
    high: float
    p: float
    differ: bool
    compared: tuple[int, int]
    permutations: int
    novel: int
    threshold: float | None
    shortest: float | None
    longest: float | None
    share: float | None
    seen: tuple[int, int]
    table: str
    shown: tuple[ShownImage, ...]

    @property
    def caution(self) -> str:
        """A sentence where the training saw one of the sets; empty where it saw neither."""
        if not any(self.seen):
            return ""
        first, second = self.seen
        return (
            f"The training of {self.run} saw {counted(first, 'image')} of {self.data} and "
            f"{second:,} of "
            f"{self.against}. Images that it saw may stand apart from others, so compare images "
            "that it did not see, such as those of a test split, or take published weights."
        )

    @property
    def answer(self) -> str:
        """How far the sets are apart, in a sentence."""
        area = f"AUC {self.auc:.3f} (95 % interval {self.low:.3f} to {self.high:.3f})"
        if not self.differ:
            return (
                f"No drift is seen: a classifier does not tell {self.data} from {self.against} "
                f"better than chance, {area}, p = {self.p:.2g}."
            )
        return (
            f"Drift: a classifier tells {self.data} from {self.against}, {area}, p = {self.p:.2g}. "
            "0.5 is chance, 1 is always."
        )

    @property
    def news(self) -> str:
        """How many images are new, in a sentence."""
        if self.threshold is None or self.share is None:
            return f"{self.against} has too few images to say which are new."
        return (
            f"{self.novel:,} of {counted(self.images, 'image')} "
            f"({100 * self.novel / self.images:.1f} %) "
            f"are unlike every image of {self.against}: their distance is above "
            f"{self.threshold:.3g}, and about {100 * self.share:.2g} % would be without drift."
        )
