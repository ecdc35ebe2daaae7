"""Images of identical pixels, and splits that keep them on one side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.imageset import ImageSet
from selfsight.records.audits import SIDES


@dataclass(frozen=True)
class Looked:
    """What one pass over the pixels gives.

    Attributes:
        codes: ``(N,)`` the same number for identical pixels; blank images are each alone.
        blank: ``(N,)`` whether every channel is constant.
        values: the smallest and the largest finite value; zeros where there is none.
    """

    codes: NDArray[np.int64]
    blank: NDArray[np.bool_]
    values: tuple[float, float]


def look(images: ImageSet) -> Looked:
    """One pass over all pixels; none where they have been looked at before."""
    content = images.content
    _, first, place = np.unique(content.digests, return_index=True, return_inverse=True)
    codes = np.argsort(np.argsort(first))[place].astype(np.int64)  # numbered as they come
    codes[content.blank] = len(first) + np.arange(int(content.blank.sum()))
    known = np.isfinite(content.low)
    low, high = (
        (float(v) for v in (content.low[known].min(), content.high[known].max()))
        if (known.any())
        else (0.0, 0.0)
    )
    return Looked(codes, content.blank, (low, high))


def sides_of(images: ImageSet) -> NDArray[np.int64]:
    """``(N,)``: 0 for the pool (train and unlabelled), 1 for validation, 2 for test."""
    return np.array([SIDES[split] for split in images.splits.tolist()], np.int64)


def copies_together(images: ImageSet, given: NDArray[np.str_]) -> ImageSet:
    """The images with the splits that we cut repaired where they separate identical images.

    An image that was moved to validation or test goes back to the pool, with its whole group,
    when a copy of it stayed there. Splits that were given stay as they are; a copy across them is
    a leak that `selfsight.data.leaks.leaks` finds.

    Args:
        images: with complete splits.
        given: ``(N,)`` the splits as the source gave them.
    """
    splits = images.splits.copy()
    pool = np.where((splits == "train").any(), given, "unlabelled")
    moved = (splits != given) & np.isin(splits, ("validation", "test"))
    if not moved.any():
        return images
    codes = look(images).codes
    count = 0
    while True:
        side = sides_of(images.changed(splits=splits))
        least = np.full(codes.max() + 1, 9)
        most = np.zeros(codes.max() + 1, np.int64)
        np.minimum.at(least, codes, side)
        np.maximum.at(most, codes, side)
        back = (least < most)[codes] & moved
        if images.groups is not None:
            with_them = images.groups[back]
            back |= np.isin(images.groups, with_them[with_them >= 0]) & moved
        if not back.any():
            break
        splits[back] = pool[back]
        moved &= ~back
        count += int(back.sum())
    if not count:
        return images
    said = (
        counted(count, "image that was", "images that were")
        + " cut from train went back: "
        + ("it has an identical copy there." if count == 1 else "they have identical copies there.")
    )
    return images.changed(splits=splits).with_notes(said)
