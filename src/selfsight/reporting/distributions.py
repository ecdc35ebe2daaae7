"""The targets of each split, as one chart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from selfsight.reporting.figures import (
    MOST_BARS,
    Figure,
    axis,
    escaped,
    figure,
    rounded,
    shortened,
)
from selfsight.reporting.reading import Splits
from selfsight.reporting.wording import number

MOST_NAMES = 250


def distribution_figure(splits: Splits) -> tuple[Figure, int] | None:
    """The targets of each split, and how many names are shown; None where none is known."""
    if splits.kind == "number":
        return _histogram(splits), 0
    sides = [side for side in splits.images if splits.labelled.get(side)]
    if not sides:
        return None
    names = _by_size(splits)
    if len(names) > MOST_NAMES:
        return _images_a_name(splits, sides), 0
    named = len(names) <= MOST_BARS
    traces = []
    for side in sides:
        counts = [splits.shares[side].get(name, 0) for name in names]
        whole = splits.labelled[side]
        look: dict[str, Any] = {"type": "bar", "marker": {"color": f"var(--split-{side})"}}
        if not named:
            color = f"var(--split-{side})"
            look = {"type": "scatter", "mode": "markers", "marker": {"color": color, "size": 5}}
        traces.append(
            {
                **look,
                "x": list(range(len(names))),
                "y": [rounded(100 * count / whole) for count in counts],
                "customdata": [
                    f"{escaped(name)}<br>{side}: {number(count)} of {number(whole)}"
                    for name, count in zip(names, counts, strict=True)
                ],
                "hovertemplate": "%{customdata} (%{y:.1f} %)<extra></extra>",
            }
        )
    ticks: dict[str, Any] = {"showticklabels": False}
    if named:
        ticks = {
            "tickvals": list(range(len(names))),
            "ticktext": [shortened(name, 22) for name in names],
            "ticklabeloverflow": "allow",
        }
        if sum(map(len, names)) > 90:
            ticks["tickangle"] = -40
    made = figure(
        traces,
        300 if max(map(len, names), default=0) < 9 else 360,
        xaxis=axis("" if named else f"{len(names)} names, most frequent first", showgrid=False)
        | ticks,
        yaxis=axis("share of the split", ticksuffix=" %", rangemode="tozero"),
        bargap=0.25,
        bargroupgap=0.05,
    )
    return made, len(names)


def together_figure(together: dict[str, dict[str, int]]) -> Figure:
    """Of the train images with the label of a row, the share that has a column's label too."""
    names = sorted(together, key=_natural)
    labels = [shortened(name, 20) for name in names]
    ticks = {"tickvals": list(range(len(names))), "ticktext": labels}
    shares, text = [], []
    for a in names:
        counts = together[a]
        shares.append([rounded(100 * counts.get(b, 0) / counts[a]) for b in names])
        text.append(
            [f"{escaped(a)} and {escaped(b)}<br>{number(counts.get(b, 0))} images" for b in names]
        )
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": shares,
        "customdata": text,
        "hovertemplate": "%{customdata} (%{z:.1f} %)<extra></extra>",
        "colorscale": [[0, "var(--card)"], [1, "var(--split-train)"]],
        "zmin": 0,
        "zmax": 100,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    if len(names) <= 12:
        trace["text"] = [[f"{v:.0f}" if v and v >= 0.5 else "" for v in row] for row in shares]
        trace["texttemplate"] = "%{text}"
    return figure(
        [trace],
        max(300, min(560, 120 + 34 * len(names))),
        xaxis=axis("has also", showgrid=False, **ticks),
        yaxis=axis("of the images with", showgrid=False, autorange="reversed", **ticks),
    )


def _histogram(splits: Splits) -> Figure:
    """The first number of the target in each split, over the same bins."""
    first = {side: values[:, 0] for side, values in splits.numbers.items()}
    known = {side: v[np.isfinite(v)] for side, v in first.items() if np.isfinite(v).any()}
    everything = np.concatenate(list(known.values())) if known else np.zeros(1)
    whole = np.unique(everything)
    if len(whole) <= 12 and np.array_equal(whole, np.round(whole)):
        edges = np.arange(whole[0] - 0.5, whole[-1] + 1.0)
    else:
        edges = np.histogram_bin_edges(everything, bins=24)
    counts = {side: np.histogram(values, edges)[0].tolist() for side, values in known.items()}
    return bins_figure(edges.tolist(), counts)


def bins_figure(edges: Sequence[float], counts: dict[str, list[int]]) -> Figure:
    """Images in each bin of a number, as a share of each split.

    Args:
        edges: ``n + 1`` of the bins.
        counts: split -> ``n`` counts.
    """
    traces = []
    for side, of_bins in counts.items():
        whole = max(1, sum(of_bins))
        traces.append(
            {
                "type": "bar",
                "x": [rounded((low + high) / 2) for low, high in pairwise(edges)],
                "y": [rounded(100 * count / whole) for count in of_bins],
                "marker": {"color": f"var(--split-{side})"},
                "customdata": [
                    f"{number(low)} to {number(high)}<br>{side}: {number(count)} of {number(whole)}"
                    for (low, high), count in zip(pairwise(edges), of_bins, strict=True)
                ],
                "hovertemplate": "%{customdata} (%{y:.1f} %)<extra></extra>",
            }
        )
    return figure(
        traces,
        300,
        xaxis=axis("value", showgrid=False),
        yaxis=axis("share of the split", ticksuffix=" %", rangemode="tozero"),
        bargap=0.1,
    )


def _images_a_name(splits: Splits, sides: Sequence[str]) -> Figure:
    """For targets of very many names: how many names have 1, 2, 3... images."""
    traces = []
    for side in sides:
        sizes, counts = np.unique(list(splits.shares[side].values()), return_counts=True)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": sizes.tolist(),
                "y": counts.tolist(),
                "marker": {"color": f"var(--split-{side})", "size": 6},
                "hovertemplate": f"{side}: %{{y}} names with %{{x}} images<extra></extra>",
            }
        )
    return figure(
        traces,
        300,
        xaxis=axis("images of a name", type="log", showgrid=False),
        yaxis=axis("names", type="log"),
    )


def _by_size(splits: Splits) -> list[str]:
    """Names in natural order where they are few, else the most frequent first."""
    total: dict[str, int] = {}
    for counts in splits.shares.values():
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    if len(total) <= MOST_BARS:
        return sorted(total, key=_natural)
    return sorted(total, key=lambda name: -total[name])


def _natural(name: str) -> tuple[int, float, str]:
    return (0, float(name), "") if name.isdigit() else (1, 0.0, name)
