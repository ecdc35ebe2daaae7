"""The images that are unlike all of the other set, the furthest first."""

from __future__ import annotations

from selfsight.records.drift import DriftFile
from selfsight.reporting.page import Page, Values
from selfsight.reporting.words import number

ORDER = 10
TITLE = "New images"


def values(contents: DriftFile, page: Page) -> Values | None:
    """A figure for each image; None where none is new."""
    if not contents.shown:
        return None
    hints = []
    if contents.novel > len(contents.shown):
        hints.append(f"{number(contents.novel - len(contents.shown))} more are not pictured.")
    return {
        "heading": f"Unlike every image of {contents.against}, the furthest first",
        "images": contents.shown,
        "hints": hints,
    }
