"""The targets of each split, as one chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from selfsight.reporting.figures import (
    MOST_BARS,
    axis,
    escaped,
    figure,
    heatmap_figure,
    rounded,
    shortened,
)
from selfsight.reporting.page import Figure
from selfsight.reporting.words import number

MOST_NAMES = 250


@dataclass(frozen=True)
class Splits:
    """The targets of each split, counted.

    Attributes:
        images, labelled, groups: split -> count; ``groups`` is empty where there are none.
        target: name of the target.
        kind: of the target; None where no image has one.
        shares: of classes or labels: split -> name -> count.
        numbers: of numbers: split -> ``(N, D)`` float64, NaN unknown.
        together: of labels: ``[a][b]``, train images with both a and b.
    """

    images: dict[str, int]
    labelled: dict[str, int]
    groups: dict[str, int]
    kind: Literal["class", "labels", "number"] | None
    shares: dict[str, dict[str, int]] = field(default_factory=dict)
    numbers: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    together: dict[str, dict[str, int]] = field(default_factory=dict)
    target: str = ""


def distribution_figure(splits: Splits) -> Figure | None:
    """The targets of each split; None where none is known."""
    if splits.kind == "number":
        return _histogram(splits)
    sides = [side for side in splits.images if splits.labelled.get(side)]
    if not sides:
        return None
    names = _by_size(splits)
    if len(names) > MOST_NAMES:
        return _images_a_name(splits, sides)
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
    return figure(
        traces,
        300 if max(map(len, names), default=0) < 9 else 360,
        xaxis=axis("" if named else f"{len(names)} names, most frequent first", showgrid=False)
        | ticks,
        yaxis=axis("share of the split", ticksuffix=" %", rangemode="tozero"),
        bargap=0.25,
        bargroupgap=0.05,
    )


def together_figure(together: dict[str, dict[str, int]]) -> Figure:
    """Of the train images with the label of a row, the share that also has a column's label."""
    names = sorted(together, key=_natural)
    shares, hover = [], []
    for a in names:
        counts = together[a]
        shares.append([100 * counts.get(b, 0) / counts[a] for b in names])
        hover.append(
            [f"{escaped(a)} and {escaped(b)}<br>{number(counts.get(b, 0))} images" for b in names]
        )
    return heatmap_figure(shares, hover, names, ("has also", "images with"), "--split-train")


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
        xaxis=axis("images with the same name", type="log", showgrid=False),
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
