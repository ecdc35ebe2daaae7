"""What a source holds, before any image is loaded: its rows with labels, groups and tiles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from selfsight.data.imageset import ImageSet, Scale
from selfsight.data.labels import join_labels
from selfsight.data.near_groups import NAME, NEAR, near_groups
from selfsight.data.options import DataOptions
from selfsight.data.parts import RowPart
from selfsight.data.reading import FOLDER, NONE, Asked, ReadOptions
from selfsight.data.settled import settled
from selfsight.data.sources import list_source
from selfsight.data.sources.steps.array_pixels import list_set
from selfsight.data.sources.steps.listing import Listing, Size
from selfsight.data.tiles import tiled
from selfsight.settings import unknown


def listed(
    settings: DataOptions,
    source: Any,
    scale: Scale | None = None,
    whole: bool = False,
    held: frozenset[str] = frozenset(),
    known_group: str | None = None,
) -> Listing:
    """What the source holds, with its labels and tiles.

    Args:
        settings: how to open it.
        source: what to open.
        scale: the form that the images are brought to.
        whole, held, known_group: see `Asked`.

    Raises:
        ValueError: the source, or a table, cannot be read, or lacks what was asked for.
    """
    target = None if settings.target == NONE else settings.target
    split = settings.split_column
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
        known_group=known_group if settings.group is None else None,
        targets=settings.target != NONE,
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
        own = form
        if split in (NONE, FOLDER):
            own = replace(own, split=split)
        if group == FOLDER:
            own = replace(own, group=group)
        listing = list_source(source, replace(own, options=bare))
        if group == FOLDER:
            asked = replace(asked, group=NONE)
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
    if settings.target == NONE:
        return replace(listing, targets={})
    if target is not None and target not in listing.targets:
        if not listing.targets:
            raise ValueError(f"target {target!r}: {listing.name} has no targets.")
        raise unknown(f"target in {listing.name} named", target, listing.targets)
    return listing


def part_of(listing: Listing, part: RowPart, settings: DataOptions) -> Listing:
    """The rows of a part alone."""
    if settings.limit is not None:
        raise ValueError("limit and shard cannot be combined: a draw would differ in each part.")
    if listing.tile_of is None:
        return listing.only(part.rows(listing.row_ids, listing.name))
    _, first, image = np.unique(listing.tile_of, return_index=True, return_inverse=True)
    order = np.argsort(first)  # images as they come; all tiles of one are in one part
    wanted = order[part.rows(listing.tile_of[first[order]], listing.name)]
    return listing.only(np.flatnonzero(np.isin(image, wanted)))


def grouped_by_content(listing: Listing, size: Size, max_unreadable: float) -> Listing:
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


def check_kinds(settings: DataOptions, listing: Listing) -> None:
    """Raises ``ValueError`` where a kind is given for a column that is not there."""
    for name in settings.kind_of:
        if name not in listing.targets:
            raise unknown(f"target in {listing.name} named", name, listing.targets)
