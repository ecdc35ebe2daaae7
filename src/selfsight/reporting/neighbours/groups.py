"""How the groups agree with the labels, and the largest of them."""

from __future__ import annotations

from selfsight.reporting.neighbours import NeighboursContents
from selfsight.reporting.page import Page, Values
from selfsight.reporting.words import number

ORDER = 40
TITLE = "Groups"
HEADING = "The largest groups"


def values(contents: NeighboursContents, page: Page) -> Values | None:
    """Scores and pictures; None where nothing was grouped."""
    clusters = contents.clusters
    if clusters is None:
        return None
    rows = [
        (
            line.name,
            number(line.groups),
            *(
                f"{100 * share:.1f} %"
                for share in (
                    line.pair_f1,
                    line.pair_precision,
                    line.pair_recall,
                    line.bcubed,
                )
            ),
        )
        for line in clusters.scores
    ]
    hidden = clusters.groups - len(clusters.shown)
    return {
        "rows": rows,
        "target": clusters.target,
        "groups": clusters.shown,
        "more": number(hidden) if hidden else "",
        "table": clusters.table,
    }
