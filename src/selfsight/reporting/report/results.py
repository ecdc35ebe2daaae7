"""Results beside their controls: a chart for each probe, and the full tables with intervals."""

from __future__ import annotations

import math

from selfsight import vocabulary
from selfsight.records.results import Value
from selfsight.reporting.figures import axis, escaped, figure, rounded
from selfsight.reporting.page import Figure, Page, Values
from selfsight.reporting.report.questions import Question, ReportContents, Series
from selfsight.reporting.report.tables import label_tables, results_table
from selfsight.reporting.report.what import differing_settings
from selfsight.reporting.words import fraction_text, listed, number, share_text
from selfsight.vocabulary import in_percent, interval_text, value_text

ORDER = 20
TITLE = "Results"
HEADING = "Results beside the controls"
LOWEST_R2 = -1.0
"""Where charts of R² are cut: how far below it lies tells nothing."""


def values(contents: ReportContents, page: Page) -> Values:
    """Charts and a table for each question, and a table by label where there are several."""
    missing = []
    for run in contents.runs:
        start = contents.start(run)
        if run.results is None:
            missing.append(
                f"{start}There is no results.json: this run has not been evaluated. "
                f"`selfsight evaluate {run.path}` fits the probes and the controls."
            )
        elif not run.results.summary.values:
            missing.append(f"{start}results.json holds no summary, so there is nothing to chart.")
    if contents.several and {name for name, _ in differing_settings(contents.runs)} == {"seed"}:
        first, *others = [str(run.path) for run in contents.runs]
        missing.append(
            "These runs differ in the seed of the training alone. "
            f"`selfsight evaluate {first} --replicates {' '.join(others)}` makes them one row, "
            "with intervals that cover seeds."
        )
    return {
        "several": contents.several,
        "fixed": _fixed_beforehand(contents),
        "questions": [
            {"series": question.series, "panels": panels, "table": results_table(question)}
            for at, question in enumerate(contents.questions)
            for panels in [_panels(question, at, page)]
        ],
        "by_label": [
            table for run in contents.runs for table in label_tables(run, contents.several)
        ],
        "missing": missing,
    }


def _fixed_beforehand(contents: ReportContents) -> str:
    """Which verdict stands alone, as the results say it; a model has no such control."""
    gaps = [gap for run in contents.runs if run.results for gap in run.results.summary.differences]
    primary = [gap for gap in gaps if gap.primary]
    if primary:
        pairs = dict.fromkeys((gap.probe, gap.control) for gap in primary)
        shown = listed(
            [
                f"{vocabulary.probe(probe).phrase} beside {vocabulary.subject(control).phrase}"
                for probe, control in pairs
            ]
        )
        each = " of each target" if len({gap.target for gap in primary}) > 1 else ""
        return f"One verdict{each} was fixed beforehand: {shown}, with the most labels."
    if any(gap.control in ("start", "untrained") for gap in gaps):
        return ""  # whose file does not say it
    return "No verdict was fixed beforehand: there is neither a start nor an untrained backbone."


def _panels(question: Question, at: int, page: Page) -> list[Values]:
    """A chart for each probe; none where no label is read."""
    panels = []
    title = vocabulary.metric(question.metric).title
    for place, probe in enumerate(question.probes if question.shares else []):
        ends = []
        for series in question.series:
            of_series = [question.value(series, probe, fraction) for fraction in question.fractions]
            known = [value_text(question.metric, v.mean) for v in of_series if v is not None]
            if known:
                ends.append(f"{series.name} {', '.join(known)}")
        name = vocabulary.probe(probe).title
        label = f"{title} over the number of labels, {name}: {'; '.join(ends)}."
        chart = results_figure(question, probe)
        panels.append({"name": name, "plot": page.plot(f"results-{at}-{place}", chart, label)})
    return panels


def results_figure(question: Question, probe: str | None) -> Figure:
    """Metric over the share of labels, one line for each subject, whiskers: 95 % intervals."""
    percent = in_percent(question.metric)
    scale = 100.0 if percent else 1.0
    drawn = [
        s for s in question.series if any(question.value(s, probe, f) for f in question.shares)
    ]
    traces = []
    # controls first, so that the trained representation lies on top of them
    for at, series in sorted(enumerate(drawn), key=lambda pair: pair[1].trained):
        points = [
            (x + min(0.05, 0.5 / len(drawn)) * (at - (len(drawn) - 1) / 2), value)
            for x, fraction in enumerate(question.shares)
            if (value := question.value(series, probe, fraction)) and value.mean is not None
        ]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [x for x, _ in points],
                "y": [rounded(scale * (value.mean or 0.0)) for _, value in points],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [_reach(v.mean, v.high, scale) for _, v in points],
                    "arrayminus": [_reach(v.low, v.mean, scale) for _, v in points],
                    "thickness": 2 if series.trained else 1.2,
                    "width": 4,
                    "color": f"var({series.color})",
                },
                "customdata": [_hover(series, value) for _, value in points],
                "hovertemplate": "%{customdata}<extra></extra>",
                "line": {
                    "color": f"var({series.color})",
                    "width": 3 if series.trained else 1.6,
                    "dash": series.dash,
                },
                "marker": {
                    "color": f"var({series.color})",
                    "size": 9 if series.trained else 7,
                    "symbol": series.symbol,
                },
            }
        )
    low, high = _range(question, scale, percent)
    ticks = [_tick(question, probe, fraction) for fraction in question.shares]
    return figure(
        traces,
        340,
        xaxis=axis(
            "labels",
            tickvals=list(range(len(ticks))),
            ticktext=ticks,
            range=[-0.35, len(ticks) - 0.65],
            showgrid=False,
        ),
        yaxis=axis(
            f"cut at {number(LOWEST_R2)}" if question.metric == "r2" and low < LOWEST_R2 else "",
            ticksuffix=" %" if percent else "",
            range=[low, high],
        ),
        margin={"l": 56, "r": 12, "t": 12, "b": 64},
    )


def _reach(low: float | None, high: float | None, scale: float) -> float:
    if low is None or high is None:
        return 0.0
    return rounded(max(0.0, scale * (high - low))) or 0.0


def _range(question: Question, scale: float, percent: bool) -> tuple[float, float]:
    """One range for all probes of a question, so that panels side by side compare."""
    ends = [
        scale * end
        for value in question.values.values()
        if value.fraction is not None
        for end in (value.low, value.mean, value.high)
        if end is not None and math.isfinite(end)
    ]
    if not ends:
        return 0.0, 1.0
    if question.metric == "r2":
        ends = [max(end, LOWEST_R2) for end in ends]
    margin = 0.06 * (max(ends) - min(ends)) or 0.05 * scale
    low, high = min(ends) - margin, max(ends) + margin
    return (max(0.0, low), min(102.0, high)) if percent else (low, high)


def _tick(question: Question, probe: str | None, fraction: float) -> str:
    count = question.labels(probe, fraction)
    return fraction_text(question.share(probe, fraction)) + (
        f"<br>{number(count)}" if count is not None else ""
    )


def _hover(series: Series, value: Value) -> str:
    between = interval_text(value.metric, value.low, value.high)
    return (
        f"<b>{escaped(series.name)}</b><br>{value_text(value.metric, value.mean)}"
        + (f" ({between})" if between else "")
        + f"<br>{share_text(value.share)}"
    )
