"""What needs no label: measures of the representations, clusters; and how runs rank by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from selfsight import vocabulary
from selfsight.reporting.headline import main_questions
from selfsight.reporting.questions import WITHOUT_LABELS, Question
from selfsight.reporting.reading import RunContents, Value
from selfsight.reporting.wording import (
    amount,
    interval_text,
    metric_name,
    number,
    probe_name,
    subject_name,
    value_text,
)


@dataclass(frozen=True)
class MeasureTable:
    """A row a measure, a column a weights of a run; ``meaning`` says what it tells."""

    title: str
    columns: list[str]
    rows: list[tuple[str, str, list[str]]]


@dataclass(frozen=True)
class Ranking:
    """Runs in the order of a labelled result, beside measures that need no label.

    Attributes:
        columns: names of the labelled result and the measures.
        rows: name of a run and its numbers, with its rank in each.
        correlations: of each measure's ranks with those of the labelled result.
    """

    columns: list[str]
    rows: list[tuple[str, list[str]]]
    correlations: list[str]


def measure_tables(runs: Sequence[RunContents]) -> list[MeasureTable]:
    """The measures without labels and the clusters of each run."""
    tables = []
    for run in runs:
        values = _values(run)
        for data in dict.fromkeys(value.data for value in values):
            here = [value for value in values if value.data == data]
            weights = list(dict.fromkeys(value.subject for value in here))
            found = {(v.probe, v.target, v.metric, v.subject): v for v in here}
            rows = []
            for probe, target, metric in dict.fromkeys((v.probe, v.target, v.metric) for v in here):
                name = metric_name(metric)
                if probe not in (None, "none"):
                    against = f" against “{target}”" if target else ""
                    name = f"{probe_name(probe)}: {name}{against}"
                shown = [_shown(found.get((probe, target, metric, w))) for w in weights]
                rows.append((name[:1].upper() + name[1:], _meaning(metric), shown))
            start = f"{run.name}: " if len(runs) > 1 else ""
            split = here[0].split
            on = f" on {data}" if data else ""
            title = f"{start}Without labels{on}{', ' + split if split else ''}"
            tables.append(MeasureTable(title, [subject_name(w) for w in weights], rows))
    return tables


def ranking(runs: Sequence[RunContents], questions: Sequence[Question]) -> Ranking | None:
    """Runs ranked by the headline's result and by each measure; from three runs on."""
    answered = main_questions(questions)
    if not answered or len(runs) < 3:
        return None
    question = answered[0]
    labelled: dict[int, Value] = {}
    for series in question.series:
        values = [
            question.value(series, probe, fraction)
            for probe in question.probes[:1]
            for fraction in question.fractions[:1]
        ]
        if series.trained and values and values[0] is not None and values[0].mean is not None:
            labelled[series.runs[0]] = values[0]
    measured: dict[str, dict[int, float]] = {}
    for index in labelled:
        for value in _values(runs[index]):
            if value.subject == "trained" and value.task == "none" and value.mean is not None:
                measured.setdefault(value.metric, {})[index] = value.mean
    measured = {metric: of for metric, of in measured.items() if of.keys() == labelled.keys()}
    if len(labelled) < 3 or not measured:
        return None
    order = sorted(labelled, key=lambda index: -(labelled[index].mean or 0.0))
    truth = [labelled[index].mean or 0.0 for index in order]
    rows = []
    for place, index in enumerate(order):
        cells = [f"{value_text(question.metric, labelled[index].mean)} ({place + 1})"]
        for of in measured.values():
            rank = 1 + sum(other > of[index] for other in of.values())
            cells.append(f"{number(of[index])} ({rank})")
        rows.append((runs[index].name, cells))
    correlations = [
        f"{metric_name(metric)} {_rank_correlation(truth, [of[i] for i in order])}"
        for metric, of in measured.items()
    ]
    title = f"{metric_name(question.metric)}, {probe_name(question.probes[0])}"
    return Ranking([title, *(metric_name(metric) for metric in measured)], rows, correlations)


def _values(run: RunContents) -> list[Value]:
    summary = run.results.summary if run.results else None
    return [
        v
        for v in (summary.values if summary else [])
        if v.task in WITHOUT_LABELS and v.label is None
    ]


def _shown(value: Value | None) -> str:
    if value is None:
        return "–"
    between = interval_text(value.metric, value.low, value.high)
    return value_text(value.metric, value.mean) + (f" ({between})" if between else "")


def _meaning(metric: str) -> str:
    return vocabulary.metric(metric).meaning


def _rank_correlation(first: Sequence[float], second: Sequence[float]) -> str:
    """Spearman's, as text; a dash where one of them is constant."""
    from scipy.stats import spearmanr

    if len(set(first)) < 2 or len(set(second)) < 2:
        return "–"
    return amount("rank_correlation", float(spearmanr(first, second).statistic))
