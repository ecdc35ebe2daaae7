"""Single outcomes behind the numbers: confusions of classes, and predicted numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight import vocabulary
from selfsight.console import counted
from selfsight.records.results import Confusion, variants
from selfsight.reporting.figures import axis, escaped, figure, heatmap_figure, rounded
from selfsight.reporting.page import Figure, Page, Values
from selfsight.reporting.report.contents import RunContents
from selfsight.reporting.report.questions import ReportContents
from selfsight.reporting.words import number, share_text
from selfsight.runs.folder import RunFolder

ORDER = 30
TITLE = "Outcomes"
HEADING = "Outcomes of single images"
MOST_POINTS = 800


def values(contents: ReportContents, page: Page) -> Values | None:
    """Confusion matrices and predicted numbers of the trained representations."""
    confusions = confusion_parts(contents, page)
    predicted = number_parts(contents, page)
    if not confusions and not predicted:
        return None
    return {"confusions": confusions, "predicted": predicted}


def confusion_parts(contents: ReportContents, page: Page) -> list[Values]:
    """One confusion matrix for each run, data set and target: of the headline's probe."""
    parts: list[Values] = []
    for index, run in enumerate(contents.runs):
        best: dict[tuple[str | None, ...], Confusion] = {}
        ways = variants(run.results.evaluations) if run.results else {}
        confusions = run.results.confusion if run.results else []
        for confusion in sorted(confusions, key=lambda c: (_order(c.probe), -(c.fraction or 0.0))):
            place = (confusion.evaluation, confusion.data, confusion.target)
            best.setdefault(place, confusion)
        for at, confusion in enumerate(best.values()):
            counts = np.array(confusion.matrix)
            if counts.ndim != 2 or counts.shape != (len(confusion.names),) * 2:
                raise ValueError(
                    f"{RunFolder(run.path).results} is damaged: a confusion matrix does not have "
                    "as many rows as names."
                )
            title = (
                f"{contents.start(run)}Confusion matrix of “{confusion.target}”: "
                f"{vocabulary.probe(confusion.probe).title}, {share_text(confusion.share)}"
                f"{_after(ways.get(confusion.evaluation))}"
            )
            drawn = confusion_figure(counts, confusion.names)
            plot = page.plot(f"confusion-{index}-{at}", drawn, title)
            parts.append({"title": title, "plot": plot, "most": _most_confused(confusion)})
    return parts


def _after(way: str | None) -> str:
    return f", {way}" if way else ""


def confusion_figure(counts: NDArray[Any], names: list[str]) -> Figure:
    """Rows: the true class; columns: the prediction; each row sums to 100 %."""
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    hover = [
        [
            f"{escaped(true)} predicted as {escaped(seen)}<br>{number(int(counts[i, j]))} images"
            for j, seen in enumerate(names)
        ]
        for i, true in enumerate(names)
    ]
    return heatmap_figure(shares.tolist(), hover, names, ("predicted", "true"), "--run-0")


def _most_confused(confusion: Confusion) -> str:
    counts = np.array(confusion.matrix)
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    if not wrong.any():
        return "Every image was predicted right."
    true, seen = np.unravel_index(int(wrong.argmax()), wrong.shape)
    return (
        f"The most frequent confusion: {number(int(wrong[true, seen]))} of "
        f"{counted(int(counts[true].sum()), 'image')} of “{confusion.names[true]}” were "
        "predicted as "
        f"“{confusion.names[seen]}”."
    )


def number_parts(contents: ReportContents, page: Page) -> list[Values]:
    """Predicted against true numbers and the residuals, of the trained representation."""
    parts: list[Values] = []
    for index, run in enumerate(contents.runs):
        path = RunFolder(run.path).predictions
        if not path.is_file():
            continue
        ways = variants(run.results.evaluations) if run.results else {}
        for at, (evaluation, data, target, probe, share) in enumerate(_fits_of_numbers(run)):
            pair = _predicted(path, evaluation, data, target, probe, share)
            if pair is None:
                continue
            truth, guess = pair
            title = f"{contents.start(run)}Predicted “{target}”: {vocabulary.probe(probe).title}, "
            title += share_text(share) + _after(ways.get(evaluation))
            drawn = _scatter(truth, guess, "predicted", True, index)
            plot = page.plot(f"predicted-{index}-{at}", drawn, title)
            parts.append({"title": title, "plot": plot})
            title = f"{contents.start(run)}Residuals of “{target}”"
            drawn = _scatter(truth, guess - truth, "predicted − true", False, index)
            plot = page.plot(f"residual-{index}-{at}", drawn, title)
            parts.append({"title": title, "plot": plot})
    return parts


def _fits_of_numbers(
    run: RunContents,
) -> list[tuple[str, str | None, str | None, str | None, float]]:
    """Evaluation, data and target of each number; the first probe and the largest share."""
    best: dict[tuple[str, str | None, str | None], tuple[float, int, str | None]] = {}
    for value in run.results.summary.values if run.results else []:
        if value.task == "number" and value.subject == "trained" and value.fraction:
            place = (-value.fraction, _order(value.probe), value.probe)
            here = (value.evaluation, value.data, value.target)
            best[here] = min(best.get(here, place), place, key=lambda entry: entry[:2])
    return [(*here, probe, -share) for here, (share, _, probe) in best.items()]


def _order(probe: str | None) -> int:
    return vocabulary.probe(probe).order


def _predicted(
    path: Path,
    evaluation: str,
    data: str | None,
    target: str | None,
    probe: str | None,
    share: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Truth and output of the first number and the first label draw, at most `MOST_POINTS`."""
    import pyarrow.parquet as pq

    wanted = {"target": target, "probe": probe, "subject": "trained"}
    wanted |= {"evaluation": evaluation} if evaluation else {"data": data}
    try:
        table = pq.read_table(
            path,
            columns=["label_fraction", "label_seed", "output", "truth"],
            filters=[(name, "==", value) for name, value in wanted.items() if value is not None],
        )
        at_share = np.flatnonzero(np.isclose(table["label_fraction"].to_numpy(), share))
        if not len(at_share):
            return None
        seeds = table["label_seed"].to_numpy()[at_share]
        rows = table.take(at_share[seeds == seeds.min()])
        truth, guess = (
            np.array([np.nan if v[0] is None else v[0] for v in rows[name].to_pylist()], np.float64)
            for name in ("truth", "output")
        )
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"{path} is damaged and cannot be read: {error}") from None
    known = np.flatnonzero(np.isfinite(truth) & np.isfinite(guess))
    if not len(known):
        return None
    known = np.random.default_rng(0).permutation(known)[:MOST_POINTS]
    return truth[known], guess[known]


def _scatter(
    truth: NDArray[np.float64], y: NDArray[np.float64], title: str, diagonal: bool, run: int
) -> Figure:
    ends = [float(truth.min()), float(truth.max())]
    line: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": ends,
        "y": ends if diagonal else [0.0, 0.0],
        "line": {"color": "var(--untrained)", "width": 1.5, "dash": "dash"},
        "hoverinfo": "skip",
    }
    points: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": [rounded(v) for v in truth],
        "y": [rounded(v) for v in y],
        "marker": {"color": f"var(--run-{run % 6})", "size": 5, "opacity": 0.45},
        "hovertemplate": f"true %{{x:.4~g}}<br>{escaped(title)} %{{y:.4~g}}<extra></extra>",
    }
    return figure([line, points], 320, xaxis=axis("true"), yaxis=axis(title))
