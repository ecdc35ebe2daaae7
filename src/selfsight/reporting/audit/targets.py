"""Images and targets of each split."""

from __future__ import annotations

from typing import Any

from selfsight.reporting.audit.sets import AuditContents
from selfsight.reporting.distributions import Splits, bins_figure, distribution_figure
from selfsight.reporting.page import Figure, Page, Values
from selfsight.reporting.words import listed, number

ORDER = 60
TITLE = "Splits and labels"
HEADING = "Images and labels of each split"
MOST_NUMBERS = 4
"""Entries of a vector that get a chart."""


def values(contents: AuditContents, page: Page) -> Values:
    """A chart for each target, or a sentence for identities; the notes."""
    audit = contents.audit
    targets = [
        _target(name, about, at, page)
        for at, (name, about) in enumerate(audit.distributions.items())
    ]
    facts = [reading["text"] for reading in audit.readings if reading["kind"] == "fact"]
    counts = [(side, number(count)) for side, count in audit.splits.items() if count]
    return {"splits": counts, "targets": targets, "notes": facts}


def _target(name: str, about: dict[str, Any], at: int, page: Page) -> Values:
    splits = about.get("splits", {})
    sides = {side: part for side, part in splits.items() if part["known"]}
    unknown = [
        f"{number(part['unknown'])} of {side}" for side, part in splits.items() if part["unknown"]
    ]
    words = ""
    if not sides:
        words = "No image has a known value."
    elif about.get("kind") == "identity":
        parts = [f"{number(part['counts'])} in {side}" for side, part in sides.items()]
        words = f"Identities: {listed(parts)}."
    charts = []
    for entry, (title, drawn) in enumerate([] if words else _figures(name, about, sides)):
        label = f"Distribution of {title} over the splits"
        charts.append((title, page.plot(f"target-{at}-{entry}", drawn, label)))
    return {
        "name": name,
        "legend": [(f"--split-{side}", side) for side in sides],
        "charts": charts,
        "words": words,
        "unknown": f"Unknown for {listed(unknown)}." if unknown else "",
    }


def _figures(
    name: str, about: dict[str, Any], sides: dict[str, dict[str, Any]]
) -> list[tuple[str, Figure]]:
    """Title and chart: one of a class or labels, one of each number."""
    if about.get("kind") == "number":
        names = about.get("names") or [name]
        return [
            (names[entry], bins_figure(edges, {s: p["counts"][entry] for s, p in sides.items()}))
            for entry, edges in enumerate(about["edges"][:MOST_NUMBERS])
        ]
    shares = {
        side: dict(zip(about["names"], part["counts"], strict=True)) for side, part in sides.items()
    }
    known = {side: part["known"] for side, part in sides.items()}
    drawn = distribution_figure(Splits(known, known, {}, about.get("kind"), shares))
    return [] if drawn is None else [(name, drawn)]
