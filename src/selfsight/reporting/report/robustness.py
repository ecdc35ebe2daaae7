"""Are the features robust: the linear probe on images with blur, noise, JPEG, less light."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from selfsight import vocabulary
from selfsight.records.results import Corrupted, variants
from selfsight.reporting.figures import axis, escaped, figure, rounded
from selfsight.reporting.page import Figure, Page, Values
from selfsight.reporting.report.contents import RunContents
from selfsight.reporting.report.questions import ReportContents
from selfsight.reporting.words import capital, number
from selfsight.vocabulary import in_percent, interval_text, value_text

ORDER = 25
TITLE = "Robustness"
HEADING = "On images with a corruption"
COLORS = {"trained": "--run-0", "untrained": "--untrained", "start": "--start"}


def values(contents: ReportContents, page: Page) -> Values | None:
    """A chart and a table for each run, target and data set that was evaluated so."""
    parts: list[Values] = []
    for run in contents.runs:
        for title, rows in _together(run).items():
            drawn = corruption_figures(run, rows)
            panels = [
                {
                    "name": capital(kind),
                    "plot": page.plot(f"robust-{len(parts)}-{at}", plot, f"{title}, {kind}"),
                }
                for at, (kind, plot) in enumerate(drawn.items())
            ]
            parts.append(
                {"title": contents.start(run) + title, "panels": panels, **_table(run, rows)}
            )
    return {"parts": parts} if parts else None


def _together(run: RunContents) -> dict[str, list[Corrupted]]:
    """The rows of each evaluation and target, by a title."""
    groups: dict[Hashable, list[Corrupted]] = {}
    for row in run.results.corruptions if run.results else []:
        groups.setdefault((row.evaluation, row.data, row.target, row.split), []).append(row)
    ways = variants(run.results.evaluations) if run.results else {}
    titled = {}
    for rows in groups.values():
        first = rows[0]
        title = f"{capital(vocabulary.metric(first.metric).title)} of “{first.target}”"
        parts = [f"{title} on {first.data}", ways.get(first.evaluation, ""), first.split]
        titled[", ".join(part for part in parts if part)] = rows
    return titled


def _table(run: RunContents, rows: list[Corrupted]) -> dict[str, Any]:
    """A row a corruption and strength, a column a subject; clean images first."""
    subjects = list(dict.fromkeys(row.subject for row in rows))
    cells = {(row.corruption, row.strength, row.subject): row for row in rows}
    lines = []
    for kind, strength, amount in dict.fromkeys((r.corruption, r.strength, r.amount) for r in rows):
        shown = []
        for subject in subjects:
            row = cells.get((kind, strength, subject))
            text = "–" if row is None else value_text(row.metric, row.mean)
            between = "" if row is None else interval_text(row.metric, row.low, row.high)
            shown.append((text, between))
        name = f"{capital(kind)} {strength}" if strength else "Clean"
        lines.append({"name": name, "amount": amount if strength else "", "cells": shown})
    count = number(rows[0].num_labels)
    return {
        "columns": [run.subject_title(name) for name in subjects],
        "rows": lines,
        "sentence": f"A linear probe, fitted to {count} labelled clean images, on test images with "
        "a corruption of rising strength.",
    }


def corruption_figures(run: RunContents, rows: list[Corrupted]) -> dict[str, Figure]:
    """A figure for each corruption: the metric over the strength, a line for each subject."""
    metric = rows[0].metric
    scale = 100.0 if in_percent(metric) else 1.0
    subjects = list(dict.fromkeys(row.subject for row in rows))
    means = [scale * row.mean for row in rows if row.mean is not None]
    margin = 0.06 * (max(means) - min(means)) or 0.05 * scale
    ends = [min(means) - margin, max(means) + margin]
    figures = {}
    for kind in dict.fromkeys(row.corruption for row in rows if row.strength):
        traces = []
        for place, subject in enumerate(subjects):
            points = [
                row
                for row in rows
                if row.subject == subject
                and row.corruption in ("none", kind)
                and row.mean is not None
            ]
            name = run.subject_title(subject)
            color = COLORS.get(subject, f"--other-{place % 3}")
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": name,
                    "x": [row.strength for row in points],
                    "y": [rounded(scale * (row.mean or 0.0)) for row in points],
                    "customdata": [
                        f"<b>{escaped(name)}</b><br>{value_text(metric, row.mean)}"
                        f"<br>{escaped(row.amount)}"
                        for row in points
                    ],
                    "hovertemplate": "%{customdata}<extra></extra>",
                    "line": {"color": f"var({color})", "width": 3 if place == 0 else 1.6},
                    "marker": {"color": f"var({color})", "size": 8},
                }
            )
        ticks = {"tickvals": [0, 1, 2, 3], "ticktext": ["clean", "1", "2", "3"]}
        figures[kind] = figure(
            traces,
            260,
            xaxis=axis("strength", **ticks),
            yaxis=axis("", ticksuffix=" %" if scale > 1 else "", range=ends),
        )
    return figures
