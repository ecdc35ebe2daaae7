"""Images that look nearly the same: shifted, recompressed, brightened."""

from __future__ import annotations

from selfsight.reporting.audit.sets import AuditContents, near
from selfsight.reporting.page import Page, Values
from selfsight.reporting.words import number

ORDER = 30
TITLE = "Nearly identical"


def values(contents: AuditContents, page: Page) -> Values | None:
    """Pairs across the splits, then pairs on one side; None where there is no pair."""
    audit = contents.audit
    if not audit.near_count:
        return None
    within = audit.near_count - audit.near_across
    return {
        "heading": f"Nearly identical images: {number(audit.near_count)}",
        "across": audit.near_across,
        "within": within,
        "pairs_across": contents.sets(near(audit, True), audit.near_across),
        "pairs_within": contents.sets(near(audit, False), within),
    }
