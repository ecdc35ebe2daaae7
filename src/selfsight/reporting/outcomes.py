"""Single outcomes behind the numbers: confusions of classes, predicted numbers, choices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.reporting.figures import (
    Figure,
    axis,
    confusion_figure,
    escaped,
    figure,
    rounded,
)
from selfsight.reporting.questions import PROBE_ORDER
from selfsight.reporting.reading import Confusion, RunContents
from selfsight.reporting.wording import number, probe_name, share_text
from selfsight.runs.folder import RunFolder

Section = dict[str, Any]
MOST_POINTS = 800


def confusion_sections(runs: Sequence[RunContents], figures: dict[str, Figure]) -> list[Section]:
    """One confusion matrix for each run, data set and target: of the headline's probe."""
    sections: list[Section] = []
    for index, run in enumerate(runs):
        best: dict[tuple[str | None, str | None], Confusion] = {}
        for confusion in sorted(run.results.confusion if run.results else [], key=_order):
            best.setdefault((confusion.data, confusion.target), confusion)
        for at, confusion in enumerate(best.values()):
            counts = np.array(confusion.matrix)
            if counts.ndim != 2 or counts.shape != (len(confusion.names),) * 2:
                raise ValueError(
                    f"{RunFolder(run.path).results} is damaged: a confusion matrix has another "
                    "number of rows than of names."
                )
            name = f"confusion-{index}-{at}"
            figures[name] = confusion_figure(counts, confusion.names)
            share = share_text(confusion.label_fraction)
            start = f"{run.name}: " if len(runs) > 1 else ""
            title = (
                f"{start}Which classes are taken for which: “{confusion.target}”, "
                f"{probe_name(confusion.probe)}, trained, {share}"
            )
            sections.append({"id": name, "title": title, "most": _most_confused(confusion)})
    return sections


def number_sections(runs: Sequence[RunContents], figures: dict[str, Figure]) -> list[Section]:
    """Predicted against true numbers and the residuals, of the trained representation."""
    sections: list[Section] = []
    for index, run in enumerate(runs):
        path = RunFolder(run.path).predictions
        values = run.results.summary.values if run.results else []
        places = dict.fromkeys(
            (v.data, v.target) for v in values if v.task == "number" and v.subject == "trained"
        )
        if not places or not path.is_file():
            continue
        for at, (data, target) in enumerate(places):
            mine = [
                (v.probe, v.label_fraction)
                for v in values
                if (v.data, v.target, v.subject) == (data, target, "trained") and v.label_fraction
            ]
            if not mine:
                continue
            probe, share = sorted(mine, key=lambda pair: (-(pair[1] or 0.0), _place(pair[0])))[0]
            found = _predicted(path, data, target, probe, share)
            if found is None:
                continue
            truth, guess = found
            start = f"{run.name}: " if len(runs) > 1 else ""
            title = f"{start}Predicted “{target}”, {probe_name(probe)}, "
            title += share_text(share)
            for kind, y, y_title in (
                ("predicted", guess, "predicted"),
                ("residual", guess - truth, "predicted − true"),
            ):
                name = f"{kind}-{index}-{at}"
                figures[name] = _scatter(truth, y, y_title, kind == "predicted", index)
                what = title if kind == "predicted" else f"{start}Its residuals"
                sections.append({"id": name, "title": what})
    return sections


def _order(confusion: Confusion) -> tuple[int, float]:
    return _place(confusion.probe), -(confusion.label_fraction or 0.0)


def _place(probe: str | None) -> int:
    return PROBE_ORDER.index(probe) if probe in PROBE_ORDER else len(PROBE_ORDER)


def _most_confused(confusion: Confusion) -> str:
    counts = np.array(confusion.matrix)
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    if not wrong.any():
        return "No image was taken for another class."
    true, seen = np.unravel_index(int(wrong.argmax()), wrong.shape)
    return (
        f"Most often taken for another: “{confusion.names[true]}” for “{confusion.names[seen]}”, "
        f"{number(int(wrong[true, seen]))} of {number(int(counts[true].sum()))} images."
    )


def _predicted(
    path: Path, data: str | None, target: str | None, probe: str | None, share: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Truth and output of the first number and the first label draw, at most `MOST_POINTS`."""
    import pyarrow.parquet as pq

    wanted = {"data": data, "target": target, "probe": probe, "subject": "trained"}
    try:
        table = pq.read_table(
            path,
            columns=["label_fraction", "label_seed", "output", "truth"],
            filters=[(name, "==", value) for name, value in wanted.items() if value is not None],
        )
        kept = np.flatnonzero(np.isclose(table["label_fraction"].to_numpy(), share or 0.0))
        if not len(kept):
            return None
        seeds = table["label_seed"].to_numpy()[kept]
        rows = table.take(kept[seeds == seeds.min()])
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
