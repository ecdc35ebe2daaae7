"""How the images were read: what is doubtful, was guessed, or was left out."""

from __future__ import annotations

from selfsight.reporting.audit.sets import AuditContents
from selfsight.reporting.page import Page, Values
from selfsight.reporting.words import number

ORDER = 15
TITLE = "How the images were read"
WORDS = {"doubt": "doubtful", "guess": "guessed", "left out": "left out"}


def values(contents: AuditContents, page: Page) -> Values | None:
    """A row for each note that is more than a fact; the doubtful ones come first.

    What is left out is named, up to the number of names that ``audit.json`` holds.
    """
    readings = [reading for reading in contents.audit.readings if reading["kind"] in WORDS]
    readings.sort(key=lambda reading: not reading["doubtful"])
    if not readings:
        return None
    rows = [
        {
            "what": WORDS["doubt" if reading["doubtful"] else reading["kind"]],
            "about": reading["about"],
            "count": "" if reading["count"] is None else number(reading["count"]),
            "text": reading["text"],
            "names": reading["names"],
        }
        for reading in readings
    ]
    return {"rows": rows}
