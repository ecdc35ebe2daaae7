"""The one door for images: what is asked of them, opened, labelled, split and checked for leaks.

Every verb inherits `DataOptions` and opens images by `open`. So what is guaranteed here holds in
all of them: groups and recorded splits are kept, values have the form that a run takes, and a
leak stops the verb unless the user drops it or allows it. This module knows plain values alone;
`selfsight.runs` reads them from runs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, ValidationError

from selfsight.data.describe import gaps, unlike_splits
from selfsight.data.duplicates import copies_together
from selfsight.data.imageset import ImageSet, Scale
from selfsight.data.labels import join_labels
from selfsight.data.leaks import Seen, apart, checked, scored_rows, unseen
from selfsight.data.near_groups import NAME, NEAR, frames_hint, near_groups
from selfsight.data.parts import RowPart
from selfsight.data.pixels.lazy import waiting
from selfsight.data.reading import FOLDER, NONE, Asked, Reading, ReadOptions, held_to
from selfsight.data.rounds import Placed, carried, placed
from selfsight.data.sides import Sides, group_of, read_sides, recorded
from selfsight.data.sources import list_source
from selfsight.data.sources.memory import MapDataset, name_of_memory
from selfsight.data.sources.steps.array_pixels import list_set, made_like
from selfsight.data.sources.steps.listing import MAX_SCANNED, Listing, Loaded, Size
from selfsight.data.splits import assign_splits, draw_pool
from selfsight.data.tiles import tiled
from selfsight.data.twins import apart_from_twins, without_twins
from selfsight.settings import sentence, unknown

Images = str | Path | ImageSet | ArrayLike | MapDataset
"""What can be opened: see `selfsight.data.sources` and `selfsight.data.sources.memory`."""


class DataOptions(ReadOptions):
    """How images are opened: the same names, with the same meaning, in every verb."""

    target: str | None = None
    """The column that says what is on an image; by default the run's, or the only one."""
    labels: str | None = None
    """A table of targets (CSV, Parquet), joined by row id; target, group and split column are then
    columns of it."""
    group: str | None = None
    """The column that no split may cut: a coil, a patient, a board; `near` keeps near-duplicates
    and runs of file names together, `none` takes no column."""
    split_column: str | None = None
    """The column that says train, validation or test; by default guessed, or the files' names."""
    tile: Annotated[int, Field(ge=8)] | None = None
    """Side in pixels of tiles that large images are cut into; results are pooled by image."""
    image_size: Annotated[int, Field(ge=4, le=16_384)] | None = None
    """Side that images of several sizes are brought to, pixels."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """A seeded draw of this many images of the pool; validation and test stay whole."""
    drop_leaks: bool = False
    """Leave out train images that are in validation or test too, or whose group is, and test
    images that a run has been trained on."""
    allow_leaks: bool = False
    """Go on with such leaks; every result carries them in red."""
    drop_near: bool = False
    """Leave out train images that nearly equal a test image: re-encoded, mirrored, cropped."""
    allow_near: bool = False
    """Go on where more than 1 % of the test images have such a train image; results carry it."""
    max_unreadable: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05
    """Share of unreadable images above which it stops; the others are left out and named."""
    validation: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of train that is cut as validation where the images have none."""
    test: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Share that is cut as test where the images have none, labelled or not; 0: no test split."""
    splits: str | None = None
    """A table of row ids and splits, such as splits.parquet of a run, that says on which side each
    image is; images that it does not name are placed by group, or by a hash of their name."""
    root: str | None = None
    """Folder that the paths of a table must stay in; by default the one it lies in."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of every draw: weights, order and views of a training, splits, labels, folds."""


class Data(DataOptions):
    """Where images come from and how they are opened."""

    data: tyro.conf.Positional[str]
    """Images: a folder, Parquet, CSV, .npy, .npz, HDF5, .tar shards, hf:owner/name or `digits`."""


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
        records: sides that earlier rounds recorded, the nearest first. Where the source declares no
            test split and a record knows some of its images, these keep their sides and new ones
            are placed by `selfsight.data.sides.placed`.
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
    request = _request(settings, sides, records, scale, seen)
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
    held = form.image_column != settings.image_column
    listing = _listing(form, source, scale, whole, held)
    _check_kinds(settings, listing)
    if part is not None:
        listing = _part_of(listing, part, settings)
    if sides is None and settings.splits is not None:
        records = (read_sides(settings.splits),)
    elif (listing.splits == "test").any():
        records = ()
    keep = isinstance(source, ImageSet) and settings.splits is None
    size = settings.image_size if scale is None else (scale.height, scale.width)
    if settings.group == NEAR and sides is None:
        listing = _grouped_by_content(listing, size, settings.max_unreadable)
    rows, splits, cut = _split(listing, settings, sides, records, keep=keep)
    notes = list(cut)
    if len(rows) < len(splits) and sides is None:
        notes.append(f"{len(splits):,} images were limited to {settings.limit:,} of the pool.")
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
        images = made_like(images, _empty(scale), settings)
    declared = listing.splits[loaded.rows]
    others = partial(_listing, form, source, whole=whole, held=held)
    if sides is not None:
        images = recorded(images, sides, str(getattr(settings, "data", images.name)))
    elif records:
        every = np.arange(len(images))
        of_records = [
            None if r.scale is None else _digests(images, every, r.scale, others) for r in records
        ]
        places = _placed(images, records, of_records, settings)
        if places.known.any():
            owners = ", ".join(dict.fromkeys(record.owner for record in records))
            images = images.changed(notes=tuple(n for n in images.notes if n not in cut))
            images = carried(images, declared, places, owners)
        elif settings.splits is not None:
            raise ValueError(
                f"splits {settings.splits}: it names no image of {images.name}; row ids look like "
                f"{str(images.row_ids[0])!r}."
            )
        else:
            if not cut:  # row ids made the images look known
                splits, notes = _cut(images, declared, settings)
                images = images.changed(splits=splits).with_notes(*notes)
            images = copies_together(images, declared)
    else:
        images = copies_together(images, declared)
    images = checked(images, drop, allow)
    if near and sides is None:
        images = without_twins(images, settings.drop_near, settings.allow_near)
        images = images.with_notes(*filter(None, [frames_hint(images)]))
    doubts = (*gaps(images, settings.nodata), *unlike_splits(images))
    images = images.with_notes(*(note for note in doubts if note not in images.notes))
    for weights in seen:
        digests = _digests(images, scored_rows(images), weights.scale, others)
        images = unseen(images, weights, digests, drop, allow)
    return images if part is not None else images.marked(request)


def open_images(source: Images, *, decode: bool | None = True, **options: Any) -> ImageSet:
    """Opens images to look at or to hand to a verb: `open`, with `DataOptions` as keywords.

    Leaks do not stop it, unless ``allow_leaks=False``: ``leaks`` of the set names them, and the
    verb that gets the set refuses it.

    Args:
        source: ``digits``; a folder of images; Parquet, CSV, ``.npy``, ``.npz``, HDF5, tar shards;
            ``hf:owner/name``; an array, a list of arrays, a torch dataset, or an image set.
        decode: see `open`.
        options: see `DataOptions`.

    Raises:
        ValueError: see `open`; or there is no such option.
    """
    plain = {name: str(v) if isinstance(v, Path) else v for name, v in options.items()}
    try:
        settings = DataOptions(allow_leaks=True).updated(plain)
    except ValidationError as error:
        raise ValueError(sentence(error)) from None
    return open(settings, source, decode=decode, near=False)


@dataclass(frozen=True)
class Pool:
    """Further images to pretrain on.

    Attributes:
        images: of another source, in the form of the set.
        rows: those that are trained on.
        left_out: how many are not, since they are validation or test images of the set, or nearly.
        leaks: a sentence where they are trained on nevertheless.
    """

    images: ImageSet
    rows: NDArray[np.int64]
    left_out: int = 0
    leaks: tuple[str, ...] = ()


def open_pool(settings: DataOptions, source: Images, images: ImageSet) -> Pool:
    """Opens further images to pretrain on, and keeps them apart from what results are read on.

    Args:
        settings: of the set; its tiles and its flags hold here too.
        source: of the pool.
        images: the set that is evaluated.

    Raises:
        ValueError: see `open`; or images of the pool are validation or test images of the set, and
            neither ``drop_leaks`` nor ``allow_leaks`` was given.
    """
    wish = DataOptions(
        tile=settings.tile,
        max_unreadable=settings.max_unreadable,
        root=settings.root,
        bits=settings.bits,
        value_range=settings.value_range,
        nodata=settings.nodata,
        max_pixels=settings.max_pixels,
        axes=settings.axes,
        masks=settings.masks,
        validation=0.0,  # inside the pool nothing is evaluated
        test=0.0,
        allow_leaks=True,
    )
    pool = open(wish, source, scale=images.scale)
    rows, left_out, leaks = apart(pool, images, settings.drop_leaks, settings.allow_leaks)
    rows, near, more = apart_from_twins(pool, rows, images, settings.drop_near, settings.allow_near)
    return Pool(pool, rows, left_out + near, (*leaks, *more))


def settled(images: ImageSet) -> ImageSet:
    """The images decoded for good, in memory or a store, without those that cannot be read.

    Sets that were opened with ``decode=True`` come back as they are.

    Raises:
        ValueError: more images are unreadable than were allowed when the set was opened.
    """
    pixels = waiting(images.pixels)
    if pixels is None or pixels.settle is None:
        return images
    loaded = pixels.settle(pixels.rows)
    kept = images.take(np.flatnonzero(np.isin(pixels.rows, loaded.rows)))
    notes = [note for note in loaded.notes if note not in images.notes]
    decoded = kept.changed(pixels=loaded.pixels).with_notes(*notes)
    return decoded if pixels.given is None else copies_together(decoded, pixels.given[loaded.rows])


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
) -> Hashable:
    """What tells one request from another, the source apart."""
    return (
        tuple(getattr(settings, name) for name in DataOptions.model_fields),
        sides and (sides.owner, sides.fingerprint),
        tuple((record.owner, record.fingerprint) for record in records),
        scale and scale.form,
        tuple(weights.owner for weights in seen),
    )


def _listing(
    settings: DataOptions,
    source: Any,
    scale: Scale | None = None,
    whole: bool = False,
    held: bool = False,
) -> Listing:
    """What the source holds, with its labels and tiles."""
    target, split = settings.target, settings.split_column
    group = None if settings.group == NEAR else settings.group
    table = None if settings.labels in (None, NONE) else settings.labels
    form = Asked(
        labels=settings.labels is None,
        root=None if settings.root is None else Path(settings.root),
        options=settings,
        scale=None if scale is None else scale.values,
        owner="" if scale is None else scale.owner,
        whole=whole,
        held=held,
    )
    asked = replace(form, target=target, group=group, split=split)
    if isinstance(source, ImageSet):
        listing = list_set(settled(source))
    elif table is None:
        listing = list_source(source, asked)
    else:  # its columns are those of the table; a split may still be the folders, or none
        bare = ReadOptions.model_validate({
            **{name: getattr(settings, name) for name in ReadOptions.model_fields}, "kinds": ()
        })  # fmt: skip
        folders = split if split in (NONE, FOLDER) else None
        listing = list_source(source, replace(form, options=bare, split=folders))
    open_already = not isinstance(source, str | Path) and table is None
    if open_already and group not in (None, NONE, listing.group_name):
        raise ValueError(
            f"group {group!r}: {listing.name} is open already and has no such groups; join a "
            "table with this column by --labels, or name it where the images are opened."
        )
    if table is not None:
        listing = join_labels(listing, table, asked)
    if settings.tile is not None and listing.tile_of is None:
        listing = tiled(listing, settings.tile, settings.max_unreadable, asked)
    if target is not None and target not in listing.targets:
        if not listing.targets:
            raise ValueError(f"target {target!r}: {listing.name} has no targets.")
        raise unknown(f"target in {listing.name} named", target, listing.targets)
    return listing


def _part_of(listing: Listing, part: RowPart, settings: DataOptions) -> Listing:
    """The rows of a part alone."""
    if settings.limit is not None:
        raise ValueError("limit and shard cannot be combined: a draw would differ in each part.")
    if listing.tile_of is None:
        return listing.only(part.rows(listing.row_ids, listing.name))
    _, first, image = np.unique(listing.tile_of, return_index=True, return_inverse=True)
    order = np.argsort(first)  # images as they come; all tiles of one are in one part
    wanted = order[part.rows(listing.tile_of[first[order]], listing.name)]
    return listing.only(np.flatnonzero(np.isin(image, wanted)))


def _grouped_by_content(listing: Listing, size: Size, max_unreadable: float) -> Listing:
    """The listing in groups of near-duplicates; an image that cannot be read is in none."""
    loaded = listing.load(np.arange(len(listing.row_ids)), size, max_unreadable)
    part = listing.take(loaded.rows)
    images = ImageSet(
        part.name, loaded.pixels, part.row_ids, part.splits, part.targets,
        value_scale=loaded.scale,
    )  # fmt: skip
    codes, names, notes = near_groups(images)
    groups = np.full(len(listing.row_ids), -1, np.int64)
    groups[loaded.rows] = codes
    return replace(
        listing, groups=groups, group_name=NAME, group_names=names,
        notes=(*listing.notes, *notes),
    )  # fmt: skip


def _check_kinds(settings: DataOptions, listing: Listing) -> None:
    """Raises ``ValueError`` where a kind is given for a column that is not there."""
    for name in settings.kind_of:
        if name not in listing.targets:
            raise unknown(f"target in {listing.name} named", name, listing.targets)


def _split(
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
    elif not (keep and (splits != "train").any()):
        splits, notes = _cut(listing, splits, settings)
    return draw_pool(splits, settings.limit or count, settings.seed), splits, notes


def _cut(
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
    )


def _digests(
    images: ImageSet, rows: NDArray[np.int64], scale: Scale, listed: Callable[..., Listing]
) -> NDArray[np.uint64]:
    """Digests of rows' pixels in another form, read from the source in it; 0 where blank."""
    if scale.form == images.scale.form:
        return np.where(images.content.blank[rows], 0, images.content.digests[rows])
    digests = np.zeros(len(rows), np.uint64)
    if scale.channels != images.channels and {scale.channels, images.channels} != {1, 3}:
        return digests
    try:
        listing = listed(scale)
        loaded, wanted = _loaded(images, rows, scale, listing)
    except ValueError:  # values that cannot be brought to that form are not those that it saw
        return digests
    ids, splits = listing.row_ids[loaded.rows], listing.splits[loaded.rows]
    form = ImageSet(images.name, loaded.pixels, ids, splits, value_scale=loaded.scale)
    others = made_like(form, _empty(scale))
    content = others.content
    digests[np.isin(wanted, loaded.rows)] = np.where(content.blank, 0, content.digests)
    return digests


def _loaded(
    images: ImageSet, rows: NDArray[np.int64], scale: Scale, listing: Listing
) -> tuple[Loaded, NDArray[np.int64]]:
    """The rows in another form, and their numbers in the listing."""
    place = {row_id: i for i, row_id in enumerate(listing.row_ids.tolist())}
    wanted = np.array([place[row_id] for row_id in images.row_ids[rows].tolist()], np.int64)
    return listing.load(wanted, (scale.height, scale.width), 1.0), wanted


def _empty(scale: Scale) -> ImageSet:
    """A set of no images in a form."""
    pixels = np.zeros((0, scale.height, scale.width, scale.channels), scale.dtype)
    ids, splits = np.zeros(0, "<U1"), np.zeros(0, "<U10")
    return ImageSet(scale.owner, pixels, ids, splits, value_scale=scale.values)
