"""Identical images on one side of the splits."""

from __future__ import annotations

from selfsight.reporting.audit.sets import AuditContents, identical
from selfsight.reporting.page import Page, Values
from selfsight.reporting.words import number

ORDER = 40
TITLE = "Identical"


def values(contents: AuditContents, page: Page) -> Values | None:
    """Those that differ in a target come first; None where there are none."""
    copies = identical(contents.audit, False)
    if not copies:
        return None
    heading = f"Identical images on one side: {number(len(copies))}"
    return {"heading": heading, "copies": contents.sets(copies)}
