"""Sources: anything a user points at becomes an `ImageSet` through `open_images`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from selfsight.data.duplicates import copies_together
from selfsight.data.imageset import ImageSet
from selfsight.data.pixels.headers import SUFFIXES
from selfsight.data.pixels.lazy import waiting
from selfsight.data.sources.array_pixels import list_set, made_like
from selfsight.data.sources.listing import MAX_SCANNED, Listing
from selfsight.data.splits import assign_splits, draw_pool
from selfsight.settings import unknown

__all__ = ["open_images", "settled"]


def open_images(
    source: str | Path | ImageSet,
    *,
    target: str | None = None,
    group: str | None = None,
    split: str | None = None,
    image_size: int | None = None,
    like: ImageSet | None = None,
    limit: int | None = None,
    seed: int = 0,
    max_unreadable: float = 0.05,
    validation: float = 0.1,
    test: float = 0.2,
    root: str | Path | None = None,
    labels: str | Path | None = None,
    tile: int | None = None,
    decode: bool | None = True,
) -> ImageSet:
    """Opens images: ``digits``, a folder, a table, an array file, tar shards or ``hf:owner/name``.

    The set that comes back has its splits complete (see `complete_splits`), and says in ``notes``
    what was guessed, skipped or converted. With several targets all are kept.

    Args:
        source: ``digits``; a folder of images; Parquet, CSV, ``.npy`` or ``.npz``; an image set
            goes through unread.
        target: which target to balance the splits by, and to check for; None: the only one.
        group, split: columns of a table, keys of an array file; None: guessed by their names.
        image_size: side of the square that all images are brought to; None: automatic.
        like: another set whose size, channels and type are taken over (a pretraining pool).
        limit: so many images of the pool (train and unlabelled), drawn with ``seed``; validation
            and test stay whole, so the split is the same with and without a limit.
        seed: of the validation split and the limit.
        max_unreadable: largest share of images that may be skipped because they are damaged.
        validation, test: shares that are cut where the source gives no such split.
        labels: a table of targets that is joined by row id (see `join_labels`); ``target``,
            ``group`` and ``split`` are then columns of it.
        root: folder that the paths of a manifest must stay in; None: the folder it lies in.
        tile: side in pixels of the tiles that each image is cut into (see
            `selfsight.data.tiles`); None: images stay whole.
        decode: False leaves encoded images undecoded until they are read: opening takes seconds
            and no memory for pixels, but only some headers are looked at and splits are not
            repaired for identical copies, until `settled` is called. None: so above 20,000
            images.

    Raises:
        ValueError: one sentence that names what is wrong with the source or an argument.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit: must be at least 1 image (got {limit}).")
    if image_size is not None and image_size < 4:
        raise ValueError(f"image_size: must be at least 4 pixels (got {image_size}).")
    if tile is not None and tile < 8:
        raise ValueError(f"tile: must be at least 8 pixels (got {tile}).")
    if isinstance(source, ImageSet):
        listing = list_set(settled(source))
    else:
        asked = (target, group, split) if labels is None else (None, None, None)
        listing = _listed(source, *asked, None if root is None else Path(root))
    if labels is not None:
        # Here, since that module reads tables with this package.
        from selfsight.data.labels import join_labels

        listing = join_labels(listing, labels, target, group, split)
    if tile is not None:
        # Here, since that module reads listings with this package.
        from selfsight.data.tiles import tiled

        listing = tiled(listing, tile, max_unreadable)
    if target is not None and target not in listing.targets:
        if not listing.targets:
            raise ValueError(f"target {target!r}: {listing.name} has no targets.")
        raise unknown(f"target in {listing.name} named", target, listing.targets)
    splits, said = assign_splits(
        listing.splits,
        listing.targets,
        listing.groups,
        target,
        validation=validation,
        test=test,
        seed=seed,
    )
    rows = draw_pool(splits, len(splits) if limit is None else limit, seed)
    size = (like.height, like.width) if like is not None else image_size
    lazily = decode is False or (decode is None and len(rows) > MAX_SCANNED)
    files = listing.files if lazily and like is None else None
    loaded = (listing.load if files is None else files.look)(rows, size, max_unreadable)
    kept = replace(listing, splits=splits).take(loaded.rows)
    notes = [*kept.notes, *loaded.notes, *said]
    if len(rows) < len(splits):
        notes.append(f"{len(splits):,} images were limited to {limit:,} of the pool.")
    images = ImageSet(
        name=kept.name,
        pixels=loaded.pixels,
        row_ids=kept.row_ids,
        splits=kept.splits,
        targets=kept.targets,
        groups=kept.groups,
        group_name=kept.group_name,
        mirrored=kept.mirrored,
        notes=tuple(notes),
        tile_of=kept.tile_of,
    )
    unsettled = waiting(images.pixels)
    if unsettled is not None:
        unsettled.given = listing.splits
        return images
    images = copies_together(images, listing.splits[loaded.rows])
    return images if like is None else made_like(images, like)


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
    decoded = replace(kept, pixels=loaded.pixels).with_notes(*notes)
    return decoded if pixels.given is None else copies_together(decoded, pixels.given[loaded.rows])


def _listed(
    source: str | Path, target: str | None, group: str | None, split: str | None, root: Path | None
) -> Listing:
    from selfsight.data.sources import arrays, digits, folder, hub, shards, table
    from selfsight.data.sources.listing_from_columns import Asked

    asked = Asked(target, group, split)
    if str(source) == digits.NAME:
        return digits.list_digits()
    if str(source).startswith(hub.PREFIX):
        return hub.list_hub(str(source), asked)
    path = Path(source).expanduser()
    if not path.exists() and shards.is_pattern(path):
        return shards.list_shards(path, asked)
    if not path.exists():
        raise ValueError(f"{source}: there is no such file or folder.")
    if path.is_dir():
        inner = table.table_in(path)
        if inner is not None:
            return table.list_table(inner, target, group, split, root)
        if shards.shards_in(path):
            return shards.list_shards(path, asked)
        for name, column in (("group", group), ("split", split)):
            if column is not None:
                raise ValueError(
                    f"{name} {column!r}: a folder of images has no columns; give a table "
                    "(CSV or Parquet) with the paths of the images and this column."
                )
        return folder.list_folder(path)
    if not path.is_file():
        raise ValueError(f"{path}: it is no plain file; give a file or a folder of images.")
    suffix = path.suffix.lower()
    if suffix == shards.SUFFIX:
        return shards.list_shards(path, asked)
    if suffix in table.SUFFIXES:
        return table.list_table(path, target, group, split, root)
    if suffix in arrays.SUFFIXES:
        return arrays.list_arrays(path, target, group, split)
    if suffix in SUFFIXES:
        raise ValueError(f"{path} is one image; give the folder that it lies in.")
    known = ", ".join((*table.SUFFIXES, *arrays.SUFFIXES, shards.SUFFIX))
    raise ValueError(f"{path}: its format is not known; give a folder of images or one of {known}.")
