"""Charts as plain Plotly dictionaries; colours are custom properties of the style sheet.

The page's script replaces ``var(--name)`` by the colour of the reader's theme before it draws.
Text from files goes through `escaped`: Plotly reads a subset of HTML in its labels.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.reporting.questions import Question, Series
from selfsight.reporting.wording import (
    fraction_text,
    in_percent,
    interval_text,
    number,
    share_text,
    value_text,
)

Figure = dict[str, Any]
MOST_POINTS = 1500
MOST_BARS = 40
LOWEST_R2 = -1.0
MOST_CATEGORIES = 250


def escaped(text: object) -> str:
    """Text that Plotly shows as it is."""
    return html.escape(str(text), quote=False)


def shortened(text: object, length: int = 28) -> str:
    """Text cut to a length that an axis has room for."""
    text = str(text)
    return escaped(text if len(text) <= length else f"{text[: length - 1]}…")


def figure(data: list[dict[str, Any]], height: int, **layout: Any) -> Figure:
    """A figure in the page's look."""
    shared: dict[str, Any] = {
        "height": height,
        "showlegend": False,
        "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "var(--muted)"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {
            "bgcolor": "var(--card)",
            "bordercolor": "var(--line)",
            "font": {"color": "var(--ink)", "size": 13},
            "align": "left",
        },
        "dragmode": False,
    }
    return {"data": data, "layout": {**shared, **layout}}


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """An axis with thin lines; zooming is off so that a swipe scrolls the page."""
    return {
        "title": {"text": title, "standoff": 8, "font": {"size": 13}},
        "gridcolor": "var(--line)",
        "linecolor": "var(--line)",
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
        **more,
    }


def results_figure(question: Question, probe: str | None) -> Figure:
    """Metric over the share of labels, one line for each weights, whiskers: 95 % intervals."""
    percent = in_percent(question.metric)
    scale = 100.0 if percent else 1.0
    drawn = [
        s for s in question.series if any(question.value(s, probe, f) for f in _known(question))
    ]
    traces = []
    # controls first, so that the trained representation lies on top of them
    for at, series in sorted(enumerate(drawn), key=lambda pair: pair[1].trained):
        points = [
            (x + min(0.05, 0.5 / len(drawn)) * (at - (len(drawn) - 1) / 2), value, fraction)
            for x, fraction in enumerate(_known(question))
            if (value := question.value(series, probe, fraction)) and value.mean is not None
        ]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [x for x, _, _ in points],
                "y": [rounded(scale * (value.mean or 0.0)) for _, value, _ in points],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [_reach(v.mean, v.high, scale) for _, v, _ in points],
                    "arrayminus": [_reach(v.low, v.mean, scale) for _, v, _ in points],
                    "thickness": 2 if series.trained else 1.2,
                    "width": 4,
                    "color": f"var({series.color})",
                },
                "customdata": [
                    _hover(series, question, value.mean, value.low, value.high, fraction)
                    for _, value, fraction in points
                ],
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
    ticks = [_tick(question, probe, fraction) for fraction in _known(question)]
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


def curves_figure(
    lines: Sequence[tuple[str, str, list[float | None], list[float | None]]],
    x_title: str,
    percent: bool = False,
    height: int = 260,
    markers: bool = False,
    log: bool = False,
) -> Figure:
    """Curves over epochs or steps: ``(name, colour, x, y)`` each; thinned to `MOST_POINTS`."""
    traces = []
    for name, color, x, y in lines:
        stride = max(1, math.ceil(len(x) / MOST_POINTS))
        scale = 100.0 if percent else 1.0
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if markers and len(x) <= 60 else "lines",
                "name": escaped(name),
                "x": [rounded(value) for value in x[::stride]],
                "y": [rounded(None if v is None else scale * v) for v in y[::stride]],
                "line": {"color": f"var({color})", "width": 2},
                "marker": {"size": 5},
                "connectgaps": False,
                "hovertemplate": f"{escaped(name).replace('%{', '% {')} %{{y:.4~g}}"
                + (" %" if percent else "")
                + "<extra></extra>",
            }
        )
    last = max((value or 0.0 for _, _, x, _ in lines for value in x), default=0.0)
    return figure(
        traces,
        height,
        xaxis=axis(x_title, showgrid=False, **({"dtick": 1} if last <= 8 else {})),
        yaxis=axis(ticksuffix=" %" if percent else "", type="log" if log else "linear"),
        hovermode="x unified",
    )


def confusion_figure(counts: NDArray[Any], names: Sequence[str]) -> Figure:
    """Rows: the true class; columns: what was predicted; each row sums to 100 %."""
    counts = np.asarray(counts, np.float64)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    labels = [shortened(name, 20) for name in names]
    places = list(range(len(labels)))
    ticks = {"tickvals": places, "ticktext": labels} if len(labels) <= MOST_BARS else {}
    text = [
        [
            f"{escaped(true)} taken for {escaped(seen)}<br>{number(int(counts[i, j]))} images"
            for j, seen in enumerate(names)
        ]
        for i, true in enumerate(names)
    ]
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": [[rounded(v) for v in row] for row in shares],
        "x": places,
        "y": places,
        "customdata": text,
        "hovertemplate": "%{customdata} (%{z:.1f} %)<extra></extra>",
        "colorscale": [[0, "var(--card)"], [1, "var(--run-0)"]],
        "zmin": 0,
        "zmax": 100,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    if len(labels) <= 12:
        trace["text"] = [[f"{v:.0f}" if v >= 0.5 else "" for v in row] for row in shares]
        trace["texttemplate"] = "%{text}"
    side = max(320, min(560, 120 + 36 * len(labels)))
    return figure(
        [trace],
        side,
        xaxis=axis("predicted", showgrid=False, **ticks),
        yaxis=axis("true", showgrid=False, autorange="reversed", **ticks),
    )


def rounded(value: float | None) -> float | None:
    """Five significant digits; None for what JSON has no number for."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.5g}")


def _known(question: Question) -> list[float]:
    return [fraction for fraction in question.fractions if fraction is not None]


def _reach(low: float | None, high: float | None, scale: float) -> float:
    if low is None or high is None:
        return 0.0
    return rounded(max(0.0, scale * (high - low))) or 0.0


def _range(question: Question, scale: float, percent: bool) -> tuple[float, float]:
    """One range for all probes of a question, so that panels side by side compare."""
    ends = [
        scale * end
        for value in question.values.values()
        if value.label_fraction is not None
        for end in (value.low, value.mean, value.high)
        if end is not None and math.isfinite(end)
    ]
    if not ends:
        return 0.0, 1.0
    if question.metric == "r2":  # how far below -1 it lies tells nothing
        ends = [max(end, LOWEST_R2) for end in ends]
    margin = 0.06 * (max(ends) - min(ends)) or 0.05 * scale
    low, high = min(ends) - margin, max(ends) + margin
    return (max(0.0, low), min(102.0, high)) if percent else (low, high)


def _tick(question: Question, probe: str | None, fraction: float) -> str:
    count = question.labels(probe, fraction)
    return fraction_text(fraction) + (f"<br>{number(count)}" if count is not None else "")


def _hover(
    series: Series,
    question: Question,
    mean: float | None,
    low: float | None,
    high: float | None,
    fraction: float,
) -> str:
    between = interval_text(question.metric, low, high)
    return (
        f"<b>{escaped(series.name)}</b><br>{value_text(question.metric, mean)}"
        + (f" ({between})" if between else "")
        + f"<br>{share_text(fraction)}"
    )
