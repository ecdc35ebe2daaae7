"""Pairs side by side: those judged wrongly, or the two ends of all pairs."""

from __future__ import annotations

from selfsight.reporting.neighbours import NeighboursContents
from selfsight.reporting.page import Page, Values
from selfsight.reporting.words import number

ORDER = 30
TITLE = "Pairs"


def values(contents: NeighboursContents, page: Page) -> Values | None:
    """Two lists of pairs; None where no pairs were compared."""
    pairs = contents.pairs
    if pairs is None:
        return None
    names = ("The most similar", "The least similar")
    if pairs.lines:
        names = ("Same, but judged different", "Different, but judged the same")
    parts = [
        {
            "title": f"{name}: {number(count)}",
            "pairs": [{"images": p.images, "words": number(p.cosine)} for p in shown],
            "more": number(count - len(shown)) if count > len(shown) else "",
        }
        for name, count, shown in zip(names, pairs.counts, (pairs.first, pairs.second), strict=True)
    ]
    heading = "Pairs that were judged wrongly" if pairs.lines else "The two ends of all pairs"
    return {"heading": heading, "parts": parts, "table": pairs.table}
