"""Later rounds: images that are opened again keep their sides, and new ones are placed for good.

A known image keeps the side that a record gives it. A new image of a known group joins its group;
any other falls by a hash of its group's name, or of its row id where it is in no group. So a test
image never becomes a train image, and no side depends on which other images there are.

Known images that come without a group are in the group that a record gives them, as long as it is
of the same column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.imageset import ImageSet
from selfsight.data.notes import doubt, left_out, some
from selfsight.data.sides import SIDE, Digests, Sides
from selfsight.data.sides import group_of as groups_of
from selfsight.data.tile_ids import other_tiles


@dataclass(frozen=True)
class Placed:
    """Images on their sides.

    Attributes:
        splits: ``(N,)`` train, validation or test.
        known: ``(N,)`` whether a record names the image.
        copies: ``(N,)`` the recorded side of an image of the same pixels; empty: none is recorded.
        groups: ``(N,)`` names of the recorded groups of known images; None: in no group.
        group_name: their column, of which there is one; None: no record has groups.
    """

    splits: NDArray[np.str_]
    known: NDArray[np.bool_]
    copies: NDArray[np.str_]
    groups: tuple[str | None, ...] = ()
    group_name: str | None = None


def placed(
    row_ids: NDArray[np.str_],
    group_of: Sequence[str | None],
    records: Sequence[Sides],
    digests: Sequence[Digests | None],
    *,
    validation: float,
    test: float,
    group_name: str | None = None,
) -> Placed:
    """The side of each image by the records, the nearest first.

    An image is known by its row id, as long as its pixels are the recorded ones, and by its
    pixels where no image here has the recorded row id: it was renamed. Where a record cut it into
    other tiles, or into none, its name is all that can be compared.

    Args:
        row_ids: ``(N,)``.
        group_of: the group of each image by name, or None.
        records: see `Sides`.
        digests: for each record ``(N,)`` in its form, 0 where there is none; None: not known.
        validation: share of the new images.
        test: share of the new images.
        group_name: the column of ``group_of``: recorded groups are those of this column where a
            record has them, else those of the nearest record that has any.
    """
    columns = [record.group_name for record in records if record.groups is not None]
    column = group_name if group_name in columns else next(iter(columns), None)
    count, ids = len(row_ids), row_ids.tolist()
    splits, copies = np.full(count, "", "<U10"), np.full(count, "", "<U10")
    here = set(ids)
    groups: list[str | None] = [None] * count
    for record, own in zip(records, digests, strict=True):
        same = record.group_name == column
        theirs_of = groups_of(record if same else replace(record, groups=None))
        sides = np.array([SIDE[split] for split in record.splits.tolist()], "<U10")
        place = {row_id: i for i, row_id in enumerate(record.row_ids.tolist())}
        at = np.array([place.get(row_id, -1) for row_id in ids], np.int64)
        matched = at >= 0
        if own is not None and record.digests is not None:
            theirs = record.digests[at]
            matched &= (own == theirs) | (own == 0) | (theirs == 0)
        other = np.where(matched, -1, other_tiles(row_ids, record.row_ids))
        at, matched = np.where(other >= 0, other, at), matched | (other >= 0)
        fresh = matched & (splits == "")
        splits[fresh] = sides[at[fresh]]
        for row in np.flatnonzero(matched).tolist():
            groups[row] = groups[row] or theirs_of[at[row]]
        if own is None or record.digests is None:
            continue
        of_pixels: dict[int, int] = {}
        for i, digest in enumerate(record.digests.tolist()):
            of_pixels.setdefault(digest, i)
        for row in np.flatnonzero(~matched & (own != 0)).tolist():
            twin = of_pixels.get(int(own[row]), -1)
            if twin < 0:
                continue
            renamed = str(record.row_ids[twin]) not in here
            if renamed:
                groups[row] = groups[row] or theirs_of[twin]
            if splits[row] == "":
                (splits if renamed else copies)[row] = sides[twin]
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
    return Placed(splits, known, copies, tuple(groups), column)


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
    on_sides = counted(int(known.sum()), "image is", "images are")
    note = f"{on_sides} on the sides that {owners} recorded"
    if not known.all():
        new = counted(int((~known).sum()), "new one is", "new ones are")
        note += f"; {new} placed by group, or by a hash of the name"
    splits = np.where(declared, given, places.splits).astype("<U10")
    images = images.changed(splits=splits).with_notes(note + ".")
    images = _without_copies_across(images, known, places.copies)
    if any(target.known.any() for target in images.targets.values()):
        return images
    return images.changed(splits=np.where(images.splits == "train", "unlabelled", images.splits))


def regrouped(images: ImageSet, places: Placed, owners: str) -> ImageSet:
    """The images in the recorded groups where they come without one.

    Groups of another column than the images' own are not mixed with these: a doubt says so.

    Args:
        images: as they were opened.
        places: of the images.
        owners: how the note calls the records.
    """
    named = np.array([name is not None for name in places.groups], np.bool_)
    if not named.any():
        return images
    column = places.group_name
    if images.groups is not None and images.group_name != column:
        text = (
            f"Groups are those of {images.group_name}; the groups of {column} that {owners} "
            "recorded are not used."
        )
        return images.with_notes(
            doubt(text, about=str(column), setting="group", count=int(named.sum()))
        )
    own = groups_of(images)
    filled = [mine or theirs for mine, theirs in zip(own, places.groups, strict=True)]
    if filled == own:
        return images
    known = [name for name in filled if name is not None]
    names = tuple(dict.fromkeys([*images.group_names, *known]))
    code = {name: i for i, name in enumerate(names)}
    codes = np.array([-1 if name is None else code[name] for name in filled], np.int64)
    taken = sum(was is None and now is not None for was, now in zip(own, filled, strict=True))
    are = counted(taken, "image is", "images are")
    note = f"Groups: {are} in groups of {column} that {owners} recorded"
    if alone := int((codes < 0).sum()):
        note += f"; {alone:,} {'image stands' if alone == 1 else 'images stand'} alone"
    images = images.changed(groups=codes, group_name=column, group_names=names)
    return images.with_notes(note + " (--group none leaves them out).")


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
