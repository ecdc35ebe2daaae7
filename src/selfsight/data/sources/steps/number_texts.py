"""Numbers in columns of text: which cells are none, and what they look like instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from selfsight.data.imageset import Target
from selfsight.data.notes import Note, doubt
from selfsight.data.sources.steps.number_targets import number_of

NEARLY = 0.9
"""Share of numbers from which the other cells of a column of text are probably mistakes."""
CLASSES = 0.2
"""Different texts to a cell above which numbers with commas or units are probably no classes."""
PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf(inity)?)", re.I)
GROUPED = re.compile(r"[+-]?\d{1,3}([,' \u00a0\u2009\u202f]\d{3})+(\.\d+)?")
COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
UNIT = re.compile(r"[+-]?\d+([.,]\d+)?\s*(%|\s[^\W\d]{1,3}[²³]?|(?<=[.,]\d)[^\W\d]{1,3}|°\w?)")
CODE = re.compile(r"0\d+")
SHOWN = 40


def number_in_text(
    name: str, column: Any, images: Sequence[str | None] | None = None
) -> tuple[Target | str, list[str]]:
    """A column of text that was said to hold numbers, or why it is no target.

    Args:
        name: of the column.
        column: pyarrow text, without blanks at the ends.
        images: the image of each row, which a sentence names; None: it has none, or is not known.
    """
    found = numbers_in(column, images)
    if isinstance(found, str):
        return found, []
    return number_of(name, found[:, None], (name,)), []


def numbers_in(column: Any, images: Sequence[str | None] | None = None) -> Any:
    """``(N,)`` float64 of text cells, NaN where one is empty or not finite; or what is no number.

    See `number_in_text`.
    """
    import pyarrow as pa

    try:
        values = column.cast(pa.float64()).to_numpy().astype(np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        cells = column.to_pylist()
        odd = [row for row, cell in enumerate(cells) if cell and not PLAIN.fullmatch(cell)]
        if odd:
            return _no_numbers(cells, odd, images)
        values = np.array([float(cell) if cell else np.nan for cell in cells], np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _no_numbers(
    cells: Sequence[str | None], odd: Sequence[int], images: Sequence[str | None] | None
) -> str:
    known = sum(bool(cell) for cell in cells)
    first = _shown(cells, odd[0], images)
    one = len(odd) == 1
    verb, which = ("is no number", first) if one else ("are no numbers", f"the first: {first}")
    said = f"{len(odd):,} of its {known:,} cells {verb} ({which})"
    return f"{said}; {_mend(str(cells[odd[0]]))}"


def _shown(cells: Sequence[str | None], row: int, images: Sequence[str | None] | None) -> str:
    image = None if images is None else images[row]
    return f"{str(cells[row])[:SHOWN]!r}{'' if image is None else f' of {image}'}"


def _mend(cell: str) -> str:
    if GROUPED.fullmatch(cell) or COMMA.fullmatch(cell):
        return "write numbers with a decimal point and without separators of thousands"
    if UNIT.fullmatch(cell):
        return "write numbers without their unit"
    return "correct it, or leave the cell empty where the number is not known"


def number_doubt(
    name: str, values: Sequence[str | None], images: Sequence[str | None] | None, taken: str
) -> list[Note]:
    """A doubt where nearly all cells of a column of text are numbers.

    Args:
        name: of the column.
        values: its cells, without blanks at the ends.
        images: see `number_in_text`.
        taken: what the column is read as.
    """
    known = [row for row, value in enumerate(values) if value]
    texts = [str(values[row]) for row in known]
    if any(CODE.fullmatch(text) for text in texts):  # codes such as 007 are text
        return []
    if len(set(texts)) == len(texts) and all("." not in t and "," not in t for t in texts):
        return []  # whole numbers that never recur, such as X12 among 10 and 11, are names
    odd = [row for row, text in zip(known, texts, strict=True) if not PLAIN.fullmatch(text)]
    if not odd:
        return []
    if len(odd) <= (1.0 - NEARLY) * len(known):
        cells = ", ".join(_shown(values, row, images) for row in odd[:3])
        more = f" and {len(odd) - 3:,} more" if len(odd) > 3 else ""
        text = (
            f"{name} is {taken}, although all but {len(odd):,} of its {len(known):,} cells are "
            f"numbers: {cells}{more}; correct these cells, or leave them empty "
            f"(--kinds {name}:class confirms the classes)."
        )
    else:
        like = [PLAIN, GROUPED, COMMA, UNIT]
        numbers = sum(any(form.fullmatch(text) for form in like) for text in texts)
        if numbers < NEARLY * len(known) or len(set(texts)) <= max(2, CLASSES * len(known)):
            return []
        text = (
            f"{name} is {taken}, although its cells look like numbers, such as "
            f"{_shown(values, odd[0], images)}; {_mend(str(values[odd[0]]))} "
            f"(--kinds {name}:class confirms the classes)."
        )
    return [doubt(text, about=name, setting="kinds", count=len(odd))]
