"""The full tables of results, with intervals and differences to the controls."""

from __future__ import annotations

from dataclasses import dataclass, field

from selfsight import vocabulary
from selfsight.console import counted
from selfsight.records.results import Difference, Value, variants
from selfsight.reporting.report.contents import RunContents
from selfsight.reporting.report.questions import Question
from selfsight.reporting.words import (
    capital,
    fraction_text,
    number,
    share_text,
    unit_of_difference,
)
from selfsight.vocabulary import difference_text, interval_text, value_text


@dataclass(frozen=True)
class Cell:
    """A number, its interval below it, and the verdict where it is no gain."""

    main: str
    interval: str = ""
    verdict: str = ""
    tone: str = ""
    against: list[tuple[str, str]] = field(default_factory=list)
    """Differences to the controls and their tone, where they have no column of their own."""


@dataclass(frozen=True)
class Row:
    fraction: str
    labels: str
    draws: str
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """Rows of one probe together, in the order of `columns`."""

    title: str
    columns: list[tuple[str, str]]
    """Heading and colour of each."""
    blocks: list[tuple[str, list[Row]]]


def results_table(question: Question) -> Table:
    """A column for each subject; with one run, also one for the difference to each control."""
    runs = {run for series in question.series for run in series.runs}
    apart = len(runs) == 1
    columns = [(series.name, series.color) for series in question.series]
    if apart:
        ours = next((series.name for series in question.series if series.trained), "trained")
        columns += [
            (f"{ours} − {vocabulary.subject(name).title}", "") for name in question.controls
        ]
    blocks = []
    for probe in question.probes:
        rows = []
        for fraction in question.fractions:
            cells, draws = _value_cells(question, probe, fraction, apart)
            if not draws:
                continue
            if apart:
                cells += [
                    _difference_cell(question.difference(min(runs), control, probe, fraction))
                    for control in question.controls
                ]
            labels = number(question.labels(probe, fraction))
            shown = number(max(draws)) if max(draws) else "–"
            values = [question.value(series, probe, fraction) for series in question.series]
            seeds = max(value.seeds for value in values if value is not None)
            shown += f" × {counted(seeds, 'seed')}" if seeds > 1 else ""
            rows.append(Row(fraction_text(question.share(probe, fraction)), labels, shown, cells))
        if rows:
            blocks.append((vocabulary.probe(probe).title, rows))
    return Table(question_title(question), columns, blocks)


def question_title(question: Question) -> str:
    """``accuracy of "label" on cifar10, test``."""
    title = capital(vocabulary.metric(question.metric).title)
    if question.target:
        title += f" of “{question.target}”"
    if question.data:
        title += f" on {question.data}"
    if question.way:
        title += f" ({question.way})"
    return f"{title}, {question.split}" if question.split else title


def _value_cells(
    question: Question, probe: str | None, fraction: float | None, apart: bool
) -> tuple[list[Cell], list[int]]:
    cells, draws = [], []
    for series in question.series:
        value = question.value(series, probe, fraction)
        if value is None:
            cells.append(Cell("–"))
            continue
        draws.append(value.draws or 0)
        against: list[tuple[str, str]] = []
        if series.trained and not apart:
            for control in question.controls:
                difference = question.difference(series.runs[0], control, probe, fraction)
                if difference is not None:
                    against.append(_against(difference))
        main = value_text(question.metric, value.mean)
        between = interval_text(question.metric, value.low, value.high)
        tone = "trained" if series.trained else ""
        cells.append(Cell(main, between, tone=tone, against=against))
    return cells, draws


def _difference_cell(difference: Difference | None) -> Cell:
    if difference is None:
        return Cell("–")
    metric = difference.metric
    verdict = difference.verdict or ""
    if verdict == "no verdict" and difference.reason:
        verdict = f"no verdict: {difference.reason}"
    return Cell(
        difference_text(metric, difference.mean) + unit_of_difference(metric),
        interval_text(metric, difference.low, difference.high, signed=True),
        "" if verdict == "better" else verdict,
        _tone(difference),
    )


def _tone(difference: Difference) -> str:
    return {"better": "better", "worse": "worse"}.get(difference.verdict or "", "neither")


def _against(difference: Difference) -> tuple[str, str]:
    name = vocabulary.subject(difference.control).title
    if difference.verdict == "no verdict":
        return f"no verdict beside {name}", "neither"
    if _tone(difference) == "neither":
        return f"no better than {name}", "neither"
    return f"{difference_text(difference.metric, difference.mean)} vs {name}", _tone(difference)


@dataclass(frozen=True)
class LabelTable:
    """What each label reaches with the most labels: a row a label, a column a subject."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


def label_tables(run: RunContents, named: bool) -> list[LabelTable]:
    """One table for each metric and probe that is given by label, at its largest share."""
    values = [v for v in run.results.summary.values if v.label is not None] if run.results else []
    ways = variants(run.results.evaluations) if run.results else {}
    together: dict[tuple[str | None, ...], list[Value]] = {}
    for value in values:
        way = ways.get(value.evaluation, "")
        key = (value.data, value.target, value.probe, value.metric, value.split, way)
        together.setdefault(key, []).append(value)
    tables = []
    for (data, target, probe, metric, split, measured), group in together.items():
        most = max(value.label_fraction or 0.0 for value in group)
        group = [value for value in group if (value.label_fraction or 0.0) == most]
        subjects = list(dict.fromkeys(value.subject for value in group))
        cells = {(value.label, value.subject): value for value in group}
        rows = [
            (str(label), [_label_cell(cells.get((label, subject))) for subject in subjects])
            for label in dict.fromkeys(value.label for value in group)
        ]
        parts = [target, data, measured, split, vocabulary.probe(probe).title]
        parts.append(share_text(group[0].share))
        title = capital(vocabulary.metric(str(metric)).title)
        title = f"{title}: {', '.join(part for part in parts if part)}"
        title = f"{run.name}: {title}" if named else title
        tables.append(LabelTable(title, [run.subject_title(name) for name in subjects], rows))
    return tables


def _label_cell(value: Value | None) -> Cell:
    if value is None:
        return Cell("–")
    tone = "trained" if value.subject == "trained" else ""
    between = interval_text(value.metric, value.low, value.high)
    return Cell(value_text(value.metric, value.mean), between, tone=tone)
