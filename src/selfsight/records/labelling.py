"""`suggestions.json` and the list of suspicious labels."""

from __future__ import annotations

from dataclasses import dataclass, field

from selfsight.records.content import FileContent


@dataclass(frozen=True)
class SuggestedImage:
    """An image to label: its row id, why it was chosen, and its split."""

    row_id: str
    reason: str
    split: str = "train"


@dataclass(frozen=True)
class SuggestionsFile(FileContent):
    """``suggestions.json``: the images to label next, the most helpful first.

    Attributes:
        run: folder of the run that represents the images.
        data: name of the image set.
        by: the strategy.
        target: name of the column to fill in.
        kind: of the target; None where there is none yet.
        names: of its classes or labels.
        table: the file to fill in.
        labelled: images that have a label already.
        images: those that were chosen.
    """

    run: str
    data: str
    by: str
    target: str
    kind: str | None
    names: tuple[str, ...]
    table: str
    labelled: int
    images: tuple[SuggestedImage, ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class ShownPicture:
    """A small picture: a data URI, its size in pixels, whether its pixels stay square."""

    uri: str
    width: int
    height: int
    crisp: bool


@dataclass(frozen=True)
class SuspiciousLabel:
    """A label that is probably wrong, on the page of an audit.

    Attributes:
        row_id: of the image.
        given: the label.
        predicted: the class that the prediction out of fold favours.
        given_probability: of the given label, out of fold.
        agreeing: share of the nearest images with the given label.
        picture: of the image.
    """

    row_id: str
    given: str
    predicted: str
    given_probability: float
    agreeing: float
    picture: ShownPicture | None


@dataclass(frozen=True)
class LabelsFile(FileContent):
    """``labels.json`` of an audit with a run.

    Attributes:
        data: name of the images.
        target: whose labels were checked.
        run: whose representations were used.
        images: that were checked.
        suspicious: labels that are probably wrong.
        table: file name of all of them.
        shown: the most suspicious ones.
        caution: where the run was trained on labels; empty otherwise.
    """

    data: str
    target: str
    run: str
    images: int
    suspicious: int
    table: str
    shown: tuple[SuspiciousLabel, ...]
    caution: str = ""
