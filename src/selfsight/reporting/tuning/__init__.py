"""The page of a study: what won, what it is worth, and how the search went."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfsight.files import read_json
from selfsight.reporting.page import Page, write_page

FIRST_SENTENCES = 2
"""Sentences of the answer in large type: the best trial, and what it is worth on test."""
NEEDED = ("verb", "data", "answer", "best", "again", "trials", "metric", "mode", "space",
          "searched", "importances", "rows", "curves", "notes")  # fmt: skip
"""What ``tuning.json`` must have for a page."""


def write_tuning_page(folder: str | Path) -> Path:
    """Writes ``report.html``, one self-contained page, from the ``tuning.json`` beside it.

    Args:
        folder: of the study.

    Returns:
        The path of the page.

    Raises:
        ValueError: ``tuning.json`` is missing or damaged.
    """
    folder = Path(folder)
    path = folder / "tuning.json"
    study = read_json(path)
    missing = [name for name in NEEDED if name not in study]
    if missing:
        raise ValueError(f"{path} does not hold a finished study: it has no {missing[0]!r}.")
    page = Page(
        kind="tuning",
        title=f"Tuning of {_title(study)}",
        source=str(folder),
        answers=list(study["answer"][:FIRST_SENTENCES]),
        further=list(study["answer"][FIRST_SENTENCES:]),
    )
    return write_page(folder / "report.html", sys.modules[__name__], study, page)


def _title(study: Mapping[str, Any]) -> str:
    if study["verb"] == "probe":
        return f"the classifier of {study['target']} on {study['data']}"
    if study["verb"] == "finetune":
        return f"the fine-tuning to {study['target']} on {study['data']}"
    return f"{study['method']} on {study['data']}"
