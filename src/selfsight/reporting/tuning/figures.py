"""The charts of a study: history, curves, importances, parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from selfsight import vocabulary
from selfsight.reporting.figures import axis, escaped, figure, rounded, shortened
from selfsight.reporting.page import Figure
from selfsight.reporting.tuning.names import unit_name
from selfsight.vocabulary import in_percent, value_text

Row = Mapping[str, Any]
STATES = {
    "complete": ("--run-0", "circle", "complete"),
    "stopped early": ("--run-2", "circle", "complete, stopped early"),
    "pruned": ("--untrained", "x-thin-open", "pruned"),
}
"""Colour, sign and name of trials by how they ended."""
MOST_CURVES = 200


def history_figure(study: Mapping[str, Any], rows: Sequence[Row]) -> Figure:
    """The value of each completed trial, and the best one so far."""
    scale, unit = _unit(study)
    best: list[tuple[int, float]] = []
    sign = 1 if study["mode"] == "highest" else -1
    for row in rows:
        if row["value"] is not None and (not best or sign * (row["value"] - best[-1][1]) > 0):
            best.append((row["number"], row["value"]))
    last = max((row["number"] for row in rows), default=0)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [x for x, _ in best] + [last],
            "y": [rounded(scale * y) for _, y in best] + [rounded(scale * best[-1][1])],
            "line": {"shape": "hv", "color": "var(--ink)", "width": 1.5},
            "hovertemplate": "best so far %{y:.4~g}" + unit + "<extra></extra>",
        }
        if best
        else {"type": "scatter", "x": [], "y": []}
    ]
    low = min((scale * row["value"] for row in rows if row["value"] is not None), default=0.0)
    for kind, (color, symbol, name) in STATES.items():
        here = [row for row in rows if _kind(row) == kind]
        if not here:
            continue
        pruned = kind == "pruned"
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [row["number"] for row in here],
                "y": [low if pruned else rounded(scale * row["value"]) for row in here],
                "marker": {
                    "color": f"var({color})",
                    "size": 7,
                    "symbol": symbol,
                    "line": {"width": 1.5, "color": f"var({color})"},
                },
                "customdata": [_hover(row, study) for row in here],
                "hovertemplate": "%{customdata}<extra></extra>",
                "name": name,
            }
        )
    return figure(
        traces,
        340,
        xaxis=axis("trial (pruned ones at the lower edge)", showgrid=False),
        yaxis=axis(ticksuffix=unit),
    )


def importances_figure(importances: Mapping[str, float]) -> Figure:
    """A bar a setting, the most important on top."""
    names = list(importances)[:20]
    return figure(
        [
            {
                "type": "bar",
                "orientation": "h",
                "x": [rounded(importances[name]) for name in names],
                "y": [shortened(name) for name in names],
                "marker": {"color": "var(--run-0)"},
                "hovertemplate": "%{y}: %{x:.2f}<extra></extra>",
            }
        ],
        90 + 24 * len(names),
        xaxis=axis("importance"),
        yaxis=axis(autorange="reversed", showgrid=False),
    )


def parallel_figure(study: Mapping[str, Any], rows: Sequence[Row]) -> Figure:
    """A line a completed trial through its settings to its value."""
    scale, unit = _unit(study)
    done = [row for row in rows if row["value"] is not None]
    order = sorted(
        study["searched"], key=lambda name: study["importances"].get(name, 0.0), reverse=True
    )
    dimensions = [_dimension(name, study["space"][name], done) for name in order[:12]]
    values = [rounded(scale * row["value"]) for row in done]
    label = vocabulary.metric(study["metric"]).title + ("," + unit if unit else "")
    dimensions.append({"label": label, "values": values})
    colors = ["var(--line)", "var(--run-0)"]
    trace = {
        "type": "parcoords",
        "dimensions": dimensions,
        "line": {
            "color": values,
            "colorscale": [[0, colors[0]], [1, colors[1]]],
            "reversescale": study["mode"] == "lowest",
        },
        "labelangle": -20,
        "labelside": "bottom",
        "labelfont": {"size": 12, "color": "var(--ink)"},
        "tickfont": {"size": 11, "color": "var(--muted)"},
        "rangefont": {"size": 1, "color": "rgba(0,0,0,0)"},
    }
    return figure([trace], 440, margin={"l": 64, "r": 64, "t": 24, "b": 96})


def trials_figure(
    study: Mapping[str, Any], rows: Sequence[Row], curves: Mapping[int, list[float | None]]
) -> Figure:
    """The value over the epochs of each trial; where it ends, it was stopped or pruned."""
    scale, unit = _unit(study)
    traces: list[dict[str, Any]] = []
    of_number = {row["number"]: row for row in rows}
    best = study["best"]["number"]
    shown = sorted(curves, reverse=True)[:MOST_CURVES]
    for key in sorted(shown, key=lambda key: (key == best, _kind(of_number[key]) != "pruned")):
        row, curve = of_number[key], curves[key]
        color, _, name = STATES.get(_kind(row), STATES["pruned"])
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": list(range(1, len(curve) + 1)),
                "y": [None if value is None else rounded(scale * value) for value in curve],
                "line": {"color": f"var({color})", "width": 3 if key == best else 1},
                "opacity": 1.0 if key == best else 0.45,
                "marker": {"size": [0] * (len(curve) - 1) + [6]},
                "name": f"trial {key}",
                "hovertemplate": f"trial {key}, {escaped(name)}: %{{y:.4~g}}{unit}"
                + "<extra></extra>",
            }
        )
    most = max((len(curve) for curve in curves.values()), default=0)
    return figure(
        traces,
        360,
        xaxis=axis(unit_name(study), showgrid=False, **({"dtick": 1} if most <= 8 else {})),
        yaxis=axis(ticksuffix=unit),
        hovermode="closest",
    )


def _dimension(name: str, text: str, rows: Sequence[Row]) -> dict[str, Any]:
    """An axis: numbers to scale, whole ones and choices with a tick for each."""
    values = [row[name] for row in rows]
    label = shortened(name.rpartition(".")[2], 18)
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if numbers and text.startswith("log("):
        logs = [math.log10(v) for v in values]
        ticks = _log_ticks(min(logs), max(logs))
        return {
            "label": label,
            "values": [rounded(v) for v in logs],
            "tickvals": [rounded(math.log10(tick)) for tick in ticks],
            "ticktext": [f"{tick:g}" for tick in ticks],
        }
    if numbers and ".." in text:
        axis = {"label": label, "values": [rounded(float(v)) for v in values]}
        if all(isinstance(v, int) for v in values) and len(set(values)) <= 10:
            return {**axis, "tickvals": sorted(set(values))}
        return axis
    names = sorted(set(values)) if numbers else list(dict.fromkeys(values))
    return {
        "label": label,
        "values": [names.index(v) for v in values],
        "tickvals": list(range(len(names))),
        "ticktext": [shortened(short(n), 14) for n in names],
    }


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between two logarithms; also twice and five times them where these are few."""
    between = range(math.floor(low), math.ceil(high) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5)):
        ticks = [m * 10.0**e for e in between for m in steps]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(ticks) >= 3:
            break
    return ticks


def _unit(study: Mapping[str, Any]) -> tuple[float, str]:
    return (100.0, " %") if in_percent(study["metric"]) else (1.0, "")


def _kind(row: Row) -> str:
    if row["state"] == "complete" and row["reason"] == "stopped early":
        return "stopped early"
    return str(row["state"])


def _hover(row: Row, study: Mapping[str, Any]) -> str:
    lines = [f"<b>trial {row['number']}</b>, {escaped(row['reason'] or row['state'])}"]
    if row["value"] is not None:
        metric = study["metric"]
        lines.append(f"{vocabulary.metric(metric).title} {value_text(metric, row['value'])}")
    lines += [
        f"{escaped(name.rpartition('.')[2])} {escaped(short(row[name]))}"
        for name in study["searched"]
    ]
    return "<br>".join(lines)


def short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "none" if value is None else str(value)
