"""The labels, the most suspicious first."""

from __future__ import annotations

from selfsight.records.labelling import LabelsFile
from selfsight.reporting.page import Page, Values

ORDER = 10
TITLE = "Labels"
HEADING = "The most suspicious first"


def values(contents: LabelsFile, page: Page) -> Values | None:
    """A figure for each label; None where none is suspicious."""
    return {"labels": contents.shown} if contents.shown else None
