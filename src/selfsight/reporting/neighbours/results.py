"""Each query with its neighbours."""

from __future__ import annotations

from selfsight.console import counted
from selfsight.reporting.neighbours import NeighboursContents
from selfsight.reporting.page import Page, Values
from selfsight.reporting.words import number

ORDER = 10
TITLE = "Neighbours"


def values(contents: NeighboursContents, page: Page) -> Values | None:
    """Rows of pictures; None where nothing was searched."""
    search = contents.search
    if search is None:
        return None
    hints = []
    if search.queries > len(search.shown):
        more = number(search.queries - len(search.shown))
        hints.append(f"{more} more queries are not pictured; `{search.table}` has them.")
    if search.left_out:
        hints.append(
            f"{counted(search.left_out, 'picture was', 'pictures were')} left out to keep "
            "this page small."
        )
    return {
        "heading": "Least similar first" if search.far else "Most similar first",
        "queries": search.shown,
        "hints": hints,
    }
