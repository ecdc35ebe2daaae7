"""Columns of a table: which is the split, which the group, which holds paths, and text cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import SPLITS, class_target
from selfsight.data.notes import Note, doubt, guess, left_out, some
from selfsight.data.reading import NONE
from selfsight.data.sources.steps.split_names import PLAIN_WORDS, SPLIT_OF

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


def several_in(column: Any) -> list[list[Any]] | None:
    """The different known values in each row of a column of lists; None: it holds no lists."""
    import pyarrow as pa

    column = flat(column)
    kind = column.type
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_one(kind) for is_one in lists) or pa.types.is_nested(kind.value_type):
        return None
    rows: list[list[Any]] = []
    for row in column.to_pylist():
        values = [value.strip() if isinstance(value, str) else value for value in row or ()]
        known = (v for v in values if v is not None and v == v and v not in NULLS)
        rows.append(list(dict.fromkeys(known)))
    return rows


def one_of_each(
    column: Any, name: str, what: str, images: Sequence[str | None] | None = None
) -> Any:
    """The column with one value in each row: that of a list which holds one.

    Args:
        column: a pyarrow column.
        name: its name.
        what: ``group`` or ``split``, of which an image has one.
        images: what each row is about, None: nothing that is used; None: not known.

    Raises:
        ValueError: an image has several, or its cells are neither text nor numbers.
    """
    import pyarrow as pa

    column = flat(column)
    if not pa.types.is_nested(column.type):
        return column
    rows = several_in(column)
    option = "--group" if what == "group" else "--split-column"
    if rows is None:
        raise ValueError(
            f"{what} column {name!r} holds {column.type} in each cell, and a {what} is text or a "
            f"number; write one in each cell, or take no such column by {option} none."
        )
    for place, values in enumerate(rows):
        image = f"row {place + 1}" if images is None else images[place]
        if image is not None and len(values) > 1:
            raise ValueError(
                f"{what} column {name!r}: {image} is in {len(values)} {what}s "
                f"({some(map(str, values))}), and an image is in one; correct its rows, or take no "
                f"such column by {option} none."
            )
    single = [values[0] if len(values) == 1 else None for values in rows]
    return flat(pa.chunked_array([pa.array(single, column.type.value_type)]))


def groups_of(
    column: Any, name: str = "group", images: Sequence[str | None] | None = None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Numbers of the groups ``(N,)``, and their names.

    Null, NaN, negative and empty text are in no group, -1.

    Raises:
        ValueError: see `one_of_each`, which has the arguments.
    """
    encoded = one_of_each(column, name, "group", images).combine_chunks().dictionary_encode()
    known = class_target("group", encoded.dictionary.to_pylist())
    codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    if not len(known.values):
        return codes, ()
    return np.where(codes < 0, -1, known.values[codes]), known.names


def _split_words(
    column: Any, name: str, images: Sequence[str | None] | None
) -> tuple[list[str | None], list[Note]]:
    """The word in each row, None where there is none; and how unusual words are read."""
    cells = one_of_each(column, name, "split", images).to_pylist()
    words = [None if cell is None else str(cell).strip() or None for cell in cells]
    told = [w for w in dict.fromkeys(words) if w and w.lower() not in PLAIN_WORDS]
    read = [f"{w} is read as {SPLIT_OF[w.lower()]}" for w in told if w.lower() in SPLIT_OF]
    if not read:
        return words, []
    text = f"In column {name} {' and '.join(read)}"
    return words, [guess(text, "split_column", name, [NONE], about=name)]


def splits_of(
    column: Any, name: str, images: Sequence[str | None] | None = None
) -> tuple[NDArray[np.str_], list[Note]]:
    """The split of each row, "" where its cell is empty; and how unusual words are read.

    Args:
        column: a pyarrow column.
        name: its name.
        images: see `one_of_each`.

    Raises:
        ValueError: a word that names no split, or an image in several.
    """
    words, notes = _split_words(column, name, images)
    for word in dict.fromkeys(words):
        if word and word.lower() not in SPLIT_OF:
            image = None if images is None else images[words.index(word)]
            raise ValueError(
                f"split column {name!r}: {word!r}{f' of {image}' if image else ''} names no split; "
                f"use {', '.join(SPLITS)}, or --split-column none for no column."
            )
    return np.array([SPLIT_OF[word.lower()] if word else "" for word in words], "<U10"), notes


def guessed_splits(
    column: Any, name: str, images: Sequence[str | None] | None = None
) -> tuple[NDArray[np.str_] | None, NDArray[np.bool_], list[str]]:
    """The splits of a column whose name looks like one, "" for no known word; None: it is none.

    Returns:
        The splits, whether each one is an unknown word (else its cell is empty), and notes.
    """
    lists = several_in(column)
    cells = flat(column).to_pylist() if lists is None else [v for row in lists for v in row]
    distinct = list(dict.fromkeys(str(v).strip() for v in cells if v is not None))
    known = [word for word in distinct if word.lower() in SPLIT_OF]
    others = [word for word in distinct if word.lower() not in SPLIT_OF]
    if len(known) < min(2, len(distinct)) or not distinct:
        text = f"Column {name} holds {some(distinct) or 'nothing'} and is not taken as the split."
        numbers = all(re.fullmatch(r"\d(\.0)?", word) for word in distinct)
        said = doubt(text, about=name, setting="split_column") if numbers else text
        return None, np.zeros(0, np.bool_), [said]
    words, read = _split_words(column, name, images)
    splits = np.array([SPLIT_OF.get(word.lower(), "") if word else "" for word in words], "<U10")
    unknown = np.array([word is not None for word in words], np.bool_) & (splits == "")
    notes: list[str] = [
        guess(f"Column {name} is taken as the split", "split_column", name, [NONE], about=name),
        *read,
    ]
    if others:
        count = int(unknown.sum())
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
    return splits, unknown, notes


def with_own_splits(
    splits: NDArray[np.str_],
    own: NDArray[np.str_],
    empty: NDArray[np.bool_],
    name: str,
    images: Sequence[str | None],
) -> tuple[NDArray[np.str_], list[Note]]:
    """The splits where a column gives them, and the images' own where its cell is empty.

    Args:
        splits: ``(N,)`` of the column.
        own: ``(N,)`` that the images have without it; train, unless files or folders say another.
        empty: ``(N,)`` where the column gives none.
        name: of the column.
        images: row ids.
    """
    if not empty.any():
        return splits, []
    count = int(empty.sum())
    kept = [split for split in SPLITS if (own[empty] == split).any()]
    taken = "taken as train"
    if kept != ["train"]:
        taken = f"left in the split that they are in without it ({', '.join(kept)})"
    named = [str(images[row]) for row in np.flatnonzero(empty).tolist()]
    text = (
        f"{count:,} of {len(splits):,} images {'has' if count == 1 else 'have'} no split in column "
        f"{name} and {'is' if count == 1 else 'are'} {taken}: {some(named)}."
    )
    note = Note(text, "guess", about=name, taken=name, others=(NONE,), setting="split_column",
                count=count, names=named, doubtful=bool((splits == "train").any()))  # fmt: skip
    return np.where(empty, own, splits), [note]


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
