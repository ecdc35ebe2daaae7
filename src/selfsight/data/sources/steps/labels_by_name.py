"""Rows of a table of labels for images, by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.notes import left_out
from selfsight.data.reading import Asked
from selfsight.data.sources.steps.long_form import grouped
from selfsight.data.sources.steps.matching import best_match, key_columns


@dataclass(frozen=True)
class NamedRows:
    """A table with one row for each image that it names.

    Attributes:
        columns: without the one that names images.
        names: class names of integer columns.
        place: ``(N,)`` row of the table for each image, -1 none.
        notes: which column names how many images.
    """

    columns: Mapping[str, Any]
    names: Mapping[str, Sequence[str]]
    place: NDArray[np.int64]
    notes: tuple[str, ...]


def named_rows(
    columns: Mapping[str, Any],
    names: Mapping[str, Sequence[str]],
    row_ids: Sequence[str],
    source: str,
    asked: Asked,
) -> NamedRows | None:
    """The rows that name some of the images, or None where none does.

    Args:
        columns: pyarrow columns of the table.
        names: class names of integer columns.
        row_ids: of the images.
        source: name of the table, for messages.
        asked: see `grouped`.
    """
    keys = key_columns(columns)
    match = best_match(keys, row_ids)
    if match is None:
        return None
    rest = {name: column for name, column in columns.items() if name != match.column}
    place = match.place
    notes: list[str] = []
    one_each = grouped(rest, keys[match.column], source, asked)
    if one_each is not None:
        rest, first, notes = one_each
        where = {row: i for i, row in enumerate(first)}
        place = np.array([where.get(row, -1) for row in place.tolist()], np.int64)
    known, count = int((place >= 0).sum()), len(place)
    of_them = f"{known:,} of {counted(count, 'image')}"
    text = f"{source} names {of_them} in column {match.column}{match.how}."
    unknown = count - known
    unnamed = (row_ids[row] for row in np.flatnonzero(place < 0).tolist())
    said = left_out(text, about=source, count=unknown, names=unnamed, doubtful=2 * known < count)
    notes = [said if unknown else text, *notes]
    if match.unnamed:
        text = (
            f"{counted(match.unnamed, 'row')} of {source} "
            f"{'names no image and is' if match.unnamed == 1 else 'name no image and are'} not "
            "used."
        )
        notes.append(left_out(text, about=source, count=match.unnamed))
    return NamedRows(rest, names, place, tuple(notes))
