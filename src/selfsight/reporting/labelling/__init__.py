"""The page of a suggestion: the images to label next, and why each was chosen."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.records.content import read_record
from selfsight.records.labelling import SuggestionsFile
from selfsight.reporting.page import Page, write_page
from selfsight.reporting.pictures import read_pictures


@dataclass(frozen=True)
class LabellingContents:
    """What was suggested, and a picture ``(h, w, 1 or 3)`` of each image by its place."""

    suggestions: SuggestionsFile
    pixels: dict[int, NDArray[np.uint8]]


def write_labelling_page(folder: str | Path) -> Path:
    """Writes ``index.html``, one file that opens offline, from the files beside it.

    Args:
        folder: of ``suggestions.json`` and ``pictures.npz``.

    Returns:
        The path of the page.

    Raises:
        ValueError: a file is missing or damaged.
    """
    folder = Path(folder)
    suggestions = read_record(SuggestionsFile, folder / "suggestions.json")
    contents = LabellingContents(suggestions, read_pictures(folder / "pictures.npz"))
    page = Page(
        kind="labelling",
        title=f"{counted(len(suggestions.images), 'image')} of {suggestions.data} to label",
        source=str(folder),
        answers=[f"Fill in the column {suggestions.target} of {suggestions.table}."],
        further=[_how(suggestions)],
    )
    return write_page(folder / "index.html", sys.modules[__name__], contents, page)


def _how(suggestions: SuggestionsFile) -> str:
    """What may stand in a cell, as far as that is known."""
    names = ", ".join(suggestions.names[:20]) + ", …" * (len(suggestions.names) > 20)
    if suggestions.kind == "class":
        return f"Classes so far: {names}."
    if suggestions.kind == "labels":
        return (
            f"Labels so far: {names}. Join several labels of an image with |, and write | alone "
            "where none applies."
        )
    return "There is no label yet: write whatever your classes are called."
