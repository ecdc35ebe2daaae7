"""What crosses the splits: identical images, and groups that were separated."""

from __future__ import annotations

from selfsight.reporting.audit.sets import AuditContents, groups, identical
from selfsight.reporting.page import Page, Values
from selfsight.reporting.words import number

ORDER = 20
TITLE = "Leaks"


def values(contents: AuditContents, page: Page) -> Values | None:
    """Sets of identical images and groups; None where nothing crosses."""
    copies, separated = identical(contents.audit, True), groups(contents.audit)
    if not copies and not separated:
        return None
    return {
        "heading": f"What crosses the splits: {number(len(copies) + len(separated))}",
        "alarm": True,
        "copies": contents.sets(copies, alarm=True),
        "groups": contents.sets(separated, alarm=True),
    }
