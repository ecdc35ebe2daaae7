"""Charts as plain Plotly dictionaries; colours are custom properties of the style sheet.

The page's script replaces ``var(--name)`` by the colour of the reader's theme before it draws.
Text from files goes through `escaped`: Plotly reads a subset of HTML in its labels.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from selfsight.reporting.page import Figure

MOST_POINTS = 1500
MOST_BARS = 40


def escaped(text: object) -> str:
    """Text that Plotly shows as it is."""
    return html.escape(str(text), quote=False)


def shortened(text: object, length: int = 28) -> str:
    """Text cut to a length that an axis has room for."""
    text = str(text)
    return escaped(text if len(text) <= length else f"{text[: length - 1]}…")


def rounded(value: float | None) -> float | None:
    """Five significant digits; None for what JSON has no number for."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.5g}")


def figure(data: list[dict[str, Any]], height: int, **layout: Any) -> Figure:
    """A figure in the look of the page."""
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


def with_colors(figure: Figure) -> Figure:
    """The figure for readers without the page's style sheet: colours of its light theme."""
    return {name: _colored(value) for name, value in figure.items()}


def _colored(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _colored(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_colored(each) for each in value]
    if isinstance(value, str) and value.startswith("var(--"):
        return _light_theme()[value[4:-1]]
    return value


@cache
def _light_theme() -> dict[str, str]:
    """Custom property -> colour, of the first ``:root`` block of the style sheet."""
    text = (files("selfsight.reporting") / "style.css").read_text(encoding="utf-8")
    return dict(re.findall(r"(--[\w-]+):\s*(#\w+);", text.partition("}")[0]))


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


def curves_figure(
    lines: Sequence[tuple[str, str, list[float | None], list[float | None]]],
    x_title: str,
    percent: bool = False,
    markers: bool = False,
) -> Figure:
    """Curves over epochs or steps: ``(name, colour, x, y)`` each; thinned to `MOST_POINTS`."""
    traces = []
    scale, unit = (100.0, " %") if percent else (1.0, "")
    for name, color, x, y in lines:
        stride = max(1, math.ceil(len(x) / MOST_POINTS))
        shown = escaped(name).replace("%{", "% {")
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
                "hovertemplate": f"{shown} %{{y:.4~g}}{unit}<extra></extra>",
            }
        )
    last = max((value or 0.0 for _, _, x, _ in lines for value in x), default=0.0)
    return figure(
        traces,
        260,
        xaxis=axis(x_title, showgrid=False, **({"dtick": 1} if last <= 8 else {})),
        yaxis=axis(ticksuffix=unit),
        hovermode="x unified",
    )


def heatmap_figure(
    shares: Sequence[Sequence[float]],
    hover: Sequence[Sequence[str]],
    names: Sequence[str],
    titles: tuple[str, str],
    color: str,
) -> Figure:
    """A square table of percentages: names by names.

    Args:
        shares: ``(K, K)`` percent.
        hover: ``(K, K)`` text of each cell, escaped.
        names: of rows and columns.
        titles: of the columns and of the rows.
        color: custom property of 100 %.
    """
    places = list(range(len(names)))
    ticks: dict[str, Any] = {}
    if len(names) <= MOST_BARS:
        ticks = {"tickvals": places, "ticktext": [shortened(name, 20) for name in names]}
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": [[rounded(v) for v in row] for row in shares],
        "x": places,
        "y": places,
        "customdata": [list(row) for row in hover],
        "hovertemplate": "%{customdata} (%{z:.1f} %)<extra></extra>",
        "colorscale": [[0, "var(--card)"], [1, f"var({color})"]],
        "zmin": 0,
        "zmax": 100,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    if len(names) <= 12:
        trace["text"] = [[f"{v:.0f}" if v >= 0.5 else "" for v in row] for row in shares]
        trace["texttemplate"] = "%{text}"
    return figure(
        [trace],
        max(320, min(560, 120 + 36 * len(names))),
        xaxis=axis(titles[0], showgrid=False, **ticks),
        yaxis=axis(titles[1], showgrid=False, autorange="reversed", **ticks),
    )
