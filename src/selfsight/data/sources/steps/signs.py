"""Columns of -1, 0 and 1: yes and no, uncertain, or unknown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.notes import Note
from selfsight.data.reading import ReadOptions

CHOICES = ("unknown", "yes", "no", "class")


@dataclass(frozen=True)
class Signs:
    """What a column with -1 says.

    Attributes:
        values: 0 no, 1 yes, or codes of classes; NaN unknown.
        names: of the classes, where they are not the numbers.
        notes: what was taken.
    """

    values: NDArray[np.float64]
    names: tuple[str, ...] | None
    notes: tuple[str, ...]


def signs_of(
    name: str, values: NDArray[np.float64], distinct: NDArray[np.float64], options: ReadOptions
) -> Signs | None:
    """How -1 is read, or None where the numbers hold no -1 or others below 0 or between.

    {-1, 1} is no and yes. In {-1, 0, 1} the -1 is uncertain, and beside 0 to K it is unknown; both
    are as ``options.uncertain`` says.

    Args:
        name: of the column, for notes.
        values: NaN unknown.
        distinct: the sorted values that are known.
        options: what -1 means.
    """
    if not len(distinct) or distinct[0] != -1.0 or (distinct != np.round(distinct)).any():
        return None
    if distinct.tolist() == [-1.0, 1.0]:
        text = f"-1 and 1 in {name} are read as no and yes."
        return Signs((values + 1.0) / 2.0, ("no", "yes"), (text,))
    count = int((values == -1.0).sum())
    binary = distinct.tolist() in ([-1.0, 0.0, 1.0], [-1.0, 0.0])
    means = options.uncertain
    if means == "class":
        if values.ndim > 1:
            raise ValueError(f"target {name!r}: uncertain class: labels are yes, no or unknown.")
        names = tuple(f"{int(value)}" for value in distinct)
        return Signs(
            np.where(np.isnan(values), np.nan, np.searchsorted(distinct, values)), names, ()
        )
    number = {"unknown": np.nan, "yes": 1.0, "no": 0.0}[means if binary else "unknown"]
    what = f"uncertain, taken as {means}" if binary else "unknown"
    others = [word for word in CHOICES if word != means] if binary else ["class"]
    are = counted(count, f"value -1 of {name} is", f"values -1 of {name} are")
    text = f"{are} {what} (--uncertain {' or '.join(others)})."
    note = Note(text, "guess", about=name, taken=means, others=others, setting="uncertain",
                count=count)  # fmt: skip
    return Signs(np.where(values == -1.0, number, values), None, (note,))
