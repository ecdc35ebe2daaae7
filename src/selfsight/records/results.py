"""`results.json`: one schema for the writer and the reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

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
        files: checksums of the files written with it: path inside the run -> hash.
        allowed_leaks: of the evaluations to show.
        cautions: of the evaluations to show.
        subjects: subjects that are runs: name -> path (``run``) and hash of the weights.
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
    files: dict[str, str] = {}
    allowed_leaks: list[str] = []
    cautions: list[str] = []
    subjects: dict[str, dict[str, str]] = {}

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
