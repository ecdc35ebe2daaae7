"""What the files of a run, an audit and a suggestion hold: one schema for writer and reader.

`results.json` is checked against `ResultsFile` when it is written and when it is read;
`audit.json` and `suggestions.json` hold an `Audit` and a `SuggestionsFile`. The module needs
neither torch nor numpy, so that pages open without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from selfsight.files import read_json
from selfsight.settings import sentence

SIDES = {"train": 0, "unlabelled": 0, "validation": 1, "test": 2}
"""Side of each split: nothing may stand on two of them."""
COLLAPSED_RANK = 2.0
"""Effective rank below which the representations lie on a line."""
COLLAPSED_SPREAD = 0.05
"""Share of an even spread below which all images look the same to the backbone."""


def collapsed(measured: Mapping[str, float]) -> bool:
    """Whether representations have collapsed, by ``effective_rank`` and ``spread``.

    A measure that is missing says nothing; both are columns of ``metrics.csv``.
    """
    return (
        measured.get("effective_rank", COLLAPSED_RANK) < COLLAPSED_RANK
        or measured.get("spread", COLLAPSED_SPREAD) < COLLAPSED_SPREAD
    )


CLOSED = ConfigDict(frozen=True, extra="forbid")
"""A field that the schema does not have is an error, in the writer as in the reader."""
PROTOCOL = 1
"""Version of the protocol of `evaluate`; raised when the same inputs would give other numbers."""


class Evaluation(BaseModel):
    """What rows of ``results.json`` were measured on and how.

    Rows of different evaluations never replace each other.

    Attributes:
        data: name of the image set.
        source: its absolute path or address; empty where it was in memory.
        fingerprint: of its pixels and row ids.
        sides: hash of its splits and groups.
        target: name of the target; None for measures without labels.
        labels: hash of the target's values on the rows that were fitted to and scored.
        backbone: hash of the trained weights.
        representation: ``output``, ``mean`` or ``stages``.
        balanced: whether rare classes counted more.
        seed: of the label draws.
        finetuning: settings of the fine-tuning that are not the defaults, as ``name=value``.
        protocol: `PROTOCOL` at that time.
        when: the last time (ISO 8601).
        notes: what was decided for the user, one sentence each.
        allowed_leaks: leaks that the user allowed, one sentence each.
        cautions: what lessens the results without being a leak, one sentence each.
    """

    model_config = CLOSED

    data: str
    source: str = ""
    fingerprint: str
    sides: str
    target: str | None = None
    labels: str = ""
    backbone: str
    representation: str
    balanced: bool
    seed: int
    finetuning: str = ""
    protocol: int
    when: str
    notes: list[str] = []
    allowed_leaks: list[str] = []
    cautions: list[str] = []

    @property
    def family(self) -> tuple[object, ...]:
        """Images, labels and weights: verdicts within it are adjusted together."""
        content = (self.fingerprint, self.sides, self.target, self.labels)
        return (*content, self.backbone, self.protocol)

    def replaces(self, other: Evaluation) -> bool:
        """Whether this one, if it is newer, is shown in place of the other one.

        It is, where the same source or the same images have other pixels, splits or labels by now.
        """
        if self.target != other.target:
            return False
        moved = bool(self.source) and self.source == other.source
        same = moved or self.fingerprint == other.fingerprint
        return same and self.family != other.family

    def unlike(self, other: Evaluation) -> str:
        """How this one differs from another one of its family, in words; empty: it does not."""
        words = []
        if self.representation != other.representation:
            words.append(f"representation {self.representation}")
        if self.balanced != other.balanced:
            words.append("balanced" if self.balanced else "not balanced")
        if self.seed != other.seed:
            words.append(f"label seed {self.seed}")
        if self.finetuning != other.finetuning:
            words.append(f"fine-tuning {self.finetuning or 'by default'}")
        return ", ".join(words)


def current(evaluations: Mapping[str, Evaluation], backbone: str) -> list[str]:
    """The evaluations to show: of these weights, and of images and labels as they are by now."""
    newest = sorted(evaluations.items(), key=lambda item: item[1].when, reverse=True)
    shown: dict[str, Evaluation] = {}
    for name, evaluation in newest:
        if evaluation.backbone == backbone and not any(
            later.replaces(evaluation) for later in shown.values()
        ):
            shown[name] = evaluation
    return [name for name in evaluations if name in shown]


def variants(evaluations: Mapping[str, Evaluation]) -> dict[str, str]:
    """How each evaluation differs from the first one of its family, in words."""
    first: dict[tuple[object, ...], Evaluation] = {}
    return {
        name: evaluation.unlike(first.setdefault(evaluation.family, evaluation))
        for name, evaluation in evaluations.items()
    }


class Place(BaseModel):
    """What an entry of ``results.json`` is of.

    Attributes:
        evaluation: key of `ResultsFile.evaluations`.
        data: name of the image set.
        task: kind of the target; ``none`` and ``clusters`` are measured without labels.
        target: its name.
        split: that was scored.
        probe: or another reader of the representations; ``none`` for a measure of them alone.
        label_fraction: share of the labels of train that the probe got; 0 where it got none.
        num_labels: labelled images that were read: at least one of each class.
        known_labels: labelled images of train, of which these are a share.
    """

    model_config = CLOSED

    evaluation: str = ""
    data: str | None = None
    task: str | None = None
    target: str | None = None
    split: str | None = None
    probe: str | None = None
    label_fraction: float | None = None
    num_labels: float | None = None
    known_labels: float | None = None

    @property
    def fraction(self) -> float | None:
        """The share of the labels that was asked for; None where none was read."""
        return self.label_fraction or None

    @property
    def share(self) -> float | None:
        """The share of the labels that was read, which is larger where classes are rare."""
        if self.fraction is None or not self.known_labels or self.num_labels is None:
            return self.fraction
        return self.num_labels / self.known_labels


Row = TypeVar("Row", bound=Place)


class Record(Place):
    """One number: a metric of one fitted probe, of the whole target or of one label.

    Attributes:
        representation: ``mean`` or ``stages``, where the probe chose inside its labels.
    """

    subject: str
    label_seed: int | None = None
    metric: str
    label: str | None = None
    value: float
    initialisation: int | None = None
    representation: str | None = None


class ProbeChoice(Place):
    """What a probe chose inside its labelled images."""

    subject: str
    label_seed: int | None = None
    choice: dict[str, Any]


class Reading(Place):
    """One comparison of predictions with the test split, and its time (ISO 8601).

    Attributes:
        corruption: kind and strength of what was done to the images; empty: nothing.
    """

    subject: str
    label_seed: int | None = None
    initialisation: int | None = None
    corruption: str = ""
    when: str


class Confusion(Place):
    """Counts of a probe's predictions; rows are the true classes."""

    subject: str
    label_seed: int | None = None
    names: list[str]
    matrix: list[list[int]]


class Value(Place):
    """The mean of a metric over label draws, with its 95 % interval where one can be given.

    Attributes:
        draws: of labels.
        seeds: of the training, each with each draw.
    """

    subject: str
    metric: str
    label: str | None = None
    draws: int | None = None
    seeds: int = 1
    mean: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


class Difference(Place):
    """The mean of trained - control, paired by label draw and image, with its 95 % interval.

    Attributes:
        reason: why there is no interval, or why to take care.
        raw_p: two-sided p-value.
        p: the same, adjusted by Holm within target and control but for the primary difference.
        primary: the one verdict that was fixed beforehand.
    """

    control: str
    metric: str
    label: str | None = None
    draws: int | None = None
    seeds: int = 1
    mean: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    raw_p: float | None = None
    p: float | None = None
    primary: bool = False
    verdict: str | None = None


class Corrupted(Place):
    """The headline metric of a probe on images with a corruption, with its 95 % interval.

    Attributes:
        corruption: blur, noise, jpeg or brightness; ``none``: clean images.
        strength: 1 to 3; 0 for clean images.
        amount: the strength in words.
    """

    subject: str
    corruption: str
    strength: int
    amount: str
    metric: str
    mean: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


class ResultsSummary(BaseModel):
    """Means and differences of all records."""

    model_config = CLOSED

    values: list[Value] = []
    differences: list[Difference] = []


class ResultsFile(BaseModel):
    """``results.json``.

    Attributes:
        backbone: hash of the weights that were evaluated last.
        evaluations: what the rows were measured on and how, by the rows' ``evaluation``.
        records: one a number.
        summary: means over label draws, and differences to the controls.
        choices: what each probe chose.
        confusion: confusion matrices of the first draw at the largest share.
        corruptions: the linear probe on images with blur, noise, JPEG, other brightness.
        test_readings: each comparison of predictions with the test split; only added to.
        notes: of the evaluations to show.
        allowed_leaks: of the evaluations to show.
        cautions: of the evaluations to show.
        subjects: subjects that are runs: name -> path (``run``) and hash of the weights.
        files: checksums of the files written with it: path inside the run -> hash.
    """

    model_config = CLOSED

    backbone: str = ""
    evaluations: dict[str, Evaluation] = {}
    records: list[Record] = []
    summary: ResultsSummary = ResultsSummary()
    choices: list[ProbeChoice] = []
    confusion: list[Confusion] = []
    corruptions: list[Corrupted] = []
    test_readings: list[Reading] = []
    notes: list[str] = []
    allowed_leaks: list[str] = []
    cautions: list[str] = []
    subjects: dict[str, dict[str, str]] = {}
    files: dict[str, str] = {}

    @property
    def shown(self) -> ResultsFile:
        """Without the rows of other weights, and of images and labels as they were before.

        Readings of the test split are all there.
        """
        hidden = self.evaluations.keys() - set(current(self.evaluations, self.backbone))
        if not hidden:
            return self

        def kept(rows: list[Row]) -> list[Row]:
            return [row for row in rows if row.evaluation not in hidden]

        summary = ResultsSummary(
            values=kept(self.summary.values), differences=kept(self.summary.differences)
        )
        return self.model_copy(
            update={
                "evaluations": {n: e for n, e in self.evaluations.items() if n not in hidden},
                "records": kept(self.records),
                "summary": summary,
                "choices": kept(self.choices),
                "confusion": kept(self.confusion),
                "corruptions": kept(self.corruptions),
            }
        )


class FileContent:
    """A dataclass that is the content of a JSON file."""

    def plain(self) -> dict[str, Any]:
        """Dictionaries, lists, numbers and text, as in the file."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]


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
        return f"{self.near_test:,} of the {of:,} test images have a near-duplicate in train."

    @property
    def different_labels(self) -> tuple[Copies, ...]:
        """Identical images whose known targets differ."""
        return tuple(copies for copies in self.copies if copies.different)


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
    """

    data: str
    target: str
    run: str
    images: int
    suspicious: int
    table: str
    shown: tuple[SuspiciousLabel, ...]


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
        share: of the other set's own images that exceed it, at most.
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
            f"The training of {self.run} saw {first:,} images of {self.data} and {second:,} of "
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
            f"{self.novel:,} of {self.images:,} images ({100 * self.novel / self.images:.1f} %) "
            f"are unlike every image of {self.against}: their distance is above "
            f"{self.threshold:.3g}, and about {100 * self.share:.2g} % would be without drift."
        )


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
    """A grouping beside labels: pairs of images that share a group, and BCubed."""

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


Schema = TypeVar("Schema")


def read_record(kind: type[Schema], path: str | Path) -> Schema:
    """A file as ``kind``, one of the schemas of this module.

    Raises:
        ValueError: the file is missing or damaged; names the file and the field.
    """
    return checked(kind, read_json(path), path)


def checked(kind: type[Schema], content: Any, path: str | Path) -> Schema:
    """Plain content as ``kind``.

    Args:
        kind: a schema of this module.
        content: dictionaries, lists, numbers and text.
        path: how the error calls it.

    Raises:
        ValueError: a field is missing, wrong or unknown; names it.
    """
    try:
        record: Schema = TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {sentence(error)}.") from None
    return record
