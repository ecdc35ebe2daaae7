"""The parts of the report below the results: curves, data, views, map, protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from selfsight.reporting.distributions import distribution_figure, together_figure
from selfsight.reporting.figures import Figure, curves_figure
from selfsight.reporting.pictures import picture
from selfsight.reporting.reading import RunContents
from selfsight.reporting.wording import (
    number,
)

Figures = dict[str, Figure]
Section = dict[str, Any]
BOOKKEEPING = ("step", "epoch", "progress", "lr", "loss", "knn", "effective_rank", "spread")
USES = {
    "train": "pretraining and probes",
    "unlabelled": "pretraining",
    "validation": "watching the training",
    "test": "the results, and no choice",
}
MOST_EXAMPLES = 8
MOST_PICTURES = 64


def curve_sections(runs: Sequence[RunContents], figures: Figures) -> list[Section]:
    """Loss, its terms (of one run), kNN on validation and effective rank, runs overlaid."""
    sections: list[Section] = []
    several = len(runs) > 1

    def add(name: str, column: str, label: str, note: str, **options: Any) -> None:
        lines = []
        for index, run in enumerate(runs):
            metrics = run.metrics or {}
            kept = _known(metrics, column)
            if kept:
                x = [_epoch(metrics, row) for row in kept]
                y = [metrics[column][row] for row in kept]
                name_of = run.name if several else label
                lines.append((name_of, f"--run-{index % 6}", x, y))
        if lines:
            figures[f"curve-{column}"] = curves_figure(lines, "epoch", **options)
            ends = [f"{name_of}: last value {number(y[-1])}" for name_of, _, _, y in lines]
            about = {"id": f"curve-{column}", "name": name, "alt": f"{name}. {'; '.join(ends)}."}
            sections.append({**about, "legend": [], "note": note})

    add("Loss", "loss", "loss", "Of single batches.")
    if not several and runs[0].metrics:
        terms = _loss_terms(runs[0].metrics, figures)
        if terms:
            sections.append(terms)
    add(
        "kNN on validation",
        "knn",
        "kNN",
        "Accuracy of nearest neighbours from train; it is watched, nothing is chosen by it.",
        percent=True,
        markers=True,
    )
    add(
        "Effective rank",
        "effective_rank",
        "rank",
        "In how many directions the representations differ; near one, they have collapsed.",
        markers=True,
    )
    return sections


def _loss_terms(metrics: dict[str, list[float | None]], figures: Figures) -> Section | None:
    lines, legend = [], []
    names = [name for name in metrics if name not in BOOKKEEPING and _known(metrics, name)]
    if len(names) < 2:
        return None
    for at, name in enumerate(names[:8]):
        kept = _known(metrics, name)
        color = f"--class-{at}"
        x = [_epoch(metrics, row) for row in kept]
        lines.append((name, color, x, [metrics[name][row] for row in kept]))
        legend.append((name, color))
    figures["curve-terms"] = curves_figure(lines, "epoch")
    alt = f"Terms of the loss: {', '.join(names[:8])}."
    return {"id": "curve-terms", "name": "Its terms", "alt": alt, "legend": legend, "note": ""}


def _known(metrics: dict[str, list[float | None]], column: str) -> list[int]:
    values = metrics.get(column, [])
    return [row for row, v in enumerate(values) if v is not None and math.isfinite(v)]


def _epoch(metrics: dict[str, list[float | None]], row: int) -> float | None:
    """Epochs passed at a row, with the share of the running one where progress tells it."""
    progress, epochs = metrics.get("progress"), metrics.get("epoch")
    last = [epoch for epoch in epochs or [] if epoch is not None]
    if progress and last and progress[row] is not None and progress[-1]:
        whole = (max(last) + 1) / progress[-1] if progress[-1] >= 0.999 else None
        if whole:
            return round((progress[row] or 0.0) * whole, 3)
    return epochs[row] if epochs else float(row)


def collapse_warning(run: RunContents) -> str | None:
    """A plain sentence where the last epoch's representations tell images apart no more."""
    from selfsight.training.monitor import collapsed

    metrics = run.metrics or {}
    rank = _known(metrics, "effective_rank")
    if not rank:
        return None
    last = metrics["effective_rank"][rank[-1]] or 0.0
    spread = _known(metrics, "spread")
    measured = {"effective_rank": last, "spread": 1.0}
    if spread:
        measured["spread"] = metrics["spread"][spread[-1]] or 0.0
    if not collapsed(measured):
        return None
    return (
        f"The effective rank ended at {number(last)}: images look nearly the same to the backbone, "
        "and its results are worth little. A lower learning rate, a larger batch or another method "
        "may help."
    )


def data_section(run: RunContents, key: str, figures: Figures) -> Section:
    """Counts of each split and the distribution of the target over them."""
    section: Section = {
        "name": run.name,
        "rows": [],
        "groups": False,
        "id": "",
        "missing": "",
        "together": "",
    }
    splits = run.splits
    if splits is None:
        section["missing"] = "There is no splits.parquet, so the splits are not known."
        return section
    section["groups"] = bool(splits.groups)
    section["rows"] = [
        {
            "split": side,
            "images": number(count),
            "labelled": number(splits.labelled.get(side, 0)),
            "groups": number(splits.groups.get(side, 0)),
            "use": USES.get(side, ""),
        }
        for side, count in splits.images.items()
    ]
    made = distribution_figure(splits)
    if made is None:
        section["missing"] = "No image has a known target, so there is no distribution to show."
        return section
    figures[f"data-{key}"], _ = made
    name = f"“{splits.target}”" if splits.target else "The target"
    if splits.kind == "labels" and 1 < len(splits.together) <= 40:
        figures[f"together-{key}"] = together_figure(splits.together)
        section["together"] = f"together-{key}"
    section |= {
        "id": f"data-{key}",
        "sides": [side for side in splits.images if splits.labelled.get(side)],
        "chart_title": {
            "class": f"{name}, as a share of each split",
            "labels": f"{name}, as a share of each split (an image may have several)",
            "number": f"{name}, as a share of each split",
        }[splits.kind or "class"],
    }
    return section


def views_section(run: RunContents, most: int = MOST_EXAMPLES) -> Section:
    """A grid: each column an image, below it its views."""
    section: Section = {"name": run.name, "rows": [], "missing": ""}
    if run.samples is None:
        section["missing"] = "There is no samples.npz, so no examples of the views can be shown."
        return section
    names = sorted(
        (name for name in run.samples if name.startswith("view_")),
        key=lambda name: int(name[5:]) if name[5:].isdigit() else 0,
    )
    images = run.samples["images"]
    most = max(2, min(most, MOST_PICTURES // (1 + len(names))))
    for at, name in enumerate(["images", *names]):
        height, width = run.samples[name].shape[1:3]
        size = f"{height} px" if height == width else f"{height} × {width} px"
        title = f"view {at}" if at else "image"
        section["rows"].append(
            {
                "title": title,
                "size": size,
                "pictures": [
                    (picture(pixels), f"{title} of example {column + 1}")
                    for column, pixels in enumerate(run.samples[name][:most])
                ],
            }
        )
    sentence = "A few images and the random views that were made of them."
    if images.shape[3] > 3:
        sentence += f" Of {images.shape[3]} channels the first three are shown."
    section["sentence"] = sentence
    return section
