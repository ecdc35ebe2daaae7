"""The results of one or several runs, one question (data, target, metric) at a time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from selfsight.reporting.reading import Difference, RunContents, Value
from selfsight.reporting.wording import subject_name

Item = TypeVar("Item")
CONTROLS = ("untrained", "pixels", "scratch")
WITHOUT_LABELS = ("none", "clusters")
"""Tasks whose numbers stand in a table of their own."""
PROBE_ORDER = ("linear", "ridge", "knn", "mlp", "finetune")
"""The headline takes the first probe of this list that was fitted: fixed, never the best one."""


@dataclass(frozen=True)
class Series:
    """One line of a chart and one column of a table: some weights of one run.

    Attributes:
        runs: indices of the runs that it stands for (a control may be shared by several).
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
    """How well the weights do at one metric of one target, by probe and share of labels."""

    data: str | None
    task: str | None
    target: str | None
    metric: str
    split: str | None
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
        """Number of labels at a fraction, where all weights agree on it."""
        counts = {
            value.num_labels
            for (_, _, of_probe, of_fraction), value in self.values.items()
            if of_probe == probe and of_fraction == fraction
        }
        return counts.pop() if len(counts) == 1 else None

    @property
    def controls(self) -> list[str]:
        return _once(control for _, control, _, _ in self.differences)


def questions_of(runs: Sequence[RunContents], names: Sequence[str]) -> list[Question]:
    """Test before other splits; otherwise in the order of the files.

    Args:
        runs: the runs.
        names: how each is called in legends; a single run's is "trained".
    """
    found: dict[Hashable, Question] = {}
    for index, run in enumerate(runs):
        summary = run.results.summary if run.results else None
        for value in summary.values if summary else []:
            if value.label is None and value.task not in WITHOUT_LABELS:
                question = _question(found, value)
                key = (index, value.subject, value.probe, value.label_fraction)
                question.values[key] = value
        for difference in summary.differences if summary else []:
            if difference.label is None and difference.task not in WITHOUT_LABELS:
                question = _question(found, difference)
                key = (index, difference.control, difference.probe, difference.label_fraction)
                question.differences[key] = difference
    questions = [question for question in found.values() if question.values]
    for question in questions:
        question.series = _series(question, names)
        question.probes = sorted(
            _once(probe for _, _, probe, _ in question.values),
            key=lambda probe: PROBE_ORDER.index(probe) if probe in PROBE_ORDER else 99,
        )
        fractions = {fraction for *_, fraction in question.values}
        question.fractions = sorted(fractions, key=lambda f: (f is None, f or 0.0))
    return sorted(questions, key=lambda question: question.split not in ("test", None))


def _question(found: dict[Hashable, Question], entry: Value | Difference) -> Question:
    key = (entry.data, entry.task, entry.target, entry.metric, entry.split)
    return found.setdefault(key, Question(*key))


def _series(question: Question, names: Sequence[str]) -> list[Series]:
    symbols = ("circle", "diamond", "triangle-up", "star", "pentagon", "hexagon")
    weights = _once(weights for _, weights, _, _ in question.values)
    controls = [w for w in CONTROLS if w in weights]
    others = [w for w in weights if w not in (*CONTROLS, "trained")]
    series = [
        Series("trained", (run,), names[run], f"--run-{run % 6}", symbols[run % 6], "solid")
        for run in _once(run for run, *_ in question.values)
        if _of(question, run, "trained")
    ]
    looks = {"untrained": ("square", "dash"), "pixels": ("diamond", "dot")}
    for weight in (*others, *controls):
        symbol, dash = looks.get(weight, ("cross", "dashdot"))
        color = f"--{weight}" if weight in CONTROLS else f"--other-{others.index(weight) % 3}"
        shared = _shared_by(question, weight)
        for runs in shared:
            name = subject_name(weight)
            if len(shared) > 1:
                name += f" ({', '.join(names[run] for run in runs)})"
            series.append(Series(weight, runs, name, color, symbol, dash))
    return series


def _shared_by(question: Question, weights: str) -> list[tuple[int, ...]]:
    """The runs with these weights, those with the very same numbers together."""
    together: dict[Hashable, list[int]] = {}
    for run in _once(run for run, *_ in question.values):
        numbers = _of(question, run, weights)
        if numbers:
            together.setdefault(tuple(numbers), []).append(run)
    return [tuple(runs) for runs in together.values()]


def _of(question: Question, run: int, weights: str) -> list[tuple[object, ...]]:
    return [
        (probe, fraction, value.mean, value.low, value.high)
        for (of_run, of_weights, probe, fraction), value in question.values.items()
        if of_run == run and of_weights == weights
    ]


def _once(values: Iterable[Item]) -> list[Item]:
    return list(dict.fromkeys(values))
