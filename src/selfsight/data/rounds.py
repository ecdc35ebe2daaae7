"""Later rounds: images that are opened again keep their sides, and new ones are placed for good.

A known image keeps the side that a record gives it. A new image of a known group joins its group;
any other falls by a hash of its group's name, or of its row id where it is in no group. So a test
image never becomes a train image, and no side depends on which other images there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.data.notes import left_out, some
from selfsight.data.sides import SIDE, Digests, Sides


@dataclass(frozen=True)
class Placed:
    """Images on their sides.

    Attributes:
        splits: ``(N,)`` train, validation or test.
        known: ``(N,)`` whether a record names the image.
        copies: ``(N,)`` the recorded side of an image of the same pixels; empty: none is recorded.
    """

    splits: NDArray[np.str_]
    known: NDArray[np.bool_]
    copies: NDArray[np.str_]


def placed(
    row_ids: NDArray[np.str_],
    group_of: Sequence[str | None],
    records: Sequence[Sides],
    digests: Sequence[Digests | None],
    *,
    validation: float,
    test: float,
) -> Placed:
    """The side of each image by the records, the nearest first.

    An image is known by its row id, as long as its pixels are the recorded ones, and by its
    pixels where no image here has the recorded row id: it was renamed.

    Args:
        row_ids: ``(N,)``.
        group_of: the group of each image by name, or None.
        records: see `Sides`.
        digests: for each record ``(N,)`` in its form, 0 where there is none; None: not known.
        validation: share of the new images.
        test: share of the new images.
    """
    count, ids = len(row_ids), row_ids.tolist()
    splits, copies = np.full(count, "", "<U10"), np.full(count, "", "<U10")
    here = set(ids)
    for record, own in zip(records, digests, strict=True):
        sides = np.array([SIDE[split] for split in record.splits.tolist()], "<U10")
        place = {row_id: i for i, row_id in enumerate(record.row_ids.tolist())}
        at = np.array([place.get(row_id, -1) for row_id in ids], np.int64)
        named = (at >= 0) & (splits == "")
        if own is not None and record.digests is not None:
            theirs = record.digests[at]
            named &= (own == theirs) | (own == 0) | (theirs == 0)
        splits[named] = sides[at[named]]
        if own is None or record.digests is None:
            continue
        of_pixels: dict[int, int] = {}
        for i, digest in enumerate(record.digests.tolist()):
            of_pixels.setdefault(digest, i)
        for row in np.flatnonzero((splits == "") & (own != 0)).tolist():
            twin = of_pixels.get(int(own[row]), -1)
            if twin < 0:
                continue
            if str(record.row_ids[twin]) in here:
                copies[row] = sides[twin]
            else:
                splits[row] = sides[twin]
    known = splits != ""
    of_groups: dict[str, str] = {}
    for record in reversed(records):
        of_groups |= record.of_groups
    for row in np.flatnonzero(known).tolist():
        if (name := group_of[row]) is not None:
            of_groups[name] = str(splits[row])
    for row in np.flatnonzero(~known).tolist():
        name = group_of[row]
        splits[row] = of_groups.get(name or "", "") or side_of(
            name if name is not None else ids[row], validation=validation, test=test
        )
    return Placed(splits, known, copies)


def side_of(name: str, *, validation: float, test: float) -> str:
    """The side that a name falls on: train, validation or test, by a hash of it."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    at = int.from_bytes(digest, "little") / 2.0**64
    if at < test:
        return "test"
    return "validation" if at < test + (1.0 - test) * validation else "train"


def carried(images: ImageSet, given: NDArray[np.str_], places: Placed, owners: str) -> ImageSet:
    """The images on the sides that records give them, without new copies on another side.

    Args:
        images: in any splits.
        given: ``(N,)`` splits that stay where they are not train.
        places: of the images; some are known.
        owners: how the note calls the records.
    """
    declared = (given != "train") & ~places.known
    known = places.known | declared
    note = f"{int(known.sum()):,} images are on the sides that {owners} recorded"
    if not known.all():
        note += f"; {int((~known).sum()):,} new ones are placed by group, or by a hash of the name"
    splits = np.where(declared, given, places.splits).astype("<U10")
    images = images.changed(splits=splits).with_notes(note + ".")
    images = _without_copies_across(images, known, places.copies)
    if any(target.known.any() for target in images.targets.values()):
        return images
    return images.changed(splits=np.where(images.splits == "train", "unlabelled", images.splits))


def _without_copies_across(
    images: ImageSet, known: NDArray[np.bool_], copies: NDArray[np.str_]
) -> ImageSet:
    """The images without new ones whose pixels are those of an image on another side.

    Args:
        images: on their sides.
        known: ``(N,)`` whose side is recorded.
        copies: ``(N,)`` see `Placed`.
    """
    sides = np.array([SIDE[split] for split in images.splits.tolist()], "<U10")
    across = ~known & (copies != "") & (copies != sides)
    digests = images.content.digests
    first = {int(digests[row]): str(sides[row]) for row in np.flatnonzero(known)[::-1].tolist()}
    for row in np.flatnonzero(~known & ~images.content.blank).tolist():
        across[row] |= first.setdefault(int(digests[row]), str(sides[row])) != sides[row]
    if not across.any():
        return images
    count = int(across.sum())
    what = "image is" if count == 1 else "images are"
    note = left_out(
        f"{count:,} new {what} left out, since an image of the same pixels is on another side: "
        f"{some(images.row_ids[across].tolist())}.",
        about=images.name,
        count=count,
    )
    kept = np.flatnonzero(~across).astype(np.int64)
    return images.take(kept).with_notes(note)
