"""The page of labels that are probably wrong."""

from __future__ import annotations

import sys
from pathlib import Path

from selfsight.console import counted
from selfsight.records.content import read_record
from selfsight.records.labelling import LabelsFile
from selfsight.reporting.page import Page, write_page
from selfsight.reporting.words import number


def write_labels_page(path: str | Path) -> Path:
    """Writes ``labels.html`` beside ``labels.json``, one file that opens offline.

    Returns:
        The path of the page.

    Raises:
        ValueError: the file is missing or damaged.
    """
    path = Path(path)
    labels = read_record(LabelsFile, path)
    page = Page(
        kind="audit",
        title=f"Audit of the labels of {labels.data}",
        source=f"{labels.data} and {labels.run}",
        answers=[
            f"{counted(labels.suspicious, 'label')} of {labels.target} on "
            f"{counted(labels.images, 'image')} of train may be wrong."
        ],
        further=[
            "A probe that never saw the label is confident of another class, or most of the ten "
            "nearest images have another label. Some of these labels are right and only unusual: "
            "look before you change one.",
            f"{labels.table} has all of them.",
        ],
    )
    if labels.caution:
        page.further = [labels.caution, *page.further]
    if labels.suspicious > len(labels.shown):
        more = labels.suspicious - len(labels.shown)
        page.further = [*page.further, f"{number(more)} more are not pictured."]
    return write_page(path.with_suffix(".html"), sys.modules[__name__], labels, page)
