"""How the training went: loss, its terms, kNN on validation and effective rank."""

from __future__ import annotations

import math

from selfsight.records.collapse import collapsed
from selfsight.reporting.figures import curves_figure
from selfsight.reporting.page import Page, Values
from selfsight.reporting.report.contents import RunContents
from selfsight.reporting.report.questions import ReportContents
from selfsight.reporting.words import number

ORDER = 50
TITLE = "Training"
BOOKKEEPING = ("step", "epoch", "progress", "lr", "loss", "knn", "effective_rank", "spread")
"""Columns of ``metrics.csv`` that are no term of a loss."""
MOST_TERMS = 8
MISSING = "There is no metrics.csv, so the curves are not known."
UNCHANGED = "Nothing was trained here: the run took its weights as they were."

Metrics = dict[str, list[float | None]]


def values(contents: ReportContents, page: Page) -> Values:
    """The curves, those of several runs in one chart."""
    loss = _curve(contents, page, "loss", "Loss", "loss", "Of single batches.")
    terms = None if contents.several else _terms(contents.runs[0].metrics or {}, page)
    knn = _curve(
        contents,
        page,
        "knn",
        "kNN on validation",
        "kNN",
        "Accuracy of the nearest neighbours from train, only watched: nothing is chosen by it.",
        percent=True,
    )
    rank = _curve(
        contents,
        page,
        "effective_rank",
        "Effective rank",
        "rank",
        "How many directions the representations use; near one, they have collapsed.",
    )
    return {
        "several": contents.several,
        "runs": [(f"--run-{at % 6}", run.name) for at, run in enumerate(contents.runs)],
        "curves": [curve for curve in (loss, terms, knn, rank) if curve],
        "missing": [
            contents.start(run) + (UNCHANGED if run.unchanged else MISSING)
            for run in contents.runs
            if not run.metrics
        ],
    }


def collapse_warning(run: RunContents) -> str | None:
    """A plain sentence where the representations of the last epoch have collapsed."""
    measured = {}
    for name in ("effective_rank", "spread"):
        rows = _known(run.metrics or {}, name)
        if rows:
            measured[name] = (run.metrics or {})[name][rows[-1]] or 0.0
    if not collapsed(measured):
        return None
    rank = measured.get("effective_rank")
    start = "" if rank is None else f"The effective rank ended at {number(rank)}. "
    return (
        f"{start}To the backbone, all images look nearly the same, so its results are worth "
        "little. Try a lower learning rate, a larger batch or another method."
    )


def _curve(
    contents: ReportContents,
    page: Page,
    column: str,
    title: str,
    label: str,
    note: str,
    percent: bool = False,
) -> Values | None:
    """A column of ``metrics.csv`` over the epochs, a line a run."""
    lines = []
    for index, run in enumerate(contents.runs):
        metrics = run.metrics or {}
        rows = _known(metrics, column)
        if rows:
            x = [_epoch(metrics, row) for row in rows]
            y = [metrics[column][row] for row in rows]
            lines.append((run.name if contents.several else label, f"--run-{index % 6}", x, y))
    if not lines:
        return None
    ends = [f"{name}: last value {number(y[-1])}" for name, _, _, y in lines]
    drawn = curves_figure(lines, "epoch", percent=percent, markers=column != "loss")
    plot = page.plot(f"curve-{column}", drawn, f"{title}. {'; '.join(ends)}.")
    return {"title": title, "plot": plot, "legend": [], "note": note}


def _terms(metrics: Metrics, page: Page) -> Values | None:
    names = [name for name in metrics if name not in BOOKKEEPING and _known(metrics, name)]
    if len(names) < 2:
        return None
    lines, legend = [], []
    for at, name in enumerate(names[:MOST_TERMS]):
        rows = _known(metrics, name)
        x = [_epoch(metrics, row) for row in rows]
        lines.append((name, f"--class-{at}", x, [metrics[name][row] for row in rows]))
        legend.append((f"--class-{at}", name))
    drawn = curves_figure(lines, "epoch")
    plot = page.plot("curve-terms", drawn, f"Terms of the loss: {', '.join(names[:MOST_TERMS])}.")
    return {"title": "Terms of the loss", "plot": plot, "legend": legend, "note": ""}


def _known(metrics: Metrics, column: str) -> list[int]:
    column_values = metrics.get(column, [])
    return [row for row, v in enumerate(column_values) if v is not None and math.isfinite(v)]


def _epoch(metrics: Metrics, row: int) -> float | None:
    """Epochs passed at a row, with the share of the running one where progress gives it."""
    progress, epochs = metrics.get("progress"), metrics.get("epoch")
    last = [epoch for epoch in epochs or [] if epoch is not None]
    if progress and last and progress[row] is not None and progress[-1]:
        whole = (max(last) + 1) / progress[-1] if progress[-1] >= 0.999 else None
        if whole:
            return round((progress[row] or 0.0) * whole, 3)
    return epochs[row] if epochs else float(row)
