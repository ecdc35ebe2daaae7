"""The images of a request on train, validation and test: as recorded, as declared, or cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selfsight.data.duplicates import copies_together
from selfsight.data.imageset import ImageSet
from selfsight.data.options import DataOptions
from selfsight.data.rounds import Placed, carried, placed, regrouped
from selfsight.data.sides import Digests, Sides, group_of
from selfsight.data.sources.steps.listing import Listing
from selfsight.data.splits import assign_splits, draw_pool


def divided(
    listing: Listing,
    settings: DataOptions,
    sides: Sides | None,
    records: Sequence[Sides],
    *,
    keep: bool,
) -> tuple[NDArray[np.int64], NDArray[np.str_], list[str]]:
    """Rows to load, the splits of all rows, and what was cut.

    Where nothing was limited every row is loaded, also those that the recorded splits leave out:
    the store that the training filled is then read again.

    Args:
        listing: what the source holds, in the splits that it gives.
        settings: shares, limit and seed.
        sides: recorded splits of these very images.
        records: sides of earlier rounds, by row id until the pixels are there.
        keep: take the splits as they are.
    """
    splits, count = listing.splits, len(listing.splits)
    if sides is not None:
        known = np.isin(listing.row_ids, sides.row_ids)
        rows = np.arange(count) if settings.limit is None else np.flatnonzero(known)
        return rows.astype(np.int64), splits, []
    notes: list[str] = []
    places = _placed(listing, records, [None] * len(records), settings) if records else None
    if places is not None and places.known.any():
        splits = np.where(splits == "train", places.splits, splits).astype("<U10")
    elif not keep:
        splits, notes = cut_from_train(listing, splits, settings)
    return draw_pool(splits, settings.limit or count, settings.seed), splits, notes


def cut_from_train(
    images: ImageSet | Listing, splits: NDArray[np.str_], settings: DataOptions
) -> tuple[NDArray[np.str_], list[str]]:
    return assign_splits(
        splits,
        images.targets,
        images.groups,
        settings.target,
        validation=settings.validation,
        test=settings.test,
        seed=settings.seed,
    )


def _placed(
    images: ImageSet | Listing,
    records: Sequence[Sides],
    digests: Sequence[NDArray[np.uint64] | None],
    settings: DataOptions,
) -> Placed:
    return placed(
        images.row_ids,
        group_of(images),
        records,
        digests,
        validation=settings.validation,
        test=settings.test,
        group_name=images.group_name,
    )


def as_recorded(
    images: ImageSet,
    declared: NDArray[np.str_],
    records: Sequence[Sides],
    digests: Sequence[Digests | None],
    settings: DataOptions,
    cut: Sequence[str],
    *,
    declares: bool,
    keep: bool,
) -> ImageSet:
    """The images in the groups, and on the sides, that earlier rounds recorded.

    Args:
        images: in the splits of `divided`.
        declared: ``(N,)`` splits that the source gives.
        records: sides of earlier rounds, the nearest first.
        digests: for each record those of the images in its form; None: not known.
        settings: by which they are opened.
        cut: notes of `divided`.
        declares: whether the source declares a test split, so that the groups alone are taken.
        keep: as for `divided`.

    Raises:
        ValueError: a table of splits names no image.
    """
    places = _placed(images, records, digests, settings)
    owners = ", ".join(dict.fromkeys(record.owner for record in records))
    groups = images.groups
    if settings.group in (None, images.group_name, places.group_name):
        images = regrouped(images, places, owners)
    uncut = tuple(note for note in images.notes if note not in cut)
    if places.known.any() and not declares:
        return carried(images.changed(notes=uncut), declared, places, owners)
    if settings.splits is not None:
        raise ValueError(
            f"splits {settings.splits}: it names no image of {images.name}; row ids look like "
            f"{str(images.row_ids[0])!r}."
        )
    # Row ids alone made the images look known, or what was cut did not know their groups.
    if not keep and (images.groups is not groups or not (cut or declares)):
        splits, notes = cut_from_train(images, declared, settings)
        images = images.changed(splits=splits, notes=uncut).with_notes(*notes)
    return copies_together(images, declared)
