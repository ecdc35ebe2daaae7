"""Columns of a table: which is the split, which the group, which holds paths, and text cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import SPLITS, class_target
from selfsight.data.notes import doubt, guess, left_out, some
from selfsight.data.reading import NONE
from selfsight.data.sources.steps.split_names import SPLIT_OF

LABEL = re.compile(
    r"(^|_)(label|labels|class|classes|category|categories|target|species|breed|diagnosis)(_?id)?$"
    r"|^y$",
    re.I,
)
NUMBER = re.compile(
    r"^(n|num|count|number)_|(^|_)(area|count|size|length|mass|age|score|weight|width|height"
    r"|temperature|pressure|price|year|angle|depth|distance)$|^(pos|x|y|z|lat|lon)_|_(x|y|z)$",
    re.I,
)
_NUMBERED = r"s?([ _-]?(id|no|nr|number|name))?$"
GROUP = re.compile(
    r"^(coil|board|patient|person|subject|lot|slide|tile|scene|video)" + _NUMBERED, re.I
)
"""Columns that name the unit an image was taken of: groups whatever they hold."""
WEAK_GROUP = re.compile(r"^(group|scan|session|batch)" + _NUMBERED, re.I)
"""Columns that may name such a unit: groups where that is plausible."""
SPLIT = re.compile(r"^(split|fold_split|subset|partition)$", re.I)
SPLIT_LIKE = re.compile(r"(^|_)split$", re.I)
NO_TARGET = re.compile(
    r"^(id|idx|index|row|row_id|path|file|file_?name|file_?path|image_?path|url|uri|licen[cs]e|source"
    r"|parent|width|height|(orig|original)_.*|.*_(id|path|url|width|height)|__index_level_\d+__"
    r"|bbox(es)?|box(es)?|polygons?|keypoints?|rle|unnamed: \d+)$",
    re.I,
)
PATH_COLUMN = re.compile(
    r"^(path|file|file[ _]?names?|file[ _]?path|image|images|img|photo|picture"
    r"|(image|img|photo|picture)[ _]?(path|file|file_?name|name|index|id))$",
    re.I,
)
NULLS = frozenset(
    ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
     "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null", "<NA>"]
)  # fmt: skip
"""Text that stands for an unknown value; what pyarrow's reader of CSV takes for null."""


def flat(column: Any) -> Any:
    """A pyarrow column as one chunked array of plain values, text without blanks at its ends.

    Text that stands for nothing (`NULLS`) is null.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pa.chunked_array(column.chunks if isinstance(column, pa.ChunkedArray) else [column])
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks])
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_text(column.type):
        column = pc.utf8_trim_whitespace(column)
        nothing = pc.is_in(column, value_set=pa.array(sorted(NULLS), column.type))
        column = pc.if_else(nothing, pa.scalar(None, column.type), column)
    return column


def is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def groups_of(column: Any) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Numbers of the groups ``(N,)``, and their names.

    Null, NaN, negative and empty text are in no group, -1.
    """
    encoded = flat(column).combine_chunks().dictionary_encode()
    known = class_target("group", encoded.dictionary.to_pylist())
    codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    if not len(known.values):
        return codes, ()
    return np.where(codes < 0, -1, known.values[codes]), known.names


def splits_of(column: Any, name: str) -> NDArray[np.str_]:
    """The split of each row; null is train.

    Raises:
        ValueError: a word that names no split.
    """
    words = ["train" if word is None else str(word).strip() for word in flat(column).to_pylist()]
    for word in dict.fromkeys(words):
        if word and word.lower() not in SPLIT_OF:
            raise ValueError(
                f"split column {name!r}: {word!r} names no split; use {', '.join(SPLITS)}, or "
                "--split-column none for no column."
            )
    return np.array([SPLIT_OF[word.lower()] if word else "train" for word in words], "<U10")


def guessed_splits(column: Any, name: str) -> tuple[NDArray[np.str_] | None, list[str]]:
    """The splits of a column whose name looks like one, "" for an unknown word; None: it is none.

    Returns:
        The splits, and a note.
    """
    words = [None if v is None else str(v) for v in flat(column).to_pylist()]
    distinct = list(dict.fromkeys(word for word in words if word is not None))
    known = [word for word in distinct if word.lower() in SPLIT_OF]
    others = [word for word in distinct if word.lower() not in SPLIT_OF]
    if len(known) < min(2, len(distinct)) or not distinct:
        text = f"Column {name} holds {some(distinct) or 'nothing'} and is not taken as the split."
        numbers = all(re.fullmatch(r"\d(\.0)?", word) for word in distinct)
        return None, [doubt(text, about=name, setting="split_column") if numbers else text]
    splits = np.array(
        ["train" if w is None else SPLIT_OF.get(w.lower(), "") for w in words], "<U10"
    )
    notes: list[str] = [
        guess(f"Column {name} is taken as the split", "split_column", name, [NONE], about=name)
    ]
    if others:
        count = int((splits == "").sum())
        notes.append(
            left_out(
                f"{count:,} rows of the unknown split {some(others)} in column {name} are left "
                "out.",
                about=name,
                count=count,
                names=others,
                setting="split_column",
                doubtful=True,
            )
        )
    return splits, notes


def find_column(
    columns: Iterable[str], asked: str | None, pattern: re.Pattern[str], what: str
) -> str | None:
    """The column that was asked for, or the first whose name fits, or None.

    Raises:
        ValueError: the column asked for is not there (names the nearest).
    """
    from selfsight.settings import unknown

    names = list(columns)
    if asked == NONE and NONE not in names:
        return None
    if asked is not None:
        if asked not in names:
            raise unknown(f"{what} column", asked, names)
        return asked
    return next((name for name in names if pattern.search(name)), None)


def pieces(columns: Mapping[str, Any], name: str) -> list[str] | None:
    """The columns that ``a,b,c`` names together, or None where they are not all there."""
    parts = [part.strip() for part in name.split(",")]
    return parts if len(parts) > 1 and all(part in columns for part in parts) else None


def first_line(error: Exception) -> str:
    """The first line of an error of a library, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
