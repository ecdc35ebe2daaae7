"""Rows of a table and images brought together by name: paths, names of files, numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.sources.steps.columns import flat, is_text

ROW_ID = re.compile(
    r"^(row[ _]?id|id|uid|key|name|index|path|file|file[ _]?name|file[ _]?path"
    r"|(image|img|photo|picture)s?([ _]?(id|path|name|file|file_?name|index|number|code))?"
    r"|id[ _]?code)$",
    re.I,
)
DRIVE = re.compile(r"^[A-Za-z]:/")


@dataclass(frozen=True)
class Match:
    """Which column names the images.

    Attributes:
        column: its name.
        place: ``(N,)`` row of the table for each image, -1 none.
        unnamed: rows of the table that name no image.
        how: in what way, in words that follow the column's name.
    """

    column: str
    place: NDArray[np.int64]
    unnamed: int
    how: str


def plain_path(text: str) -> str:
    """A path with ``/``, without drive and ``./``, in composed Unicode (NFC)."""
    if "\\" in text:
        text = text.replace("\\", "/")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if ":" in text:
        text = DRIVE.sub("", text)
    while text.startswith("./"):
        text = text[2:]
    return text


def key_columns(columns: Mapping[str, Any]) -> dict[str, list[str | None]]:
    """Columns that could name images, those with a name for it first: text, and numbers of ids."""
    import pyarrow as pa

    found = {}
    for name in sorted(columns, key=lambda name: not ROW_ID.search(name)):
        kind = columns[name].type
        if is_text(kind) or (pa.types.is_integer(kind) and ROW_ID.search(name)):
            values = flat(columns[name]).to_pylist()
            found[name] = [None if v is None else plain_path(str(v)) for v in values]
    return found


def best_match(keys: Mapping[str, Sequence[str | None]], row_ids: Sequence[str]) -> Match | None:
    """The column and the way that name most images; None where none names any.

    Args:
        keys: column -> the text in each row, each at most once; see `key_columns`.
        row_ids: of the images.
    """
    images = [plain_path(row_id) for row_id in row_ids]
    best: Match | None = None
    count, sure = 0, False
    for how, shortened in WAYS.items():
        wanted = [shortened(text) for text in images]
        for column, values in keys.items():
            rows: dict[str | None, int] = {}
            for row, value in enumerate(values):
                if value is not None:
                    rows.setdefault(shortened(value), row)
            if how and len(rows) < len({value for value in values if value is not None}):
                continue  # two names of the table would be one
            place = np.array([rows.get(text, -1) for text in wanted], np.int64)
            taken = place[place >= 0]
            if how and len(np.unique(taken)) < len(taken):
                continue  # a row would be about several images
            named = len(taken)
            distinct = len({value for value in values if value is not None})
            # Classes 0 to 9 that recur would name the images 0.png to 9.png.
            once = distinct == sum(value is not None for value in values)
            certain = not how or once or bool(ROW_ID.search(column))
            if named and (certain, named) > (sure, count):
                best, count, sure = Match(column, place, distinct - named, how), named, certain
        if best is not None and count == len(images):
            break
    return best


def _same(text: str) -> str:
    return text


def _stem(text: str) -> str:
    head, _, tail = text.rpartition(".")
    return head if head and "/" not in tail and "#" not in tail else text


def _two(text: str) -> str:
    return "/".join(text.split("/")[-2:])


def _base(text: str) -> str:
    return text.rpartition("/")[2]


def _base_stem(text: str) -> str:
    return _stem(_base(text))


def _number(text: str) -> str:
    stem = _base_stem(text).rpartition("#")[2]
    return str(int(stem)) if stem.isascii() and stem.isdigit() else text


WAYS: dict[str, Callable[[str], str]] = {
    "": _same,
    " without the suffix": _stem,
    " by the last folder and the name of the file": _two,
    " by the name of the file alone": _base,
    " by the name of the file without its suffix": _base_stem,
    " by number": _number,
}
