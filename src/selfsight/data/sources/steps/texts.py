"""Text cells: several labels in one cell, lists written as text, and text that is no target."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from selfsight.data.notes import doubt, guess, some
from selfsight.data.pixels.formats import SUFFIXES
from selfsight.data.reading import NONE, Asked
from selfsight.data.sources.steps.columns import flat, is_text

SEPARATORS = ("|", ";", ",")
MAX_CELL = 10_000
SHOWN = 40
"""Characters of a cell that a sentence shows."""
PATH = re.compile(r"\.(npy|" + "|".join(sorted(s[1:] for s in SUFFIXES)) + r")$", re.I)


def split_text(
    name: str, values: Sequence[str | None], asked: str | None, wanted: bool
) -> tuple[str | None, list[str]]:
    """The separator of several labels in the cells of a column, or None; and what was guessed.

    ``|`` separates wherever it stands. ``;`` and a comma do where each part recurs alone, as a
    whole cell; a space never does by itself.

    Args:
        name: of the column.
        values: its cells.
        asked: a separator that the user named (or a run recorded), or ``none``; one that is in no
            cell says nothing of this column.
        wanted: whether the column was said to be labels: then the parts need not recur.
    """
    known = [value for value in values if value]
    if asked == NONE:
        return None, []
    if asked is not None and any(asked in value for value in known):
        return asked, _mixed(name, known, asked)
    whole = set(known)
    notes: list[str] = []
    for separator in SEPARATORS:
        cells = [value for value in known if separator in value]
        if not cells:
            continue
        parts = {part.strip() for cell in cells for part in cell.split(separator)} - {""}
        alone = {part for part in parts if part in whole}
        if separator == "|" or wanted or (parts and parts == alone):
            labels = parts | {value.strip() for value in known if separator not in value}
            text = f"Cells of {name} are split at {separator!r} into {len(labels):,} labels"
            said = guess(text, "separator", separator, [NONE], about=name)
            return separator, [said, *_mixed(name, known, separator)]
        if 2 * len(alone) > len(parts) and len(parts) < len(known) / 2:
            rest = sorted(parts - alone)
            text = (
                f"{len(cells):,} cells of {name} hold {separator!r}, and {some(rest)} never stands "
                f"alone: each text is one class (--separator '{separator}' makes them labels)."
            )
            notes.append(doubt(text, about=name, setting="separator", count=len(cells)))
    return None, notes


def check_separator(columns: Mapping[str, Any], targets: Collection[str], asked: Asked) -> None:
    """Raises ``ValueError`` where the user names a separator that is in no cell of text targets."""
    separator = asked.options.separator
    said = "labels" in asked.options.kind_of.values()
    if separator in (None, NONE) or "separator" in asked.held or said:
        return
    texts = {name: flat(columns[name]) for name in targets if name in columns}
    cells = {
        name: [value for value in column.to_pylist() if value]
        for name, column in texts.items()
        if is_text(column.type)
    }
    if not cells or any(separator in value for values in cells.values() for value in values):
        return
    name, values = next(iter(cells.items()))
    longest = max(values, key=len, default="")
    raise ValueError(
        f"separator {separator!r}: no cell of {', '.join(cells)} holds it (one is "
        f"{longest[:SHOWN]!r}); name the separator that stands there, or leave --separator out "
        f"(--kinds {name}:labels says that the cells are single labels)."
    )


def _mixed(name: str, known: Sequence[str], separator: str) -> list[str]:
    """A doubt where cells hold another separator between labels that stand in other cells."""
    labels = {part.strip() for value in known for part in value.split(separator)} - {""}
    notes: list[str] = []
    for other in SEPARATORS:
        joined = [label for label in labels if other != separator and other in label]
        mixed = [j for j in joined if {part.strip() for part in j.split(other)} <= labels]
        if mixed:
            text = (
                f"Labels of {name} are separated by {separator!r}, and in {some(sorted(mixed))} by "
                f"{other!r}, where they count as one label: write one separator everywhere."
            )
            notes.append(doubt(text, about=name, setting="separator", count=len(mixed)))
    return notes


def listed_text(values: Sequence[str | None]) -> Any | None:
    """Text such as ``['a', 'b']`` in every cell as a pyarrow column of lists, or None."""
    import pyarrow as pa

    known = [value for value in values if value]
    if not known or not all(v[0] == "[" and v[-1] == "]" and len(v) < MAX_CELL for v in known):
        return None
    try:
        rows = [None if not value else list(ast.literal_eval(value)) for value in values]
        return pa.chunked_array([pa.array(rows)])
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, pa.ArrowException):
        return None


def text_of_no_target(known: Sequence[str]) -> str | None:
    """Why some text holds no classes, or None."""
    distinct = set(known)
    if len(distinct) < 2:
        return "the same text everywhere"
    if len(distinct) == len(known) and len(known) > 2:
        return "another text in every row"
    if all(PATH.search(value) for value in distinct):
        return "paths of files"
    return None
