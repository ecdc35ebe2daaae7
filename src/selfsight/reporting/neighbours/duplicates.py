"""Near-duplicates: an image, and the earlier one that is kept."""

from __future__ import annotations

from selfsight.reporting.neighbours import NeighboursContents
from selfsight.reporting.page import Page, Values
from selfsight.reporting.words import number

ORDER = 50
TITLE = "Near-duplicates"


def values(contents: NeighboursContents, page: Page) -> Values | None:
    """Pairs of pictures; None where there are none."""
    clusters = contents.clusters
    if clusters is None or not clusters.duplicates:
        return None
    hidden = clusters.duplicates - len(clusters.copies)
    return {
        "heading": f"Near-duplicates: {number(clusters.duplicates)}",
        "near": number(clusters.near),
        "copies": clusters.copies,
        "more": number(hidden) if hidden else "",
        "table": clusters.table,
    }
