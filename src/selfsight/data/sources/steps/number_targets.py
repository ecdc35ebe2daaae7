"""Columns of numbers as targets: a number, codes of classes, or yes and no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import Target, class_target
from selfsight.data.notes import Note, doubt, guess
from selfsight.data.reading import ReadOptions
from selfsight.data.sources.steps.columns import LABEL, NUMBER, flat
from selfsight.data.sources.steps.signs import Signs, signs_of

EMPTY = "empty"
COARSE = 0.01
MAX = float(np.finfo(np.float32).max)
LOUD = 0.2
"""Share of empty cells of several labels above which it is doubtful that they are unknown."""


class Unfit(str):
    """Why float32 cannot hold some numbers, which is to be doubted and not only noted."""


def of_kind(target: Target, kind: str | None) -> Target:
    """The class target, as an identity where the user said so."""
    return replace(target, kind="identity") if kind == "identity" else target


def number_of(name: str, values: NDArray[np.float64], names: tuple[str, ...]) -> Target | str:
    """Numbers ``(N, D)`` as a target, or why float32, which is computed with, cannot hold them.

    Rounding may move them by `COARSE` of their standard deviation: then it is a ten-thousandth of
    their variance. Infinite numbers are unknown.
    """
    values = np.where(np.isfinite(values), values, np.nan)
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    for column, kept, part in zip(values.T, rounded.T.astype(np.float64), names, strict=True):
        known = np.isfinite(column)
        if not known.any() or column[known].min() == column[known].max():
            continue
        of = f" of {part}" if len(names) > 1 else ""
        if np.isinf(kept[known]).any():
            largest = np.abs(column[known]).max()
            return Unfit(
                f"its values{of} reach {largest:.3g}, and float32 holds {MAX:.3g}; "
                "divide them by a constant"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            spread = float(np.std(column[known]))
            moved = float(np.sqrt(np.mean(np.square(kept - column)[known])))
        if moved > COARSE * spread:
            mean = f"mean {column[known].mean():.6g}, standard deviation {spread:.3g}"
            return Unfit(
                f"its values{of} differ too little for their size ({mean}): float32, which is "
                f"computed with, rounds them by {moved:.3g}; subtract a constant from them, or "
                "multiply them by one"
            )
    return Target(name, "number", rounded, names)


def number_target(
    name: str,
    column: Any,
    names: Sequence[str] | None,
    asked: bool,
    kind: str | None,
    options: ReadOptions,
) -> tuple[Target | str, list[str]]:
    """A column of numbers as a target, or why it is not one; and what was guessed.

    Args:
        name: of the column.
        column: a pyarrow array.
        names: of the classes that integers stand for.
        asked: take it whatever it looks like.
        kind: that the user named, or None: guessed.
        options: what empty and uncertain cells mean.
    """
    import pyarrow as pa

    # Whole numbers above 2**53 are rounded.
    values = column.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    known = values[~np.isnan(values)]
    distinct = np.unique(known)
    if not len(known):
        return EMPTY, []
    number = number_of(name, values[:, None], (name,))
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
            return of_kind(class_target(name, known_texts(values)), kind), []
        return of_kind(_class(name, values, names, signs), kind), _signs_said(signs)
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
    """Numbers as text, in as few digits as tell them apart; None where they are unknown."""
    distinct = np.unique(values[~np.isnan(values)]).tolist()
    short = len({f"{value:g}" for value in distinct}) == len(distinct)
    texts = {value: f"{value:g}" if short else repr(value) for value in distinct}
    return [texts.get(value) for value in values.tolist()]


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


def joined_target(
    name: str, columns: Mapping[str, Any], kind: str | None, options: ReadOptions
) -> tuple[Target, list[str]]:
    """Columns beside each other: labels when all are yes or no, else a vector of numbers."""
    import pyarrow as pa

    parts = []
    for part, column in columns.items():
        try:
            parts.append(flat(column).cast(pa.float64(), safe=False).to_numpy().astype(np.float64))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ValueError(f"target {name!r}: column {part!r} does not hold numbers.") from None
    values = np.stack(parts, axis=1)
    known = values[~np.isnan(values)]
    notes: list[str] = []
    signs = None if kind == "number" else signs_of(name, values, np.unique(known), options)
    if kind == "number" or (signs is None and not np.isin(known, (0.0, 1.0)).all()):
        if kind == "labels":
            raise ValueError(f"target {name!r}: its columns hold other numbers than 0 and 1.")
        vector = number_of(name, values, tuple(columns))
        if isinstance(vector, str):
            raise ValueError(f"target {name!r}: {vector}.")
        return vector, notes
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
