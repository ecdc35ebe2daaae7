"""The results of one or several runs, one question (data, target, metric) at a time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from selfsight import vocabulary
from selfsight.records.results import Difference, Value, variants
from selfsight.reporting.report.contents import RunContents

Item = TypeVar("Item")
CONTROLS = tuple(name for name in vocabulary.SUBJECTS if name != "trained")
"""Controls with a colour of their own."""
WITHOUT_LABELS = ("none", "clusters")
"""Tasks whose numbers stand in a table of their own."""
FIRST = tuple(vocabulary.headline(kind) for kind in ("class", "labels", "number", "identity"))
"""Metrics that the headline takes first: fixed by the kind of the target, never the best one."""


@dataclass(frozen=True)
class Series:
    """One line of a chart and one column of a table: a subject of one run.

    Attributes:
        runs: indices of the runs that it stands for (runs may share a control).
        color: a custom property of the style sheet.
    """

    subject: str
    runs: tuple[int, ...]
    name: str
    color: str
    symbol: str
    dash: str

    @property
    def trained(self) -> bool:
        return self.subject == "trained"


@dataclass
class Question:
    """How well the subjects do at one metric of one target, by probe and share of labels.

    Attributes:
        way: how these were measured, where a run was evaluated in several ways; in words.
        named: whether sentences say the target: the page has several.
    """

    data: str | None
    task: str | None
    target: str | None
    metric: str
    split: str | None
    way: str = ""
    named: bool = False
    series: list[Series] = field(default_factory=list)
    probes: list[str | None] = field(default_factory=list)
    fractions: list[float | None] = field(default_factory=list)
    values: dict[tuple[int, str, str | None, float | None], Value] = field(default_factory=dict)
    differences: dict[tuple[int, str, str | None, float | None], Difference] = field(
        default_factory=dict
    )

    def value(self, series: Series, probe: str | None, fraction: float | None) -> Value | None:
        return self.values.get((series.runs[0], series.subject, probe, fraction))

    def difference(
        self, run: int, control: str, probe: str | None, fraction: float | None
    ) -> Difference | None:
        return self.differences.get((run, control, probe, fraction))

    def labels(self, probe: str | None, fraction: float | None) -> float | None:
        """Number of labels that the probe read at a fraction, where it is the same in all runs."""
        by_run: dict[int, list[float | None]] = {}
        for (run, _, of_probe, of_fraction), value in self.values.items():
            if of_probe == probe and of_fraction == fraction:
                by_run.setdefault(run, []).append(value.num_labels)
        counts = {min((c for c in of_run if c is not None), default=None)
                  for of_run in by_run.values()}  # fmt: skip
        return counts.pop() if len(counts) == 1 else None

    def labels_in_all(self, probe: str | None, fraction: float | None) -> float | None:
        """The most labels that a trained representation and its probe read at a fraction."""
        counts = [
            value.num_labels
            for (_, subject, of_probe, of_fraction), value in self.values.items()
            if (subject, of_probe, of_fraction) == ("trained", probe, fraction)
        ]
        return max((count for count in counts if count is not None), default=None)

    def known(self, probe: str | None, fraction: float | None) -> float | None:
        """Number of labels of which those are a share, where all subjects agree on it."""
        counts = {v.known_labels for v in self._at(probe, fraction)}
        return counts.pop() if len(counts) == 1 else None

    def share(self, probe: str | None, fraction: float | None) -> float | None:
        """The share of the labels that the probe read, where it is the same in all runs."""
        labels, known = self.labels(probe, fraction), self.known(probe, fraction)
        return labels / known if labels and known else fraction

    def _at(self, probe: str | None, fraction: float | None) -> list[Value]:
        return [v for (*_, p, f), v in self.values.items() if (p, f) == (probe, fraction)]

    @property
    def controls(self) -> list[str]:
        return _once(control for _, control, _, _ in self.differences)

    @property
    def shares(self) -> list[float]:
        """The shares of labels that probes got, the smallest first."""
        return [fraction for fraction in self.fractions if fraction is not None]

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """The smallest and the largest share; None where no label is read."""
        return (self.shares[0], self.shares[-1]) if self.shares else (None, None)

    def place(self) -> tuple[str | None, float | None] | None:
        """Where the headline looks: the first probe, in a fixed order, with the fewest labels."""
        for series in self.series:
            if series.trained:
                for probe in self.probes:
                    for fraction in dict.fromkeys([self.ends[0], *self.shares]):
                        value = self.value(series, probe, fraction)
                        if value is not None and value.mean is not None:
                            return probe, fraction
        return None


@dataclass(frozen=True)
class ReportContents:
    """What the sections of a report read.

    Attributes:
        runs: those of the page, each with a name of its own.
        questions: those of the headline first.
        answered: the questions of the headline.
    """

    runs: list[RunContents]
    questions: list[Question]
    answered: list[Question]

    @property
    def several(self) -> bool:
        return len(self.runs) > 1

    def start(self, run: RunContents) -> str:
        """How a sentence about a run begins: with its name where there are several."""
        return f"{run.name}: " if self.several else ""

    @classmethod
    def of(cls, runs: list[RunContents]) -> ReportContents:
        """The questions that the results of the runs answer."""
        names = (
            [run.name for run in runs]
            if len(runs) > 1
            else [run.subject_title("trained") for run in runs]
        )
        questions = questions_of(runs, names)
        several = len({question.target for question in questions}) > 1
        for question in questions:
            question.named = several and bool(question.target)
        answered = main_questions(questions)
        return cls(runs, answered + [q for q in questions if q not in answered], answered)


def questions_of(runs: Sequence[RunContents], names: Sequence[str]) -> list[Question]:
    """Test before other splits; otherwise in the order of the files.

    Args:
        runs: the runs.
        names: how legends call each; a single run is "trained", or its weights are named.
    """
    by_place: dict[Hashable, Question] = {}
    for index, run in enumerate(runs):
        summary = run.results.summary if run.results else None
        ways = variants(run.results.evaluations) if run.results else {}
        for value in summary.values if summary else []:
            if value.label is None and value.task not in WITHOUT_LABELS:
                key = (index, value.subject, value.probe, value.fraction)
                _question(by_place, value, ways).values[key] = value
        for difference in summary.differences if summary else []:
            if difference.label is None and difference.task not in WITHOUT_LABELS:
                at = (index, difference.control, difference.probe, difference.fraction)
                _question(by_place, difference, ways).differences[at] = difference
    questions = [question for question in by_place.values() if question.values]
    for question in questions:
        question.series = _series(question, names)
        question.probes = sorted(
            _once(probe for _, _, probe, _ in question.values),
            key=lambda probe: vocabulary.probe(probe).order,
        )
        fractions = {fraction for *_, fraction in question.values}
        question.fractions = sorted(fractions, key=lambda f: (f is None, f or 0.0))
    return sorted(questions, key=lambda question: question.split not in ("test", None))


def main_questions(questions: Sequence[Question]) -> list[Question]:
    """One for each data set, target and split: with the kind's first metric where it is there."""
    best: dict[tuple[object, ...], Question] = {}
    for question in questions:
        key = (question.data, question.target, question.task, question.split, question.way)
        if key not in best or (question.metric in FIRST and best[key].metric not in FIRST):
            best[key] = question
    on_test = [question for question in best.values() if question.split in ("test", None)]
    return [question for question in on_test or best.values() if question.place()]


def _question(
    by_place: dict[Hashable, Question], entry: Value | Difference, ways: Mapping[str, str]
) -> Question:
    way = ways.get(entry.evaluation, "")
    key = (entry.data, entry.task, entry.target, entry.metric, entry.split, way)
    return by_place.setdefault(key, Question(*key))


def _series(question: Question, names: Sequence[str]) -> list[Series]:
    symbols = ("circle", "diamond", "triangle-up", "star", "pentagon", "hexagon")
    subjects = _once(subject for _, subject, _, _ in question.values)
    controls = [name for name in CONTROLS if name in subjects]
    others = [name for name in subjects if name not in (*CONTROLS, "trained")]
    series = [
        Series("trained", (run,), names[run], f"--run-{run % 6}", symbols[run % 6], "solid")
        for run in _once(run for run, *_ in question.values)
        if _of(question, run, "trained")
    ]
    looks = {
        "start": ("star", "solid"),
        "untrained": ("square", "dash"),
        "pixels": ("diamond", "dot"),
    }
    for subject in (*others, *controls):
        symbol, dash = looks.get(subject, ("cross", "dashdot"))
        color = f"--{subject}" if subject in CONTROLS else f"--other-{others.index(subject) % 3}"
        shared = _shared_by(question, subject)
        for runs in shared:
            name = vocabulary.subject(subject).title
            if len(shared) > 1:
                name += f" ({', '.join(names[run] for run in runs)})"
            series.append(Series(subject, runs, name, color, symbol, dash))
    return series


def _shared_by(question: Question, subject: str) -> list[tuple[int, ...]]:
    """The runs with this subject, those with the very same numbers together."""
    together: dict[Hashable, list[int]] = {}
    for run in _once(run for run, *_ in question.values):
        numbers = _of(question, run, subject)
        if numbers:
            together.setdefault(tuple(numbers), []).append(run)
    return [tuple(runs) for runs in together.values()]


def _of(question: Question, run: int, subject: str) -> list[tuple[object, ...]]:
    return [
        (probe, fraction, value.mean, value.low, value.high)
        for (of_run, of_subject, probe, fraction), value in question.values.items()
        if of_run == run and of_subject == subject
    ]


def _once(values: Iterable[Item]) -> list[Item]:
    return list(dict.fromkeys(values))
