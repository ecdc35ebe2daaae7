"""What trials on labels may read, and which part of it is held out to compare them by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet, Target, choose_target
from selfsight.data.splits import few_labels
from selfsight.fitting.folds import groups_of, held_out

Rows = NDArray[np.int64]
_FOLDS = 5
_FEW = 2000  # labelled images up to which one split is too small to choose by
_LEAST = 20  # labelled validation images that can tell trials apart at all


def target_of(images: ImageSet, name: str | None) -> Target:
    """What is learnt.

    Args:
        images: with targets.
        name: of one of them; None: the only one.

    Raises:
        ValueError: there is none, or it holds identities.
    """
    target = choose_target(images, name)
    if target is None:
        raise ValueError(f"{images.name} has no target: there is nothing to learn or to choose by.")
    if target.kind == "identity":
        raise ValueError(f"target {target.name!r}: identities are retrieved, not predicted.")
    return target


def labelled_rows(images: ImageSet, target: Target, fraction: float, seed: int) -> Rows:
    """``(n,)`` labelled rows of train and validation, or a share of them.

    Raises:
        ValueError: they are fewer than four.
    """
    rows = images.rows("train", "validation")
    rows = rows[target.known[rows]]
    if fraction < 1.0:
        rows = few_labels(target, rows, fraction, seed, images.groups)
    if len(rows) < 4:
        raise ValueError(
            f"{target.name}: {len(rows)} labelled train and validation images are too few to "
            "choose by."
        )
    return rows


def cut(
    images: ImageSet, target: Target, rows: Rows, folds: int | None, seed: int
) -> tuple[Rows, str]:
    """Which fold holds out each labelled row, by group, and a sentence on it.

    Args:
        images: with their splits and groups.
        target: of all images.
        rows: ``(n,)`` labelled rows.
        folds: 1: the validation split, or a fifth of the rows where fewer than 20 of them are of
            that split; None: 5 up to 2,000 rows, else 1.
        seed: of the cut.

    Returns:
        ``(n,)`` numbers of folds, -1 where none holds the row out; the sentence.

    Raises:
        ValueError: the rows are all of one group.
    """
    count = folds or (_FOLDS if len(rows) <= _FEW else 1)
    groups = groups_of(images.groups, rows)
    by = f", by {images.group_name or 'group'}" if images.groups is not None else ""
    validation = np.isin(rows, images.rows("validation"))
    if count == 1 and validation.sum() >= _LEAST and not validation.all():
        found = np.where(validation, 0, -1).astype(np.int64)
        return found, (
            f"Trials are trained on {int((found < 0).sum()):,} labelled images and compared on "
            f"the {int(validation.sum()):,} of the validation split."
        )
    found = held_out(
        target.values[rows], groups, folds=max(count, _FOLDS if count == 1 else 2), seed=seed
    )
    if int(found.max()) == 0:
        raise ValueError(
            f"{target.name}: the labelled images are all of one group; nothing can be held out."
        )
    if count == 1:
        found = np.where(found == 0, 0, -1).astype(np.int64)
        return found, (
            f"Trials are trained on {int((found < 0).sum()):,} labelled images and compared on "
            f"{int((found == 0).sum()):,} others{by}."
        )
    return found, (
        f"Trials are compared by {int(found.max()) + 1}-fold cross-validation inside "
        f"{len(rows):,} labelled train and validation images{by}."
    )
