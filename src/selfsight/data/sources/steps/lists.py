"""Columns of lists: several labels, one-hot classes, and vectors of numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.imageset import Target
from selfsight.data.notes import guess
from selfsight.data.reading import ReadOptions
from selfsight.data.sources.steps.number_targets import number_of
from selfsight.data.sources.steps.signs import signs_of

MAX_LABELS = 1000
PLURAL = re.compile(r"(?<![aious])s$", re.I)
SINGULAR = ("species", "series", "lens", "pixels")
ONE_HOT = re.compile(r"one_?hot", re.I)


def is_plural(name: str) -> bool:
    """Whether a name says that there are several: ``defects``, ``tags``; not ``class``."""
    word = re.split(r"[_\W]+", name.lower())[-1]
    return bool(PLURAL.search(word)) and word not in SINGULAR and not ONE_HOT.search(name)


def list_target(
    name: str, column: Any, names: Sequence[str] | None, kind: str | None, options: ReadOptions
) -> tuple[Target | str, list[str]]:
    """A column of lists as a target, or why it is none; see `as_target`."""
    import pyarrow as pa

    rows = column.to_pylist()
    known = [row for row in rows if row is not None]
    inner = column.type.value_type
    lengths = {len(row) for row in known}
    width = lengths.pop() if len(lengths) == 1 else 0
    if pa.types.is_integer(inner) or pa.types.is_boolean(inner) or pa.types.is_floating(inner):
        values = {value for row in known for value in row}
        if width > 1 and kind != "number":
            yes = _yes_or_no(name, rows, width, values, options)
            if yes is not None:
                return _one_hot_or_labels(name, *yes, names, kind)
        if pa.types.is_floating(inner) or kind == "number":
            if not width:
                return "lists of numbers of different lengths", []
            return _vector(name, rows, width), []
        if any(value is None or value < 0 for value in values):
            return "lists with unknown or negative entries", []
        if names is not None and values and max(values) >= len(names):
            return f"label {max(values)} has no name", []
        if names is not None:
            return _named(labels_of(name, rows, list(range(len(names))), names), kind), []
    elif not (pa.types.is_string(inner) or pa.types.is_large_string(inner)):
        return f"its type {column.type} holds no target", []
    levels = sorted({v for row in known for v in row if v is not None})
    return _named(labels_of(name, rows, levels, None), kind), []


def labels_of(
    name: str,
    rows: Sequence[Sequence[Any] | None],
    levels: Sequence[Any],
    names: Sequence[str] | None,
) -> Target | str:
    """Several labels from lists of them; None is unknown, an empty list none of them."""
    if not levels:
        return "no label in any list"
    if len(levels) > MAX_LABELS:
        return f"{len(levels):,} different labels"
    place = {level: i for i, level in enumerate(levels)}
    values = np.zeros((len(rows), len(levels)), np.float32)
    for i, row in enumerate(rows):
        if row is None:
            values[i] = np.nan
        else:
            values[i, [place[v] for v in row if v is not None]] = 1.0
    return Target(name, "labels", values, tuple(map(str, names or levels)))


def _yes_or_no(
    name: str,
    rows: Sequence[Any],
    width: int,
    values: set[Any],
    options: ReadOptions,
) -> tuple[NDArray[np.float64], list[str]] | None:
    """``(N, K)`` of 0 and 1, NaN unknown, and notes; None where the lists hold something else."""
    known = {float(value) for value in values if value is not None and value == value}
    table = _table(rows, width)
    if known <= {0.0, 1.0}:
        return table, []
    if not known <= {-1.0, 0.0, 1.0}:
        return None
    signs = signs_of(name, table, np.unique(table[~np.isnan(table)]), options)
    if signs is None:
        return None
    return signs.values, list(signs.notes)


def _one_hot_or_labels(
    name: str,
    table: NDArray[np.float64],
    notes: list[str],
    names: Sequence[str] | None,
    kind: str | None,
) -> tuple[Target | str, list[str]]:
    width = table.shape[1]
    given = tuple(names) if names is not None and len(names) == width else None
    full = ~np.isnan(table).any(axis=1)
    single = bool(full.any()) and bool((table[full].sum(axis=1) == 1.0).all())
    labels = Target(
        name,
        "labels",
        table.astype(np.float32),
        given or tuple(f"{name} {i}" for i in range(width)),
    )
    if kind in ("class", "identity") and not single:
        return "some of its rows have more or less than one 1", []
    if kind == "labels" or not single or (kind is None and is_plural(name)):
        if kind is None:
            other = "class" if single else "number"
            text = f"Rows of 0 and 1 in {name} are {counted(width, 'label')}"
            taken, others = f"{name}:labels", [f"{name}:{other}"]
            notes = [*notes, guess(text, "kinds", taken, others, about=name)]
        return labels, notes
    codes = np.where(full, np.nan_to_num(table).argmax(axis=1), -1).astype(np.int64)
    target = Target(name, "class", codes, given or tuple(str(i) for i in range(width)))
    if kind is None:
        text = f"Each row of {name} has a single 1: one of {counted(width, 'class', 'classes')}"
        notes = [*notes, guess(text, "kinds", f"{name}:class", [f"{name}:labels"], about=name)]
    return _named(target, kind), notes


def _named(target: Target | str, kind: str | None) -> Target | str:
    """The target as the kind that was asked for, where it can be."""
    if isinstance(target, str) or kind is None or target.kind == kind:
        return target
    if target.kind == "labels" and kind in ("class", "identity"):
        known = ~np.isnan(target.values).any(axis=1)
        if not (target.values[known].sum(axis=1) == 1.0).all():
            return "some of its lists hold more or less than one label"
        codes = np.where(known, np.nan_to_num(target.values).argmax(axis=1), -1).astype(np.int64)
        kept: Any = kind
        return Target(target.name, kept, codes, target.names)
    if target.kind == "class" and kind == "identity":
        return replace(target, kind="identity")
    return f"it cannot be a {kind}"


def _table(rows: Sequence[Any], width: int) -> NDArray[np.float64]:
    empty = [np.nan] * width
    values = [empty if row is None else [np.nan if v is None else v for v in row] for row in rows]
    return np.array(values, np.float64)


def _vector(name: str, rows: list[Any], width: int) -> Target | str:
    names = (name,) if width == 1 else tuple(f"{name} {i}" for i in range(width))
    return number_of(name, _table(rows, width), names)
