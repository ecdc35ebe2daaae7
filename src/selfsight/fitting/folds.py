"""Folds of cross-validation inside a labelled subset, by group and label."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray


def groups_of(groups: NDArray[np.int64] | None, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(len(rows),)`` group numbers from 0; an image in no group is a group of its own."""
    if groups is None:
        return np.arange(len(rows), dtype=np.int64)
    chosen = groups[rows]
    alone = chosen < 0
    chosen = np.where(alone, chosen.max(initial=0) + 1 + np.arange(len(rows)), chosen)
    return np.unique(chosen, return_inverse=True)[1].astype(np.int64)


def held_out(
    values: NDArray[np.float32] | NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    folds: int,
    seed: int,
) -> NDArray[np.int64]:
    """Which fold holds each labelled row out.

    Args:
        values: ``(n,)`` classes, or ``(n, K)`` labels or numbers; classes are stratified.
        groups: ``(n,)``; a group is never cut.
        folds: how many at most.
        seed: of the shuffle.

    Returns:
        ``(n,)`` fold of each row, from 0. There are fewer folds where groups or labels are few,
        and a single one (nothing can be held out) where there is only one group.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    count = len(values)
    whole = len(np.unique(groups)) == count  # no group has two images
    folds = min(folds, len(np.unique(groups)))
    fold = np.zeros(count, np.int64)
    if folds < 2:
        return fold
    classes = values.ndim == 1
    if classes:
        folds = max(2, min(folds, int(np.bincount(values.astype(np.int64)).max())))
    # scikit-learn will not stratify when every class is smaller than the number of folds
    classes = classes and int(np.bincount(values.astype(np.int64)).max()) >= folds
    if whole:
        kind = StratifiedKFold if classes else KFold
        splitter = kind(folds, shuffle=True, random_state=seed)
    elif classes:
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    else:
        splitter = GroupKFold(folds, shuffle=True, random_state=seed)
    target = values if classes else np.zeros(count, np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        cut = splitter.split(np.zeros(count), target, None if whole else groups)
        for number, (_, outside) in enumerate(cut):
            fold[outside] = number
    return np.unique(fold, return_inverse=True)[1].astype(np.int64)
