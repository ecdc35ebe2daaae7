"""Images of identical pixels, and splits that keep them on one side."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.data.pixels.memmap import rows_at_once
from selfsight.records import SIDES


@dataclass(frozen=True)
class Looked:
    """What one pass over the pixels gives.

    Attributes:
        codes: ``(N,)`` the same number for identical pixels; blank images are each alone.
        blank: ``(N,)`` whether every channel is constant.
        values: the smallest and the largest value.
    """

    codes: NDArray[np.int64]
    blank: NDArray[np.bool_]
    values: tuple[float, float]


def look(images: ImageSet) -> Looked:
    """One pass over all pixels, a chunk at a time."""
    seen: dict[bytes, int] = {}
    codes = np.empty(len(images), np.int64)
    blank = np.zeros(len(images), bool)
    low, high = np.inf, -np.inf
    size = rows_at_once(images.pixels)
    for first in range(0, len(images), size):
        part = np.ascontiguousarray(images.pixels[first : first + size])
        flat = part.reshape(len(part), -1, part.shape[-1])
        least, most = np.fmin.reduce(flat, axis=1), np.fmax.reduce(flat, axis=1)
        blank[first : first + size] = (least == most).all(axis=1)
        low, high = (
            np.fmin(low, np.fmin.reduce(least.ravel())),
            np.fmax(high, np.fmax.reduce(most.ravel())),
        )
        for place, image in enumerate(part):
            digest = hashlib.blake2b(image.data, digest_size=16).digest()
            codes[first + place] = seen.setdefault(digest, len(seen))
    codes[blank] = len(seen) + np.arange(int(blank.sum()))
    return Looked(codes, blank, (float(np.nan_to_num(low)), float(np.nan_to_num(high))))


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
        side = sides_of(replace(images, splits=splits))
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
    said = f"{count:,} images that were cut from train went back: they have identical copies there."
    return replace(images, splits=splits).with_notes(said)
