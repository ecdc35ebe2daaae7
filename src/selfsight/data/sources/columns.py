"""Columns of a table as targets, groups and splits: what each one is, and why it is not one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import SPLITS, Target, class_target

MAX_CLASSES = 100
LABEL = re.compile(r"(^|_)(label|labels|class|classes|category|categories|target|y)$", re.I)
NUMBER = re.compile(
    r"^(n|num|count|number)_|(^|_)(area|count|size|length|mass|age|score|weight)$", re.I
)
GROUP = re.compile(r"^(group|groups|patient|subject)(_?id)?$", re.I)
SPLIT = re.compile(r"^(split|fold_split|subset|partition)$", re.I)
NO_TARGET = re.compile(
    r"^(id|idx|index|row|row_id|path|file|file_?name|file_?path|image_?path|url|uri|licen[cs]e|source"
    r"|parent|width|height|(orig|original)_.*|.*_(id|path|url|width|height)|__index_level_\d+__)$",
    re.I,
)
PATH = re.compile(r"\.(png|jpe?g|webp|tiff?|bmp|gif|npy|dcm)$", re.I)
SPLIT_WORDS = {
    "train": "train training trainval",
    "validation": "validation valid val dev development",
    "test": "test testing eval evaluation",
    "unlabelled": "unlabelled unlabeled unsupervised pool",
}
SPLIT_OF = {word: split for split, words in SPLIT_WORDS.items() for word in words.split()}
assert set(SPLIT_WORDS) == set(SPLITS)


def targets_of(
    columns: Mapping[str, Any], names: Mapping[str, Sequence[str]], asked: str | None
) -> tuple[dict[str, Target], list[str]]:
    """The targets among the columns (pyarrow arrays), and what was found out about the others.

    Args:
        columns: by name, without images, groups and splits.
        names: class or label names of integer columns.
        asked: the target that the user named: taken whatever it looks like. Several columns may
            be named with commas: together they are labels (0 and 1) or a vector of numbers.

    Raises:
        ValueError: the column that was asked for cannot be a target.
    """
    targets: dict[str, Target] = {}
    others: list[str] = []
    for name, column in columns.items():
        found = as_target(name, column, names.get(name), asked=name == asked)
        if isinstance(found, Target):
            targets[name] = found
        elif name == asked:
            raise ValueError(f"target {name!r}: {found}.")
        else:
            others.append(f"{name} ({found})")
    notes: list[str] = []
    if asked is not None and "," in asked and asked not in columns:
        parts = [part.strip() for part in asked.split(",")]
        if all(part in columns for part in parts):
            targets[asked] = _joined(asked, {part: columns[part] for part in parts})
    if asked is None:
        notes += _drop_same(targets)
    if others:
        notes.append(f"Columns that are no target: {', '.join(others)}.")
    return targets, notes


def as_target(
    name: str, column: Any, names: Sequence[str] | None = None, *, asked: bool = False
) -> Target | str:
    """The column as a target, or why it is not one.

    Integers with names, named like a label or of few values, and text are a class; lists and text
    with ``|`` between are several labels; other numbers are a number. Null, NaN, empty text and
    negative classes are unknown; an empty list is "none of them".
    """
    import pyarrow as pa

    column = pa.chunked_array(column.chunks if isinstance(column, pa.ChunkedArray) else [column])
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if not asked and NO_TARGET.search(name):
        return "by its name a description"
    if column.null_count == len(column):
        return "empty"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _list_target(name, column, names)
    if pa.types.is_boolean(kind):
        return class_target(name, column.cast(pa.int8()).to_pylist(), ["false", "true"])
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _text_target(name, column, asked)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _number_target(name, column, names, asked)
    return f"its type {kind} holds no target"


def groups_of(column: Any) -> NDArray[np.int64]:
    """Numbers of the groups ``(N,)``; null, NaN, negative and empty text are in no group, -1."""
    import pyarrow as pa

    column = pa.chunked_array(column.chunks if isinstance(column, pa.ChunkedArray) else [column])
    encoded = column.combine_chunks().dictionary_encode()
    known = class_target("group", encoded.dictionary.to_pylist()).values
    codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return np.where(codes < 0, -1, known[codes]) if len(known) else codes


def splits_of(column: Any, name: str) -> NDArray[np.str_]:
    """The split of each row; null is train.

    Raises:
        ValueError: a word that names no split.
    """
    words = ["train" if word is None else str(word).strip() for word in column.to_pylist()]
    for word in dict.fromkeys(words):
        if word and word.lower() not in SPLIT_OF:
            raise ValueError(
                f"split column {name!r}: {word!r} names no split; use {', '.join(SPLITS)}."
            )
    return np.array([SPLIT_OF[word.lower()] if word else "train" for word in words], "<U10")


def identities(
    targets: Mapping[str, Target], splits: NDArray[np.str_]
) -> tuple[dict[str, Target], list[str]]:
    """Class targets without a common class in train and test become identities."""
    notes: list[str] = []
    result = dict(targets)
    for name, target in targets.items():
        if target.kind != "class":
            continue
        sides = [target.values[(splits == side) & target.known] for side in ("train", "test")]
        if all(map(len, sides)) and not np.intersect1d(*sides).size:
            result[name] = replace(target, kind="identity")
            notes.append(f"No {name} of train is in test: {name} is an identity, not a class.")
    return result, notes


def _list_target(name: str, column: Any, names: Sequence[str] | None) -> Target | str:
    import pyarrow as pa

    rows = column.to_pylist()
    known = [row for row in rows if row is not None]
    inner = column.type.value_type
    lengths = {len(row) for row in known}
    if pa.types.is_floating(inner):
        if len(lengths) != 1 or 0 in lengths:
            return "lists of numbers of different lengths"
        return _vector(name, rows, lengths.pop())
    if pa.types.is_integer(inner) or pa.types.is_boolean(inner):
        values = {value for row in known for value in row}
        repeated = any(len(set(row)) < len(row) for row in known)
        if values <= {0, 1} and len(lengths) == 1 and (repeated or max(lengths) > 2):
            return _many_hot(name, rows, lengths.pop(), names)
        if any(value is None or value < 0 for value in values):
            return "lists with unknown or negative entries"
        if names is not None and values and max(values) >= len(names):
            return f"label {max(values)} has no name"
        if names is not None:
            return _labels(name, rows, list(range(len(names))), names)
    elif not (pa.types.is_string(inner) or pa.types.is_large_string(inner)):
        return f"its type {column.type} holds no target"
    return _labels(name, rows, sorted({v for row in known for v in row if v is not None}), None)


def _labels(
    name: str, rows: list[Any], levels: Sequence[Any], names: Sequence[str] | None
) -> Target | str:
    if not levels:
        return "no label in any list"
    if len(levels) > 10 * MAX_CLASSES:
        return f"{len(levels):,} different labels"
    place = {level: i for i, level in enumerate(levels)}
    values = np.zeros((len(rows), len(levels)), np.float32)
    for i, row in enumerate(rows):
        if row is None:
            values[i] = np.nan
        else:
            values[i, [place[v] for v in row if v is not None]] = 1.0
    return Target(name, "labels", values, tuple(map(str, names or levels)))


def _many_hot(name: str, rows: list[Any], width: int, names: Sequence[str] | None) -> Target:
    empty = [np.nan] * width
    values = np.array([empty if row is None else row for row in rows], np.float32)
    if names is None or len(names) != width:
        names = [f"{name} {i}" for i in range(width)]
    return Target(name, "labels", values, tuple(names))


def _vector(name: str, rows: list[Any], width: int) -> Target:
    empty = [np.nan] * width
    values = [empty if row is None else [np.nan if v is None else v for v in row] for row in rows]
    names = (name,) if width == 1 else tuple(f"{name} {i}" for i in range(width))
    return Target(name, "number", np.array(values, np.float32), names)


def _text_target(name: str, column: Any, asked: bool) -> Target | str:
    values = column.to_pylist()
    known = [value for value in values if value]
    if any("|" in value for value in known):
        rows = [
            None if value is None else [part.strip() for part in value.split("|") if part.strip()]
            for value in values
        ]
        levels = sorted({part for row in rows if row for part in row})
        return _labels(name, rows, levels, None)
    distinct = set(known)
    if not asked:
        if len(distinct) < 2:
            return "the same text everywhere"
        if len(distinct) == len(known) and len(known) > 2:
            return "another text in every row"
        if all(PATH.search(value) for value in distinct):
            return "paths of files"
    return class_target(name, values)


def _number_target(
    name: str, column: Any, names: Sequence[str] | None, asked: bool
) -> Target | str:
    import pyarrow as pa

    values = column.cast(pa.float64()).to_numpy().astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    known = values[~np.isnan(values)]
    distinct = np.unique(known)
    whole = bool((distinct == np.round(distinct)).all())
    if not len(known):
        return "empty"
    if len(distinct) < 2 and not asked and names is None:
        return "the same number everywhere"
    few = len(distinct) <= min(MAX_CLASSES, max(2, len(known) // 5))
    integers = pa.types.is_integer(column.type)
    named = bool(LABEL.search(name))
    as_class = named or names is not None or (integers and few and not NUMBER.search(name))
    if whole and (as_class or (len(distinct) <= 2 and not NUMBER.search(name))):
        codes = np.where(np.isnan(values), -1, values).astype(np.int64)
        if names is not None and codes.max() < len(names):
            return Target(name, "class", np.maximum(codes, -1), tuple(names))
        return class_target(name, codes.tolist())
    return Target(name, "number", values.astype(np.float32)[:, None], (name,))


def _joined(name: str, columns: Mapping[str, Any]) -> Target:
    """Columns beside each other: labels when all are 0 or 1, else a vector of numbers."""
    import pyarrow as pa

    parts = []
    for part, column in columns.items():
        try:
            parts.append(column.cast(pa.float32()).to_numpy())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ValueError(f"target {name!r}: column {part!r} does not hold numbers.") from None
    values = np.stack(parts, axis=1).astype(np.float32)
    known = values[~np.isnan(values)]
    kind: Any = "labels" if np.isin(known, (0.0, 1.0)).all() else "number"
    return Target(name, kind, values, tuple(columns))


def _drop_same(targets: dict[str, Target]) -> list[str]:
    """Takes out class targets that say the same as another one under other names."""
    notes: list[str] = []
    classes = [name for name, target in targets.items() if target.kind == "class"]
    for place, name in enumerate(classes):
        for other in classes[place + 1 :]:
            if name not in targets or other not in targets:
                continue
            a, b = targets[name].values, targets[other].values
            pairs = len(np.unique(np.stack([a, b]), axis=1).T)
            if pairs == len(np.unique(a)) == len(np.unique(b)):
                dropped, kept = (name, other) if LABEL.search(name) else (other, name)
                del targets[dropped]
                notes.append(f"Column {dropped} says the same as {kept}, which is taken.")
    return notes


def find_column(
    columns: Iterable[str], asked: str | None, pattern: re.Pattern[str], what: str
) -> str | None:
    """The column that was asked for, or the first whose name fits, or None.

    Raises:
        ValueError: the column asked for is not there (names the nearest).
    """
    from selfsight.settings import unknown

    names = list(columns)
    if asked is not None:
        if asked not in names:
            raise unknown(f"{what} column", asked, names)
        return asked
    return next((name for name in names if pattern.search(name)), None)
