"""Images with columns beside them: targets, groups and splits join a `Listing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.reading import FOLDER, NONE, Asked
from selfsight.data.sources.steps.alike_names import alike_doubt
from selfsight.data.sources.steps.columns import (
    SPLIT,
    SPLIT_LIKE,
    find_column,
    groups_of,
    guessed_splits,
    splits_of,
    with_own_splits,
)
from selfsight.data.sources.steps.group_columns import groups_and_targets
from selfsight.data.sources.steps.listing import Listing
from selfsight.data.sources.steps.split_names import split_of_name
from selfsight.data.sources.steps.targets import check_asked, identities


def with_columns(
    listing: Listing,
    columns: Mapping[str, Any],
    names: Mapping[str, Sequence[str]],
    splits: NDArray[np.str_] | None,
    asked: Asked,
    notes: Sequence[str] = (),
) -> Listing:
    """The listing with what the columns say of its images.

    Args:
        listing: the images; its splits count where neither columns nor ``splits`` give any.
        columns: pyarrow columns by name, without the images.
        names: class or label names of integer columns.
        splits: where the names of files or keys give them; "" for images that are kept apart.
        asked: columns that the user named.
        notes: what is to be said before.

    Raises:
        ValueError: a column that was asked for is not there or does not fit.
    """
    columns = _with_folders(columns, listing.row_ids, asked)
    given, used, more = _splits(listing, columns, splits, asked)
    taken = {asked.target, *asked.options.kind_of}
    other_splits = [
        name for name in columns if SPLIT_LIKE.search(name) and name != used and name not in taken
    ]
    rest = {
        name: column
        for name, column in columns.items()
        if name in taken or (name != used and name not in other_splits)
    }
    if other_splits:
        named = ", ".join(other_splits)
        more.append(f"Columns that look like other splits are not read: {named}.")
    check_asked(listing.name, asked.target, asked.options, {**listing.targets, **columns})
    images = listing.row_ids.tolist()
    group, targets, said = groups_and_targets(rest, columns, names, asked, images=images)
    more += said
    only = asked.target is None and len(targets) == 1 and not listing.targets
    if only and asked.targets and not asked.whole:
        more.append(f"Column {next(iter(targets))} is the only target and is taken.")
    targets, said = identities(targets, given, asked.options)
    said = said if asked.targets else []
    if group is not None:
        codes, group_names = groups_of(columns[group], group, images)
        said += alike_doubt(group_names, f"Groups of {group}", "groups", group, "group")
        listing = replace(listing, groups=codes, group_name=group, group_names=group_names)
    listing = replace(
        listing,
        splits=given,
        targets={**listing.targets, **targets},
        notes=(*listing.notes, *notes, *more, *said),
    )
    return without_unknown_splits(listing, asked)


def without_unknown_splits(listing: Listing, asked: Asked) -> Listing:
    """The listing without images of an unknown split (""), which a note has counted."""
    apart = listing.splits == ""
    if not apart.any():
        return listing
    if asked.whole:
        return replace(listing, splits=np.where(apart, "train", listing.splits))
    return listing.only(np.flatnonzero(~apart).astype(np.int64))


def _splits(
    listing: Listing,
    columns: Mapping[str, Any],
    splits: NDArray[np.str_] | None,
    asked: Asked,
) -> tuple[NDArray[np.str_], str | None, list[str]]:
    """The split of each image, the column that gave it, and notes."""
    own = listing.splits if splits is None else splits.astype("<U10")
    images = listing.row_ids.tolist()
    if asked.split == NONE:
        return np.full(len(listing.row_ids), "train", "<U10"), None, []
    if asked.split is not None and asked.split != FOLDER:
        name = find_column(columns, asked.split, SPLIT, "split")
        assert name is not None
        given, said = splits_of(columns[name], name, images)
        given, more = with_own_splits(given, own, given == "", name, images)
        return given, name, [*said, *more]
    name = find_column(columns, None, SPLIT, "split") if splits is None else None
    if name is None:
        return own, None, []
    found, unknown, notes = guessed_splits(columns[name], name, images)
    if found is None:
        return own, None, notes
    found, more = with_own_splits(found, own, (found == "") & ~unknown, name, images)
    return found, name, [*notes, *more]


def _with_folders(
    columns: Mapping[str, Any], row_ids: NDArray[np.str_], asked: Asked
) -> Mapping[str, Any]:
    """The columns, with that of the folders where it was asked for."""
    import pyarrow as pa

    wanted = asked.by_folder or FOLDER in (asked.target, *asked.options.kind_of)
    if not wanted or FOLDER in columns:
        return columns
    return {**columns, FOLDER: pa.chunked_array([pa.array(folders_of(row_ids))])}


def folders_of(row_ids: NDArray[np.str_]) -> list[str | None]:
    """The first folder of each row id that is no split, or None."""
    found: list[str | None] = []
    for row_id in row_ids.tolist():
        folders = row_id.split("/")[:-1]
        if folders and split_of_name(folders[0]) is not None:
            folders = folders[1:]
        found.append(folders[0] if folders else None)
    return found
