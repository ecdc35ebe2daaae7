"""Images without any content."""

from __future__ import annotations

from selfsight.reporting.audit.sets import MOST_IN_A_SET, AuditContents
from selfsight.reporting.page import Page, Values
from selfsight.reporting.words import number

ORDER = 50
TITLE = "Blank"
MOST_NAMES = 200


def values(contents: AuditContents, page: Page) -> Values | None:
    """The first few pictured, and their names; None where there are none."""
    blank = contents.audit.blank
    if not blank:
        return None
    names = [contents.audit.rows[row].name for row in blank[:MOST_NAMES]]
    more = len(blank) - len(names)
    words = [f"and {number(len(blank) - MOST_IN_A_SET)} more"] * (len(blank) > MOST_IN_A_SET)
    shown = {"rows": contents.of_rows(blank[:MOST_IN_A_SET]), "words": words}
    return {
        "heading": f"Blank images: {number(len(blank))}",
        "shown": {"sets": [shown], "alarm": False, "wide": True, "hints": []},
        "names": [*names, f"and {number(more)} more"] if more else names,
    }
