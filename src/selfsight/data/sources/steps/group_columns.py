"""Which column of a table holds the groups, where nobody says so."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import Target
from selfsight.data.notes import Note, doubt, guess
from selfsight.data.reading import NONE, Asked
from selfsight.data.sources.steps.columns import (
    GROUP,
    WEAK_GROUP,
    find_column,
    flat,
    groups_of,
    several_in,
)
from selfsight.data.sources.steps.lists import is_plural
from selfsight.data.sources.steps.long_form import RARE
from selfsight.data.sources.steps.targets import targets_of
from selfsight.data.sources.steps.texts import check_separator


def plausible(codes: NDArray[np.int64], targets: Mapping[str, Target]) -> bool:
    """Whether numbers can be groups: neither constant nor unique, and no function of a target."""
    known = codes >= 0
    count = len(np.unique(codes[known]))
    if count < 2 or count == known.sum():
        return False
    return not any(_function_of(codes, target) for target in targets.values())


def _function_of(codes: NDArray[np.int64], target: Target) -> bool:
    """Whether each class has one group."""
    if target.kind not in ("class", "identity"):
        return False
    both = (codes >= 0) & target.known
    pairs = np.unique(np.stack([codes[both], target.values[both]]), axis=1)
    return bool(both.any()) and pairs.shape[1] == len(np.unique(target.values[both]))


def group_candidates(
    columns: Iterable[str], asked: str | None, taken: Iterable[str | None]
) -> list[str]:
    """Columns that may hold the groups, strong names first.

    Args:
        columns: names.
        asked: the column that the user named, or none.
        taken: columns that are asked for as something else.

    Raises:
        ValueError: the column asked for is not there.
    """
    names = list(columns)
    if asked is not None:
        found = find_column(names, asked, GROUP, "group")
        return [] if found is None else [found]
    free = [name for name in names if name not in set(taken)]
    strong = [name for name in free if GROUP.search(name)]
    return strong + [name for name in free if WEAK_GROUP.search(name)]


def groups_and_targets(
    rest: Mapping[str, Any],
    columns: Mapping[str, Any],
    names: Mapping[str, Sequence[str]],
    asked: Asked,
    labelled: bool = False,
    images: Sequence[str | None] | None = None,
) -> tuple[str | None, dict[str, Target], list[str]]:
    """The column of the groups, the targets among the others, and notes.

    Args:
        rest: pyarrow columns that may be targets or groups.
        columns: all columns, where the one that was asked for is looked up.
        names: class or label names of integer columns.
        asked: columns that the user named.
        labelled: whether the images have targets beside these columns.
        images: the image of each row; None: it has none; None: not known.

    Raises:
        ValueError: a column that was asked for is not there or does not fit, or an image is in two
            groups.
    """
    taken = (asked.target, *asked.options.kind_of)
    wanted, notes = asked.group, list[str]()
    if wanted is None and asked.known_group in rest and asked.known_group not in taken:
        wanted = asked.known_group
        text = f"Column {wanted} is taken as the group, as in the round before"
        notes = [guess(text, "group", str(wanted), [NONE], about=str(wanted))]
    candidates = group_candidates(columns if asked.group is not None else rest, wanted, taken)
    units = {name for name in rest if GROUP.search(name)}
    apart = {*candidates, *units} - {*taken}
    targets, said = targets_of(_without(rest, apart), names, asked.target, asked.options, images)
    group, guessed = chosen_group(candidates, columns, targets, wanted, labelled, images)
    # A unit such as a person is the target where there is no other.
    apart_from = (targets or labelled) and (group or asked.group == NONE)
    units = units - {group, *taken} if apart_from else set()
    read = apart - {group, *units}
    if read:
        apart -= read
        targets, said = targets_of(
            _without(rest, apart), names, asked.target, asked.options, images
        )
    check_separator(rest, targets, asked)
    if not asked.targets:  # nor is anything said of them
        said = []
    if units:
        named = ", ".join(sorted(units))
        notes.append(f"Columns that look like other groups are not read: {named}.")
    return group, targets, [*notes, *guessed, *said]


def _without(columns: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: column for name, column in columns.items() if name not in names}


def chosen_group(
    candidates: Iterable[str],
    columns: Mapping[str, Any],
    targets: Mapping[str, Target],
    asked: str | None,
    labelled: bool = False,
    images: Sequence[str | None] | None = None,
) -> tuple[str | None, list[str]]:
    """The column of the groups among the candidates, and what is said about it.

    A name such as ``coil`` or ``patient`` is taken whatever it holds, unless it is the only column
    that can be a target or says the same as one, as ``person`` beside a label of persons. A name
    such as ``batch`` is taken where it is plausible. Where many images have several values, as
    ``persons`` on a photo, they are labels, which is said.

    Args:
        candidates: from `group_candidates`.
        columns: pyarrow columns by name.
        targets: of the other columns.
        asked: the column that the user named, or none.
        labelled: whether the images have targets that are no columns.
        images: see `groups_and_targets`.

    Raises:
        ValueError: a few images are in two groups of the column.
    """
    names = list(candidates)
    if asked is not None:
        return (names[0] if names else None), []
    notes: list[str] = []
    for name in names:
        single, several = _single(columns[name])
        if single is None:
            continue
        codes, _ = groups_of(single)
        if GROUP.search(name):
            same = any(
                _function_of(codes, t) and len(np.unique(codes)) > 2 for t in targets.values()
            )
            if not (targets or labelled) or (same and "person" in name.lower()):
                continue
        elif not plausible(codes, targets):
            continue
        often = several > 0 and several >= RARE * len(codes)
        if often and (_of_several(name) or not GROUP.search(name)):
            notes.append(_labels_instead(name, several, len(codes)))
            continue
        groups_of(columns[name], name, images)
        text = f"Column {name} is taken as the group"
        return name, [*notes, guess(text, "group", name, [NONE], about=name)]
    return None, notes


def _single(column: Any) -> tuple[Any | None, int]:
    """The first value of each row, and how many rows have several; None: it cannot be a group."""
    import pyarrow as pa

    rows = several_in(column)
    if rows is None:
        return (None if pa.types.is_nested(flat(column).type) else column), 0
    first = [row[0] if row else None for row in rows]
    values = pa.chunked_array([pa.array(first, flat(column).type.value_type)])
    return values, sum(len(row) > 1 for row in rows)


def _of_several(name: str) -> bool:
    """Whether an image may well have several: ``persons``, ``scenes``."""
    return is_plural(name) or "person" in name.lower()


def _labels_instead(name: str, several: int, count: int) -> Note:
    text = (
        f"{several:,} of {count:,} images have several values of {name}, which is therefore not "
        "taken as the group"
    )
    if _of_several(name):
        return guess(text, "group", NONE, about=name, count=several)
    return doubt(f"{text}; name another group, or --group none.", about=name, setting="group",
                 count=several)  # fmt: skip
