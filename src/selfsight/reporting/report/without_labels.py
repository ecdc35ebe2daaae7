"""What needs no label: measures of the representations, clusters; and how runs rank by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from selfsight import vocabulary
from selfsight.records.results import Value, variants
from selfsight.reporting.page import Page, Values
from selfsight.reporting.report.contents import RunContents
from selfsight.reporting.report.questions import WITHOUT_LABELS, Question, ReportContents
from selfsight.reporting.words import capital, number
from selfsight.vocabulary import amount, interval_text, value_text

ORDER = 40
TITLE = "Without labels"
HEADING = "Measured without labels"


def values(contents: ReportContents, page: Page) -> Values | None:
    """The tables of each run, and the ranks of several."""
    tables = measure_tables(contents)
    if not tables:
        return None
    return {"tables": tables, "ranking": ranking(contents.runs, contents.answered)}


@dataclass(frozen=True)
class MeasureTable:
    """A row a measure, a column a subject of a run: name, meaning, cells and their intervals."""

    title: str
    columns: list[str]
    rows: list[tuple[str, str, list[tuple[str, str]]]]


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


def measure_tables(contents: ReportContents) -> list[MeasureTable]:
    """The measures without labels, and the clusters, of each run and data set."""
    tables = []
    for run in contents.runs:
        of_run = _values(run)
        ways = variants(run.results.evaluations) if run.results else {}
        for place in dict.fromkeys((v.task, v.data, ways.get(v.evaluation)) for v in of_run):
            task, data, way = place
            here = [v for v in of_run if (v.task, v.data, ways.get(v.evaluation)) == place]
            subjects = list(dict.fromkeys(value.subject for value in here))
            of = {(v.probe, v.target, v.metric, v.subject): v for v in here}
            rows = []
            for probe, target, metric in dict.fromkeys((v.probe, v.target, v.metric) for v in here):
                words = vocabulary.metric(metric)
                name = words.title
                if task == "clusters":
                    name = f"{vocabulary.probe(probe).title}: {name}"
                shown = [_shown(of.get((probe, target, metric, s))) for s in subjects]
                rows.append((capital(name), words.meaning, shown))
            title = (
                "Clusters compared with the classes" if task == "clusters" else "Representations"
            )
            where = ", ".join(filter(None, [here[0].target, data, way, here[0].split]))
            columns = [run.subject_title(name) for name in subjects]
            tables.append(MeasureTable(f"{contents.start(run)}{title}: {where}", columns, rows))
    return tables


def ranking(runs: Sequence[RunContents], answered: Sequence[Question]) -> Ranking | None:
    """Runs ranked by the headline's result and by each measure; from three runs on."""
    if not answered or len(runs) < 3:
        return None
    question = answered[0]
    labelled: dict[int, float] = {}
    for series in question.series:
        if series.trained:
            value = question.value(series, question.probes[0], question.fractions[0])
            if value is not None and value.mean is not None:
                labelled[series.runs[0]] = value.mean
    measured: dict[str, dict[int, float]] = {}
    for index in labelled:
        for value in _values(runs[index]):
            if value.subject == "trained" and value.task == "none" and value.mean is not None:
                measured.setdefault(value.metric, {})[index] = value.mean
    measured = {metric: of for metric, of in measured.items() if of.keys() == labelled.keys()}
    if len(labelled) < 3 or not measured:
        return None
    sign = 1 if vocabulary.higher_is_better(question.metric) else -1
    order = sorted(labelled, key=lambda index: -sign * labelled[index])
    truth = [labelled[index] for index in order]
    rows = []
    for place, index in enumerate(order):
        cells = [f"{value_text(question.metric, labelled[index])} ({place + 1})"]
        for of in measured.values():
            rank = 1 + sum(other > of[index] for other in of.values())
            cells.append(f"{number(of[index])} ({rank})")
        rows.append((runs[index].name, cells))
    correlations = [
        f"{vocabulary.metric(metric).title} {_rank_correlation(truth, [of[i] for i in order])}"
        for metric, of in measured.items()
    ]
    first = vocabulary.probe(question.probes[0]).title
    title = f"{vocabulary.metric(question.metric).title}, {first}"
    titles = [vocabulary.metric(metric).title for metric in measured]
    return Ranking([title, *titles], rows, correlations)


def _values(run: RunContents) -> list[Value]:
    summary = run.results.summary if run.results else None
    return [
        value
        for value in (summary.values if summary else [])
        if value.task in WITHOUT_LABELS and value.label is None
    ]


def _shown(value: Value | None) -> tuple[str, str]:
    if value is None:
        return "–", ""
    return value_text(value.metric, value.mean), interval_text(value.metric, value.low, value.high)


def _rank_correlation(first: Sequence[float], second: Sequence[float]) -> str:
    """Spearman's, as text; a dash where one of them is constant."""
    from scipy.stats import spearmanr

    if len(set(first)) < 2 or len(set(second)) < 2:
        return "–"
    return amount("rank_correlation", float(spearmanr(first, second).statistic))
