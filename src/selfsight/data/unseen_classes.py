"""Classes and labels of the scored split that no train image shows: no probe can learn them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet, Target
from selfsight.data.notes import Note, doubt, some

LOUD = 0.1
"""Share of the scored images of such a class from which every result carries the sentence."""


def with_unseen_classes(images: ImageSet, name: str | None = None) -> ImageSet:
    """The images with a doubt on such classes; a caution where a tenth of the images is of them.

    Args:
        images: with complete splits.
        name: of the target that is chosen; None: all are looked at.
    """
    split = next((name for name in ("test", "validation") if len(images.rows(name))), None)
    if split is None or not len(images.rows("train")):
        return images
    cautions: list[str] = []
    notes: list[Note] = []
    chosen = images.targets.get(name) if name else None
    for target in [chosen] if chosen else images.targets.values():
        found = _unseen(images, target, split)
        if found is None:
            continue
        note, share = found
        (cautions if share >= LOUD else notes).append(note)
    cautions = [text for text in cautions if text not in images.cautions]
    notes = [note for note in notes if note not in images.notes]
    if not cautions and not notes:
        return images
    return images.changed(cautions=(*images.cautions, *cautions)).with_notes(*notes)


def _unseen(images: ImageSet, target: Target, split: str) -> tuple[Note, float] | None:
    """What is said of the classes that the split alone shows, and the share of its images."""
    if target.kind not in ("class", "labels"):
        return None
    shown = _shown(target, images.rows("train"))
    scored = images.rows(split)
    scored = scored[target.known[scored]]
    here = _shown(target, scored)
    unseen = here & ~shown
    if not shown.any() or not unseen.any():
        return None
    if target.kind == "class":
        of_them = unseen[target.values[scored]]
    else:
        of_them = (np.nan_to_num(target.values[scored]) > 0)[:, unseen].any(1)
    names = [target.names[code] for code in np.flatnonzero(unseen)]
    what = "classes" if target.kind == "class" else "labels"
    text = (
        f"{target.name}: {len(names):,} of the {int(here.sum()):,} {what} of {split} are on no "
        f"labelled train image ({some(names)}; {int(of_them.sum()):,} of {len(scored):,} {split} "
        "images), so no probe can name them."
    )
    return doubt(text, about=target.name, count=int(of_them.sum())), float(of_them.mean())


def _shown(target: Target, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """``(K,)`` whether any of the rows is of each class, or has each label."""
    values = target.values[rows]
    if target.kind == "labels":
        return np.asarray((np.nan_to_num(values) > 0).any(0))
    return np.bincount(values[values >= 0], minlength=len(target.names)) > 0
