"""The one door for images: what is asked of them, opened, labelled, split and checked for leaks.

Every verb inherits `DataOptions` and opens images by `open`. So what is guaranteed here holds in
all of them: groups and recorded splits are kept, values have the form that a run takes, and a
leak stops the verb unless the user drops it or allows it. This module knows plain values alone;
`selfsight.runs` reads them from runs.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from selfsight.console import counted
from selfsight.data.describe import gaps, unlike_splits
from selfsight.data.division import as_recorded, divided
from selfsight.data.duplicates import copies_together
from selfsight.data.imageset import ImageSet, Scale
from selfsight.data.leaks import Seen, checked, scored_rows, unseen
from selfsight.data.listed import check_kinds, grouped_by_content, listed, part_of
from selfsight.data.near_groups import NEAR, frames_hint
from selfsight.data.options import DataOptions, Images
from selfsight.data.other_form import digests_in, empty
from selfsight.data.parts import RowPart
from selfsight.data.pixels.lazy import waiting
from selfsight.data.reading import HELD, Reading, ReadOptions, held_to
from selfsight.data.sides import Sides, read_sides, recorded, unused_sides
from selfsight.data.sources.memory import name_of_memory
from selfsight.data.sources.steps.array_pixels import made_like
from selfsight.data.sources.steps.listing import MAX_SCANNED
from selfsight.data.twins import without_twins
from selfsight.data.unseen_classes import with_unseen_classes
from selfsight.settings import sentence


def open(
    settings: DataOptions,
    source: Images | None = None,
    *,
    sides: Sides | None = None,
    records: Sequence[Sides] = (),
    scale: Scale | None = None,
    seen: Sequence[Seen] = (),
    decode: bool | None = True,
    whole: bool = False,
    near: bool = True,
    reading: Reading | None = None,
    part: RowPart | None = None,
) -> ImageSet:
    """Opens images: reads, joins labels, splits, brings to a form, and checks for leaks.

    The set has complete splits (see `selfsight.data.splits.complete_splits`) and says in ``notes``
    what was guessed, skipped or converted, in ``leaks`` what leaks were allowed, and in
    ``cautions`` what else lessens results on it. With several targets all are there.

    Args:
        settings: how to open them.
        source: what to open; None: ``settings.data``. An image set that has splits or tiles keeps
            them; one that this very request opened comes back as it is.
        sides: recorded splits of these very images, taken by row id; None: those of the source,
            completed.
        records: sides and groups that earlier rounds recorded, the nearest first. Images that they
            know and that come without a group are in the recorded one. Where the source declares
            no test split and a record knows some of its images, these keep their sides and new
            ones are placed by `selfsight.data.rounds.placed`.
        scale: the form that all images are brought to; None: that of the source.
        seen: images that weights have been trained on. Test images among them (validation, where
            there is no test split) are a leak where their label was read, a caution else.
        decode: False leaves encoded images undecoded until they are read: opening takes seconds
            and no memory for pixels, but only some headers are looked at, and identical images
            are not looked for. None: so above 20,000 images.
        whole: take images of unknown splits too, for verbs that only look at every image.
        near: look for near-duplicates of test images in train, where no sides are given.
        reading: how a run read its own images (see `selfsight.data.reading.recorded`), which
            these are held to.
        part: of everything that the source lists; None: all.

    Raises:
        ValueError: one sentence that names what is wrong with the source or a setting, or the
            leaks that neither ``drop_leaks`` nor ``allow_leaks`` was given for.
    """
    if source is None:
        source = getattr(settings, "data", None)
    request = _request(settings, sides, records, scale, seen, near)
    if part is None and isinstance(source, ImageSet) and source.opened_by == request:
        return source
    if scale is not None and settings.image_size not in (None, max(scale.height, scale.width)):
        raise ValueError(
            f"image_size {settings.image_size}: {scale.owner} takes images of {scale.height}x"
            f"{scale.width} pixels; leave --image-size out."
        )
    drop, allow = settings.drop_leaks, settings.allow_leaks
    form = settings
    if reading:
        given = {name: getattr(settings, name) for name in ReadOptions.model_fields}
        form = settings.updated(held_to(given, reading, targets=not whole))
    if sides is None and settings.splits is not None:
        records = (read_sides(settings.splits),)
    held = frozenset(n for n in HELD if getattr(form, n) != getattr(settings, n))
    known_group = next((record.group_name for record in records if record.group_name), None)
    listed_as = partial(
        listed, form, source, whole=whole, held=held, known_group=None if sides else known_group
    )
    listing = listed_as(scale)
    if sides is None and settings.splits is not None:
        said = unused_sides(records[0], listing.row_ids)
        listing = replace(listing, notes=(*listing.notes, *said))
    check_kinds(settings, listing)
    if part is not None:
        listing = part_of(listing, part, settings)
    declares = settings.splits is None and bool((listing.splits == "test").any())
    if declares:  # of what was recorded the groups alone count
        records = [record for record in records if record.groups is not None]
    keep = isinstance(source, ImageSet) and settings.splits is None
    keep = keep and bool((listing.splits != "train").any())
    size = settings.image_size if scale is None else (scale.height, scale.width)
    if settings.group == NEAR and sides is None:
        listing = grouped_by_content(listing, size, settings.max_unreadable)
    rows, splits, cut = divided(listing, settings, sides, () if declares else records, keep=keep)
    notes = list(cut)
    if len(rows) < len(splits) and sides is None:
        were = counted(len(splits), "image was", "images were")
        notes.append(f"{were} limited to {settings.limit:,} of the pool.")
    lazily = decode is False or (decode is None and len(rows) > MAX_SCANNED)
    files = listing.files if lazily and scale is None and sides is None else None
    loaded = (listing.load if files is None else files.look)(rows, size, settings.max_unreadable)
    kept = replace(listing, splits=splits).take(loaded.rows)
    images = ImageSet(
        name=kept.name,
        pixels=loaded.pixels,
        row_ids=kept.row_ids,
        splits=kept.splits,
        targets=kept.targets,
        groups=kept.groups,
        group_name=kept.group_name,
        group_names=kept.group_names,
        mirrored=kept.mirrored,
        notes=(*kept.notes, *loaded.notes, *notes),
        tile_of=kept.tile_of,
        value_scale=loaded.scale,
    )
    unsettled = waiting(images.pixels)
    if unsettled is not None:
        unsettled.given = listing.splits
        return checked(images, drop, allow, decoded=False)
    if isinstance(source, ImageSet) and images.pixels is source.pixels:
        images = source.changed(**{f.name: getattr(images, f.name) for f in _FIELDS})
    if scale is not None:
        images = made_like(images, empty(scale), settings)
    declared = listing.splits[loaded.rows]
    if sides is not None:
        images = recorded(images, sides, str(getattr(settings, "data", images.name)))
    elif records:
        every = np.arange(len(images))
        of_records = [
            None if record.scale is None else digests_in(images, every, record.scale, listed_as)
            for record in records
        ]
        images = as_recorded(
            images, declared, records, of_records, settings, cut, declares=declares, keep=keep
        )
    else:
        images = copies_together(images, declared)
    images = checked(images, drop, allow)
    if near and sides is None:
        images = without_twins(images, settings.drop_near, settings.allow_near)
        images = images.with_notes(*filter(None, [frames_hint(images)]))
    doubts = (*gaps(images, settings.nodata), *unlike_splits(images))
    images = images.with_notes(*(note for note in doubts if note not in images.notes))
    images = with_unseen_classes(images, settings.target)
    for weights in seen:
        digests = digests_in(images, scored_rows(images), weights.scale, listed_as)
        images = unseen(images, weights, digests, drop, allow)
    return images if part is not None else images.marked(request)


def open_images(source: Images, *, decode: bool | None = True, **options: Any) -> ImageSet:
    """Opens images to look at or to hand to a verb: `open`, with `DataOptions` as keywords.

    Leaks do not stop it, unless ``allow_leaks=False``: ``leaks`` of the set names them, and the
    verb that gets the set refuses it. Near-duplicates of test images are looked for with
    ``drop_near``, which leaves them out of train, or ``allow_near``, which names them in ``leaks``;
    without either the verb that gets the set looks for them.

    Args:
        source: ``digits``; a folder of images; Parquet, CSV, ``.npy``, ``.npz``, HDF5, tar shards;
            ``hf:owner/name``; an array, a list of arrays, a torch dataset, or an image set.
        decode: see `open`.
        options: see `DataOptions`.

    Raises:
        ValueError: see `open`; or there is no such option, or near-duplicates are to be looked for
            and ``decode`` is False.
    """
    plain = {name: str(v) if isinstance(v, Path) else v for name, v in options.items()}
    try:
        settings = DataOptions(allow_leaks=True).updated(plain)
    except ValidationError as error:
        raise ValueError(sentence(error)) from None
    near = settings.drop_near or settings.allow_near
    if near and decode is False:
        asked = "drop_near" if settings.drop_near else "allow_near"
        raise ValueError(
            f"{asked}: near-duplicates are looked for among decoded images; leave decode=False out."
        )
    return open(settings, source, decode=True if near else decode, near=near)


def name_of(source: Images) -> str:
    """How settings call what is opened: a path, the name of an image set, ``images``."""
    if isinstance(source, str | Path):
        return str(source)
    return source.name if isinstance(source, ImageSet) else name_of_memory(source)


_FIELDS = tuple(f for f in fields(ImageSet) if f.init and f.name != "pixels")


def _request(
    settings: DataOptions,
    sides: Sides | None,
    records: Sequence[Sides],
    scale: Scale | None,
    seen: Sequence[Seen],
    near: bool,
) -> Hashable:
    """What tells one request from another, the source apart."""
    return (
        near,
        tuple(getattr(settings, name) for name in DataOptions.model_fields),
        sides and (sides.owner, sides.fingerprint),
        tuple((record.owner, record.fingerprint) for record in records),
        scale and scale.form,
        tuple(weights.owner for weights in seen),
    )
