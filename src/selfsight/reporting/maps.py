"""The embedding map: points, their colours and their thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.reporting.figures import Figure, escaped, figure, rounded


def map_figure(places: NDArray[Any], categories: Sequence[tuple[str, NDArray[np.int64]]]) -> Figure:
    """The embedding map: one trace a category, each point knows its row in the sprite sheet."""
    traces = []
    for at, (name, rows) in enumerate(categories):
        color = "--other-names" if name == "other" and at == 9 else f"--class-{at % 10}"
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": escaped(name),
                "x": [rounded(x) for x in places[rows, 0]],
                "y": [rounded(y) for y in places[rows, 1]],
                "customdata": rows.tolist(),
                "hoverinfo": "none",
                "marker": {
                    "color": f"var({color})",
                    "size": 7,
                    "opacity": 0.85,
                    "symbol": ("circle", "diamond", "square")[at // 10 % 3],
                    "line": {"width": 0.5, "color": "var(--card)"},
                },
            }
        )
    return _map_layout(traces)


def number_map_figure(places: NDArray[Any], values: NDArray[np.float64]) -> Figure:
    """The embedding map of a number: Viridis from low to high, grey where unknown."""
    known, unknown = np.flatnonzero(np.isfinite(values)), np.flatnonzero(~np.isfinite(values))
    traces = []
    looks: tuple[tuple[Any, dict[str, Any]], ...] = (
        (unknown, {"color": "var(--other-names)"}),
        (
            known,
            {
                "color": [rounded(v) for v in values[known]],
                "colorscale": "Viridis",
                "colorbar": {"thickness": 10, "outlinewidth": 0},
            },
        ),
    )
    for rows, marker in looks:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [rounded(x) for x in places[rows, 0]],
                "y": [rounded(y) for y in places[rows, 1]],
                "customdata": rows.tolist(),
                "hoverinfo": "none",
                "marker": {"size": 7, "opacity": 0.85, **marker},
            }
        )
    return _map_layout(traces)


def _map_layout(traces: list[dict[str, Any]]) -> Figure:
    bare: dict[str, Any] = {"visible": False, "zeroline": False}
    return figure(
        traces,
        560,
        xaxis=bare,
        yaxis={**bare, "scaleanchor": "x"},
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        dragmode="zoom",
        hovermode="closest",
    )
