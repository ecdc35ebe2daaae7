"""Columns as targets: what kind each one is, what else it could be, and why it is not one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import Target, class_target
from selfsight.data.notes import Note, doubt, guess
from selfsight.data.reading import ReadOptions
from selfsight.data.sources.steps.columns import LABEL, NO_TARGET, NUMBER, flat, is_text, pieces
from selfsight.data.sources.steps.lists import labels_of, list_target
from selfsight.data.sources.steps.signs import Signs, signs_of
from selfsight.data.sources.steps.texts import listed_text, split_text, text_of_no_target
from selfsight.settings import unknown

NO_TARGET_COLUMNS = "Columns that are no target"
"""How the note begins that says why columns are none."""
EMPTY = "empty"
LOUD = 0.2
"""Share of empty cells of several labels above which it is doubtful that they are unknown."""


def targets_of(
    columns: Mapping[str, Any],
    names: Mapping[str, Sequence[str]],
    target: str | None = None,
    options: ReadOptions | None = None,
) -> tuple[dict[str, Target], list[str]]:
    """The targets among the columns (pyarrow arrays), and what was found out about the others.

    Args:
        columns: by name, without images, groups and splits.
        names: class or label names of integer columns.
        target: the target that the user named: taken whatever it looks like. Several columns may
            be named with commas: together they are labels (0 and 1) or a vector of numbers.
        options: kinds of columns, and what empty and uncertain cells mean.

    Raises:
        ValueError: a column that was asked for cannot be a target, or not of that kind.
    """
    options = options or ReadOptions()
    kinds = options.kind_of
    targets: dict[str, Target] = {}
    others: list[str] = []
    notes: list[str] = []
    for name, column in columns.items():
        asked = name == target or name in kinds
        found, more = as_target(
            name, column, names.get(name), asked=asked, kind=kinds.get(name), options=options
        )
        if isinstance(found, Target):
            targets[name] = found
            notes += more
        elif asked and (name == target or found != EMPTY):
            raise ValueError(f"target {name!r}: {found}.")
        else:
            others.append(f"{name} ({found})")
    for wanted in dict.fromkeys([*([] if target is None else [target]), *kinds]):
        parts = None if wanted in columns else pieces(columns, wanted)
        if parts is not None:
            together = {part: columns[part] for part in parts}
            targets[wanted], more = _joined(wanted, together, kinds.get(wanted), options)
            notes += more
    if target is None:
        notes += _drop_same(targets, kinds)
    if others:
        notes.append(f"{NO_TARGET_COLUMNS}: {', '.join(others)}.")
    return targets, notes


def check_asked(
    source: str, target: str | None, options: ReadOptions, columns: Mapping[str, Any]
) -> None:
    """Raises ``ValueError`` where a target or a kind names a column that is not there."""
    if target is not None and target not in columns and pieces(columns, target) is None:
        raise unknown(f"target in {source} named", target, columns)


def as_target(
    name: str,
    column: Any,
    names: Sequence[str] | None = None,
    *,
    asked: bool = False,
    kind: str | None = None,
    options: ReadOptions | None = None,
) -> tuple[Target | str, list[str]]:
    """The column as a target, or why it is not one; and what was guessed.

    Integers with names, named like a label or that recur, and text are a class; lists and text
    with separators are several labels; other numbers are a number. Null, NaN, empty text and -1
    are unknown; an empty list is "none of them". Rows of 0 and 1 with a single 1 are a class,
    unless the name is a plural.

    Args:
        name: of the column.
        column: a pyarrow array.
        names: class or label names of integers.
        asked: take it whatever it looks like.
        kind: that the user named, or None: guessed.
        options: what empty and uncertain cells mean, and the separator of labels.
    """
    import pyarrow as pa

    options = options or ReadOptions()
    column = flat(column)
    form = column.type
    if not asked and NO_TARGET.search(name) and not LABEL.search(name):
        return "by its name a description", []
    if column.null_count == len(column):
        return EMPTY, []
    if pa.types.is_list(form) or pa.types.is_large_list(form) or pa.types.is_fixed_size_list(form):
        return list_target(name, column, names, kind, options)
    if pa.types.is_boolean(form):
        codes = column.cast(pa.int8())
        if kind in ("number", "labels"):
            return _number_target(name, codes, None, asked, kind, options)
        return _of_kind(class_target(name, codes.to_pylist(), ["false", "true"]), kind), []
    if is_text(form):
        return _text_target(name, column, asked, kind, options)
    if pa.types.is_integer(form) or pa.types.is_floating(form) or pa.types.is_decimal(form):
        return _number_target(name, column, names, asked, kind, options)
    return f"its type {form} holds no target", []


def identities(
    targets: Mapping[str, Target], splits: NDArray[np.str_], options: ReadOptions | None = None
) -> tuple[dict[str, Target], list[str]]:
    """Class targets without a common class in train and test become identities."""
    kinds = {} if options is None else options.kind_of
    notes: list[str] = []
    result = dict(targets)
    for name, target in targets.items():
        if target.kind != "class" or name in kinds:
            continue
        sides = [target.values[(splits == side) & target.known] for side in ("train", "test")]
        if all(map(len, sides)) and not np.intersect1d(*sides).size:
            result[name] = replace(target, kind="identity")
            text = f"No {name} of train is in test: {name} is an identity, not a class"
            notes.append(guess(text, "kinds", f"{name}:identity", [f"{name}:class"], about=name))
    return result, notes


def _of_kind(target: Target, kind: str | None) -> Target:
    return replace(target, kind="identity") if kind == "identity" else target


def _text_target(
    name: str, column: Any, asked: bool, kind: str | None, options: ReadOptions
) -> tuple[Target | str, list[str]]:
    values = column.to_pylist()
    if kind == "number":
        return _number_text(name, column)
    lists = listed_text(values) if kind in (None, "labels") else None
    if lists is not None:
        return list_target(name, lists, None, kind, options)
    wants_labels = kind == "labels"
    separator, notes = (None, []) if kind in ("class", "identity") else split_text(
        name, values, options.separator, wants_labels
    )  # fmt: skip
    if separator is not None or wants_labels:
        return _labels_of_text(name, values, separator, options, notes)
    known = [value for value in values if value]
    if not asked:
        why = text_of_no_target(known)
        if why is not None:
            return why, []
    return _of_kind(class_target(name, values), kind), notes


def _labels_of_text(
    name: str, values: list[Any], separator: str | None, options: ReadOptions, notes: list[str]
) -> tuple[Target | str, list[str]]:
    rows: list[list[str] | None] = []
    for value in values:
        if value is None:
            rows.append([] if options.empty == "none" else None)
        else:
            cells = [value] if separator is None else value.split(separator)
            rows.append([cell.strip() for cell in cells if cell.strip()])
    empty = sum(value is None for value in values)
    if empty and options.empty == "unknown":
        text = (
            f"{empty:,} of {len(values):,} cells of {name} are empty and taken as unknown "
            "(--empty none takes them as none of the labels)."
        )
        note = Note(text, "guess", about=name, taken="unknown", others=("none",), setting="empty",
                    count=empty, doubtful=empty > LOUD * len(values))  # fmt: skip
        notes = [*notes, note]
    return labels_of(name, rows, sorted({cell for row in rows if row for cell in row}), None), notes


def _number_text(name: str, column: Any) -> tuple[Target | str, list[str]]:
    import pyarrow as pa

    try:
        values = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return "its text holds no numbers", []
    numbers = values.to_numpy().astype(np.float32)[:, None]
    return Target(name, "number", numbers, (name,)), []


def _number_target(
    name: str,
    column: Any,
    names: Sequence[str] | None,
    asked: bool,
    kind: str | None,
    options: ReadOptions,
) -> tuple[Target | str, list[str]]:
    import pyarrow as pa

    # Whole numbers above 2**53 are rounded.
    values = column.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    known = values[~np.isnan(values)]
    distinct = np.unique(known)
    if not len(known):
        return EMPTY, []
    number = Target(name, "number", values.astype(np.float32)[:, None], (name,))
    if kind == "number":
        return number, []
    signs = signs_of(name, values, distinct, options)
    if kind == "labels":
        if signs is None and not set(distinct) <= {0.0, 1.0}:
            return "it holds other numbers than 0 and 1", []
        yes = values if signs is None else signs.values
        if options.empty == "none":
            yes = np.where(np.isnan(values), 0.0, yes)
        return Target(name, "labels", yes.astype(np.float32)[:, None], (name,)), []
    whole = bool((distinct == np.round(distinct)).all())
    if kind in ("class", "identity"):
        if not whole:
            return _of_kind(class_target(name, known_texts(values)), kind), []
        return _of_kind(_class(name, values, names, signs), kind), _signs_said(signs)
    if len(distinct) < 2 and not asked and names is None:
        return "the same number everywhere", []
    if whole and _like_a_class(name, column, distinct, known, names, signs):
        notes = _signs_said(signs)
        if names is None and not LABEL.search(name) and signs is None and len(distinct) > 2:
            text = f"{name} holds whole numbers that recur: {len(distinct):,} classes"
            notes.append(guess(text, "kinds", f"{name}:class", [f"{name}:number"], about=name))
        return _class(name, values, names, signs), notes
    notes = []
    if signs is not None or (whole and distinct[0] == -1.0 and len(distinct) > 2):
        count = int((known == -1.0).sum())
        notes.append(doubt(f"{name} is a number, and {count:,} of its values are -1.", about=name,
                           setting="kinds", count=count))  # fmt: skip
    return number, notes


def known_texts(values: NDArray[np.float64]) -> list[str | None]:
    """Numbers as text; None where they are unknown."""
    return [None if np.isnan(value) else f"{value:g}" for value in values.tolist()]


def _like_a_class(
    name: str,
    column: Any,
    distinct: NDArray[np.float64],
    known: NDArray[np.float64],
    names: Sequence[str] | None,
    signs: Signs | None,
) -> bool:
    """Whether whole numbers are codes of classes rather than amounts."""
    if names is not None or LABEL.search(name):
        return True
    if NUMBER.search(name) or distinct[0] < -1.0:
        return False
    return signs is not None or len(distinct) <= max(2, len(known) // 5)


def _class(
    name: str, values: NDArray[np.float64], names: Sequence[str] | None, signs: Signs | None
) -> Target:
    if signs is not None:
        codes = np.where(np.isnan(signs.values), -1, signs.values).astype(np.int64)
        if signs.names is not None:
            return Target(name, "class", codes, signs.names)
        return class_target(name, codes.tolist(), names)
    codes = np.where(np.isnan(values), -1, values).astype(np.int64)
    if names is not None and codes.max() < len(names):
        return Target(name, "class", np.maximum(codes, -1), tuple(names))
    if codes.min() < -1:  # as text, for negative numbers would be unknown
        return class_target(name, known_texts(values))
    return class_target(name, codes.tolist())


def _signs_said(signs: Signs | None) -> list[str]:
    return [] if signs is None else list(signs.notes)


def _joined(
    name: str, columns: Mapping[str, Any], kind: str | None, options: ReadOptions
) -> tuple[Target, list[str]]:
    """Columns beside each other: labels when all are yes or no, else a vector of numbers."""
    import pyarrow as pa

    parts = []
    for part, column in columns.items():
        try:
            parts.append(flat(column).cast(pa.float32()).to_numpy().astype(np.float64))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ValueError(f"target {name!r}: column {part!r} does not hold numbers.") from None
    values = np.stack(parts, axis=1)
    known = values[~np.isnan(values)]
    notes: list[str] = []
    signs = None if kind == "number" else signs_of(name, values, np.unique(known), options)
    if kind == "number" or (signs is None and not np.isin(known, (0.0, 1.0)).all()):
        if kind == "labels":
            raise ValueError(f"target {name!r}: its columns hold other numbers than 0 and 1.")
        return Target(name, "number", values.astype(np.float32), tuple(columns)), notes
    yes = values if signs is None else signs.values
    empty = np.isnan(values)
    if empty.any() and options.empty == "none":
        yes = np.where(empty, 0.0, yes)
    elif empty.any():
        text = (
            f"{int(empty.sum()):,} of {values.size:,} cells of {name} are empty and taken as "
            "unknown (--empty none takes them as no)."
        )
        notes.append(Note(text, "guess", about=name, taken="unknown", others=("none",),
                          setting="empty", count=int(empty.sum()),
                          doubtful=empty.mean() > LOUD))  # fmt: skip
    target = Target(name, "labels", yes.astype(np.float32), tuple(columns))
    return target, [*_signs_said(signs), *notes]


def _drop_same(targets: dict[str, Target], named: Collection[str]) -> list[str]:
    """Takes out class targets, unless named, that say the same as another under other names."""
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
                if dropped in named:
                    dropped, kept = kept, dropped
                if dropped in named:
                    continue
                del targets[dropped]
                notes.append(f"Column {dropped} says the same as {kept}, which is taken.")
    return notes
