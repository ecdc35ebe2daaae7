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
from selfsight.data.sources.steps.alike_names import alike_doubt
from selfsight.data.sources.steps.columns import LABEL, NO_TARGET, flat, is_text, pieces
from selfsight.data.sources.steps.lists import labels_of, list_target
from selfsight.data.sources.steps.number_targets import (
    EMPTY,
    LOUD,
    Unfit,
    joined_target,
    number_target,
    of_kind,
)
from selfsight.data.sources.steps.number_texts import number_doubt, number_in_text, numbers_in
from selfsight.data.sources.steps.texts import listed_text, split_text, text_of_no_target
from selfsight.settings import unknown

NO_TARGET_COLUMNS = "Columns that are no target"
"""How the note begins that says why columns are none."""


def targets_of(
    columns: Mapping[str, Any],
    names: Mapping[str, Sequence[str]],
    target: str | None = None,
    options: ReadOptions | None = None,
    images: Sequence[str | None] | None = None,
) -> tuple[dict[str, Target], list[str]]:
    """The targets among the columns (pyarrow arrays), and what was found out about the others.

    Args:
        columns: by name, without images, groups and splits.
        names: class or label names of integer columns.
        target: the target that the user named: taken whatever it looks like. Several columns may
            be named with commas: together they are labels (0 and 1) or a vector of numbers.
        options: kinds of columns, and what empty and uncertain cells mean.
        images: the image of each row, which sentences name; None: it has none, or is not known.

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
            name, column, names.get(name), asked=asked, kind=kinds.get(name), options=options,
            images=images,
        )  # fmt: skip
        if isinstance(found, Target):
            targets[name] = found
            notes += more
        elif asked and (name == target or found != EMPTY):
            raise ValueError(f"target {name!r}: {found}.")
        elif isinstance(found, Unfit):
            notes.append(doubt(f"{name} is no target: {found}.", about=name))
        else:
            others.append(f"{name} ({found})")
            notes += more
    for wanted in dict.fromkeys([*([] if target is None else [target]), *kinds]):
        parts = None if wanted in columns else pieces(columns, wanted)
        if parts is not None:
            together = {part: _numbers(wanted, part, columns[part], images) for part in parts}
            targets[wanted], more = joined_target(wanted, together, kinds.get(wanted), options)
            notes += more
    if target is None:
        notes += _drop_same(targets, kinds)
    if others:
        notes.append(f"{NO_TARGET_COLUMNS}: {', '.join(others)}.")
    return targets, notes


def _numbers(target: str, part: str, column: Any, images: Sequence[str | None] | None) -> Any:
    """A column of several that are one target, numbers in text as numbers."""
    import pyarrow as pa

    column = flat(column)
    if not is_text(column.type):
        return column
    found = numbers_in(column, images)
    if isinstance(found, str):
        raise ValueError(f"target {target!r}: column {part!r}: {found}.")
    return pa.chunked_array([pa.array(found, from_pandas=True)])


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
    images: Sequence[str | None] | None = None,
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
        images: see `targets_of`.
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
        found, notes = list_target(name, column, names, kind, options)
        return found, notes if names is not None else [*notes, *_alike(found)]
    if pa.types.is_boolean(form):
        codes = column.cast(pa.int8())
        if kind in ("number", "labels"):
            return number_target(name, codes, None, asked, kind, options)
        return of_kind(class_target(name, codes.to_pylist(), ["false", "true"]), kind), []
    if is_text(form):
        found, notes = _text_target(name, column, asked, kind, options, images)
        return found, [*notes, *_alike(found)]
    if pa.types.is_integer(form) or pa.types.is_floating(form) or pa.types.is_decimal(form):
        return number_target(name, column, names, asked, kind, options)
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


def _text_target(
    name: str,
    column: Any,
    asked: bool,
    kind: str | None,
    options: ReadOptions,
    images: Sequence[str | None] | None,
) -> tuple[Target | str, list[str]]:
    values = column.to_pylist()
    if kind == "number":
        return number_in_text(name, column, images)
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
            return why, [*number_doubt(name, values, images, "no target")]
    target = of_kind(class_target(name, values), kind)
    if kind is None:
        taken = f"a class of {len(target.names):,} classes"
        notes = [*notes, *number_doubt(name, values, images, taken)]
    return target, notes


def _alike(found: Target | str) -> list[Note]:
    """A doubt on names of classes or labels that are written in several ways."""
    if isinstance(found, str) or found.kind == "number":
        return []
    one, several = ("Labels", "labels") if found.kind == "labels" else ("Classes", "classes")
    return alike_doubt(found.names, f"{one} of {found.name}", several, found.name)


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
    found = labels_of(name, rows, sorted({cell for row in rows if row for cell in row}), None)
    return found, notes if isinstance(found, Target) else []


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
