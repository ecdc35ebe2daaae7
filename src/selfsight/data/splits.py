"""Splits that never cut a group and keep the label distribution; few-label subsets.

What is given is kept. Where there is no test split, test is cut from all train rows, labelled or
not, so that labels that come later find a test split that no training has touched; validation is
cut from the rest. Both are cut from *units* (groups, or single images) so that the counts of every
label on the two sides are as close to the asked share as the groups allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from selfsight.console import counted
from selfsight.data.balance import Rows, balanced_cut, label_columns, rank_within, strata_of
from selfsight.data.imageset import ImageSet, Target

LabelFraction = Annotated[float, Field(gt=0.0, le=1.0)]
"""The share of the labels that a verb may read; `few_labels` draws them."""
MAX_UNLABELLED_VALIDATION = 2000
MAX_UNLABELLED_TEST = 10_000
"""Images that are cut as test at most where nothing is labelled."""
TEST_SEED = 0


def complete_splits(
    images: ImageSet,
    target_name: str | None,
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
) -> ImageSet:
    """The image set with all its splits; says in ``notes`` what was cut.

    Splits that are there are kept. Where there is no test split it is cut from all train rows,
    always with the same seed: it belongs to the data, not to a training. Validation is cut from the
    labelled rows of train with ``seed``. Without any label the rest of train becomes
    ``unlabelled``; at most 10,000 images are then test and 2,000 validation.

    Args:
        images: rows not given to a split are in ``train``.
        target_name: the labels to keep balanced; None: the first target, numbers last.
        validation: share of train.
        test: share of the rows; 0: no test split is cut.
        seed: of the validation split.

    Raises:
        ValueError: a share is not in [0, 1).
    """
    splits, notes = assign_splits(
        images.splits,
        images.targets,
        images.groups,
        target_name,
        validation=validation,
        test=test,
        seed=seed,
    )
    return replace(images, splits=splits).with_notes(*notes)


def assign_splits(
    splits: NDArray[np.str_],
    targets: Mapping[str, Target],
    groups: NDArray[np.int64] | None,
    target_name: str | None,
    *,
    validation: float,
    test: float,
    seed: int,
) -> tuple[NDArray[np.str_], list[str]]:
    """`complete_splits` without pixels: the new splits, and what was done."""
    for name, share in (("validation", validation), ("test", test)):
        if not 0.0 <= share < 1.0:
            raise ValueError(f"{name}: must be a share from 0 to below 1 (got {share}).")
    splits = splits.astype("<U10")
    target = _balanced_target(targets, target_name)
    notes: list[str] = []
    if target is None or not target.known.any():
        return _unlabelled_splits(splits, groups, validation, test, seed)
    by = _described(target, groups)
    if test > 0 and not (splits == "test").any():
        chosen = _cut(splits, splits == "train", target, groups, test, TEST_SEED)
        notes.append(_said("test", chosen, int((splits == "train").sum()), by))
        splits[chosen] = "test"
    if validation > 0 and not (splits == "validation").any():
        labelled = (splits == "train") & target.known
        chosen = _cut(splits, labelled, target, groups, validation, seed)
        notes.append(_said("validation", chosen, int((splits == "train").sum()), by))
        splits[chosen] = "validation"
    return splits, notes


def draw_pool(splits: NDArray[np.str_], limit: int, seed: int) -> Rows:
    """Rows that stay when the pool (train and unlabelled) is limited to ``limit`` rows.

    Validation and test stay whole; the draw is uniform, and the rows stay in order.
    """
    pool = np.flatnonzero(np.isin(splits, ("train", "unlabelled")))
    if limit < len(pool):
        pool = np.random.default_rng([seed, 2]).choice(pool, limit, replace=False)
    others = np.flatnonzero(np.isin(splits, ("validation", "test")))
    return np.sort(np.concatenate([pool, others])).astype(np.int64)


def at_most(rows: Rows, most: int, *seed: int) -> Rows:
    """The rows, or where there are more ``most`` of them: a uniform draw by seed, ascending."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def few_labels(
    target: Target, rows: Rows, fraction: float, seed: int, groups: NDArray[np.int64] | None = None
) -> Rows:
    """A stratified subset of the rows whose target is known, in ascending order.

    The rows get one order, drawn from the seed, in which every beginning is balanced (Webster's
    divisor method over the classes); the subset is its beginning. So a smaller fraction is part
    of a larger one, and the count is ``round(fraction * known)``, but at least one row of each
    class (each label, each number of a vector) that is present, even where the fraction alone
    would give none. Several
    labels are balanced over their combinations, numbers over quantile bins.

    Args:
        target: of the whole image set.
        rows: candidates, indices into the image set.
        fraction: share of the candidates with a known target, in (0, 1].
        seed: of the draw.
        groups: of the whole image set; the rows of a class then come from as many groups as
            possible before a second one comes from the same group.

    Raises:
        ValueError: the fraction is not in (0, 1], or no candidate has a known target.
    """
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"label fraction: must be above 0 and at most 1 (got {fraction}).")
    rows = np.asarray(rows, np.int64)
    rows = rows[target.known[rows]]
    if not len(rows):
        raise ValueError(f"target {target.name!r}: none of the images to label has a known value.")
    random = np.random.default_rng([seed, 3])
    part = target.take(rows)
    strata = strata_of(part)
    rank = rank_within(strata, None if groups is None else groups[rows], random)
    sizes = np.bincount(strata)
    # A jitter that is evenly spread over the strata keeps small strata from all coming last.
    jitter = (random.random() + np.arange(len(sizes)) * 0.6180339887498949) % 1.0
    if part.kind == "class":
        jitter = 0.5 + 1e-9 * random.random(len(sizes))
    key = (rank + jitter[strata]) / sizes[strata]
    order = np.argsort(key, kind="stable")
    if part.kind != "identity":
        order = _cover_first(order, part)
        least = _covering(order, part)
    else:
        least = 1
    count = max(least, round(fraction * len(rows)))
    return np.sort(rows[order[:count]])


def _cut(
    splits: NDArray[np.str_],
    candidates: NDArray[np.bool_],
    target: Target | None,
    groups: NDArray[np.int64] | None,
    share: float,
    seed: int,
) -> Rows:
    """Rows of train to move: a share of the candidates, and all of their groups, balanced."""
    rows = np.flatnonzero(candidates)
    if len(rows) < 2:
        return rows[:0]
    columns, strata = np.zeros((len(rows), 0)), np.zeros(len(rows), np.int64)
    if target is not None:
        if target.kind == "identity" and groups is None:
            groups = target.values
        part = target.take(rows)
        columns, strata = label_columns(part), strata_of(part)
    inside = None if groups is None else groups[rows]
    chosen = rows[balanced_cut(columns, strata, inside, share, seed)]
    if groups is None:
        return chosen
    moved = np.unique(groups[chosen])
    whole = (splits == "train") & np.isin(groups, moved[moved >= 0])
    whole[chosen] = True
    return np.flatnonzero(whole)


def _unlabelled_splits(
    splits: NDArray[np.str_],
    groups: NDArray[np.int64] | None,
    validation: float,
    test: float,
    seed: int,
) -> tuple[NDArray[np.str_], list[str]]:
    notes: list[str] = []
    where = "" if groups is None else ", no group in two splits"
    for name, share, most, at in (
        ("test", test, MAX_UNLABELLED_TEST, TEST_SEED),
        ("validation", validation, MAX_UNLABELLED_VALIDATION, seed),
    ):
        count = int((splits == "train").sum())
        share = min(share, most / max(count, 1))
        if share > 0 and count > 1 and not (splits == name).any():
            chosen = _cut(splits, splits == "train", None, groups, share, at)
            splits[chosen] = name
            notes.append(f"{cut_of(len(chosen), count)} as {name}{where}.")
    train = splits == "train"
    splits[train] = "unlabelled"
    unlabelled = counted(int(train.sum()), "image is", "images are")
    first = f"No labels: {unlabelled} unlabelled, for pretraining only."
    return splits, [first, *notes]


def _balanced_target(targets: Mapping[str, Target], name: str | None) -> Target | None:
    if name is not None and targets:
        return targets[name]
    known = [target for target in targets.values() if target.known.any()]
    return min(known, key=lambda target: target.kind == "number", default=None)


def _described(target: Target, groups: NDArray[np.int64] | None) -> str:
    if groups is None and target.kind == "identity":
        return f"no {target.name} in two splits"
    return f"balanced by {target.name}" + ("" if groups is None else ", no group in two splits")


def _said(split: str, chosen: Rows, count: int, by: str) -> str:
    if not len(chosen):
        return f"There is no {split} split: too few images or groups to cut one from train."
    return f"{cut_of(len(chosen), count)} from train as {split}, {by}."


def cut_of(chosen: int, count: int) -> str:
    """``20 images (20%) were cut``, of so many."""
    what = "image" if chosen == 1 else "images"
    return f"{chosen:,} {what} ({chosen / count:.0%}) {'was' if chosen == 1 else 'were'} cut"


def _first_of_each(order: Rows, target: Target) -> list[int]:
    """Positions along the order that are needed for one row of each class, label or number."""
    if target.kind == "number":
        known = ~np.isnan(target.values[order])
        return [int(column.argmax()) for column in known.T if column.any()]
    if target.kind == "class":
        return [int(i) for i in np.unique(target.values[order], return_index=True)[1]]
    positions: list[int] = []
    values = np.nan_to_num(target.values[order]) > 0
    covered = np.zeros(values.shape[1], bool)
    for label in np.argsort(values.sum(axis=0), kind="stable"):  # rarest first
        if values[:, label].any() and not covered[label]:
            positions.append(int(values[:, label].argmax()))
            covered |= values[positions[-1]]
    return positions


def _cover_first(order: Rows, target: Target) -> Rows:
    """The order with one row of each class, label or number moved to its beginning."""
    first = np.zeros(len(order), bool)
    first[_first_of_each(order, target)] = True
    return np.concatenate([order[first], order[~first]])


def _covering(order: Rows, target: Target) -> int:
    return max(_first_of_each(order, target), default=0) + 1
