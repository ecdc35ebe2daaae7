"""The embedding map: points, their colours and their thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.reporting.figures import escaped, figure, rounded
from selfsight.reporting.page import Figure, Page, Values
from selfsight.reporting.pictures import sprites
from selfsight.reporting.report.contents import RunContents
from selfsight.reporting.report.questions import ReportContents
from selfsight.reporting.words import listed, number

ORDER = 80
TITLE = "Map"
HEADING = "Map of the representations"
MAP_POINTS = 1500


def values(contents: ReportContents, page: Page) -> Values:
    """A map for each run."""
    points = MAP_POINTS // len(contents.runs)
    maps = [
        {"name": run.name, **_map(run, f"map-{at}", page, points)}
        for at, run in enumerate(contents.runs)
    ]
    return {"several": contents.several, "maps": maps}


def map_figure(places: NDArray[Any], categories: Sequence[tuple[str, NDArray[np.int64]]]) -> Figure:
    """The embedding map: one trace a category, each point knows its row in the sprite sheet."""
    traces = []
    for at, (name, rows) in enumerate(categories):
        color = color_of_category(at, name)
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


def _map(run: RunContents, name: str, page: Page, most: int) -> Values:
    """The embedding map of a run, with thumbnails on hover; at most ``most`` points."""
    if run.map is None or not len(run.map["x"]):
        missing = "There is no representations/map.npz: `selfsight evaluate` makes the map."
        return {"plot": "", "of": "", "sentence": "", "legend": [], "missing": [missing]}
    arrays = run.map
    if len(arrays["x"]) > most:
        rows = np.sort(np.random.default_rng(0).permutation(len(arrays["x"]))[:most])
        arrays = {key: array[rows] for key, array in arrays.items()}
    targets = [str(text) for text in arrays.get("target", np.zeros(0, str))]
    numbers = _numbers(targets, run)
    legend: list[tuple[str, str, int]] = []
    if numbers is not None:
        drawn = number_map_figure(arrays["x"], numbers)
        colour = "The colour is the value of the target. "
    else:
        categories = _categories(targets, len(arrays["x"]))
        drawn = map_figure(arrays["x"], categories)
        if len(categories) > 1:
            legend = [
                (text, color_of_category(at, text), at // 10 % 3)
                for at, (text, _) in enumerate(categories)
            ]
        colour = "The colour is the target; click a name to hide it. " if targets else ""
    block: dict[str, Any] = {}
    for column in ("target", "row_ids", "splits"):
        if column in arrays:
            block[column] = [str(text) for text in arrays[column]]
    thumbnails = arrays.get("thumbnails")
    if thumbnails is not None and thumbnails.ndim == 4:
        sheet = sprites(thumbnails, most_bytes=most * 300)
        block["sheet"] = {
            "uri": sheet.uri,
            "columns": sheet.columns,
            "rows": sheet.rows,
            "width": sheet.width,
            "height": sheet.height,
            "crisp": sheet.crisp,
        }
    of = listed(sorted(set(block["splits"]))) + " " if block.get("splits") else ""
    count = number(len(arrays["x"]))
    label = f"Scatter of {count} images by their representation."
    sentence = (
        f"{count} {of}images, placed by their representation: images that the backbone finds "
        f"similar lie close together. {colour}Point at one to see it. Distances between far "
        "groups mean little."
    )
    plot = page.plot(name, drawn, label, data=block)
    return {"plot": plot, "of": name, "sentence": sentence, "legend": legend, "missing": []}


def color_of_category(at: int, name: str) -> str:
    return "--other-names" if name == "other" and at == 9 else f"--class-{at % 10}"


def _numbers(targets: list[str], run: RunContents) -> NDArray[np.float64] | None:
    """The targets as numbers where the run's target is one."""
    if run.splits is None or run.splits.kind != "number":
        return None
    values = []
    for text in targets:
        try:
            values.append(float(text.split(",")[0].strip(" []")))
        except ValueError:
            values.append(np.nan)
    return np.array(values)


def _categories(targets: list[str], count: int) -> list[tuple[str, NDArray[np.int64]]]:
    """Names and their rows; of more than 20 the 9 most frequent, the rest together as "other"."""
    if not targets:
        return [("images", np.arange(count))]
    frequent: dict[str, int] = {}
    for text in targets:
        frequent[text] = frequent.get(text, 0) + 1
    names = sorted(frequent, key=lambda text: -frequent[text])
    shown = names if len(names) <= 20 else names[:9]
    shown = sorted(
        shown, key=lambda text: (not text.isdigit(), int(text) if text.isdigit() else 0, text)
    )
    categories = [
        (text or "unknown", np.flatnonzero(np.array([t == text for t in targets])))
        for text in shown
    ]
    if len(shown) < len(names):
        rest = np.array([text not in set(shown) for text in targets])
        categories.append(("other", np.flatnonzero(rest)))
    return categories
