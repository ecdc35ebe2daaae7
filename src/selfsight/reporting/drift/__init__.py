"""The page of drift: how far two image sets are apart, and which images are new."""

from __future__ import annotations

import sys
from pathlib import Path

from selfsight.console import counted
from selfsight.records.content import read_record
from selfsight.records.drift import DriftFile
from selfsight.reporting.page import Page, write_page
from selfsight.reporting.words import number


def write_drift_page(path: str | Path) -> Path:
    """Writes ``drift.html`` beside ``drift.json``, one file that opens offline.

    Returns:
        The path of the page.

    Raises:
        ValueError: the file is missing or damaged.
    """
    path = Path(path)
    drift = read_record(DriftFile, path)
    first, second = drift.compared
    page = Page(
        kind="audit",
        title=f"Audit of {drift.data} against {drift.against}",
        source=f"{drift.data}, {drift.against} and {drift.run}",
        answers=[drift.answer, drift.news],
        further=[
            f"A classifier was fitted to {counted(first, 'image')} of {drift.data} and "
            f"{number(second)} of {drift.against}, and scored out of fold. p = {drift.p:.3g} over "
            f"{counted(drift.permutations, 'permutation')} of the sides; sets of one "
            "distribution are "
            "called different in 5 % of cases.",
            f"{drift.table} has the distance of each image to the nearest one of {drift.against}.",
        ],
        warnings=[("Note.", drift.caution)] if drift.caution else [],
    )
    return write_page(path.with_suffix(".html"), sys.modules[__name__], drift, page)
