"""`Data`: which images are wanted; opened, and checked for what crosses their splits."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray
from pydantic import Field

from selfsight.data.imageset import ImageSet
from selfsight.data.leaks import leaks, without_leaks
from selfsight.data.sources import open_images, settled
from selfsight.settings import Settings

SHOWN = 3
"""Leaks that a sentence names; it counts the others."""


class Data(Settings):
    """Where images come from and what is read of them."""

    data: tyro.conf.Positional[str]
    """Images: a folder, Parquet, CSV, .npy, .npz, HDF5, .tar shards, hf:owner/name or `digits`."""
    target: str | None = None
    """The column that says what is on an image; pretraining itself does not read it."""
    labels: str | None = None
    """A table of targets (CSV, Parquet) that is joined to the images by row id."""
    group: str | None = None
    """The column that no split may cut: a coil, a patient, a board."""
    split_column: str | None = None
    """The column that says train, validation or test; by default guessed, or the files' names."""
    tile: Annotated[int, Field(ge=8)] | None = None
    """Side in pixels of tiles that large images are cut into; predictions are pooled by image."""
    drop_leaks: bool = False
    """Leave out train images that are in validation or test too, or whose group is."""
    allow_leaks: bool = False
    """Go on with such leaks; the report carries them in red."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """A seeded draw of this many images of the pool."""
    image_size: Annotated[int, Field(ge=4, le=16_384)] | None = None
    """Side that images of several sizes are brought to, pixels."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the weights, the order, the splits and every view."""
    max_unreadable: tyro.conf.Suppress[Annotated[float, Field(ge=0.0, le=1.0)]] = 0.05
    """Share of unreadable images above which the run stops."""


def open_data(data: Data) -> ImageSet:
    """Opens the images that the settings name.

    Raises:
        ValueError: see `open_images`.
    """
    return open_images(
        data.data,
        target=data.target,
        labels=data.labels,
        group=data.group,
        split=data.split_column,
        tile=data.tile,
        image_size=data.image_size,
        limit=data.limit,
        seed=data.seed,
        max_unreadable=data.max_unreadable,
    )


def checked(images: ImageSet, data: Data) -> tuple[ImageSet, tuple[str, ...]]:
    """The images without leaks, or with those that the user allows.

    Args:
        images: with complete splits.
        data: ``drop_leaks`` takes the train copy out, ``allow_leaks`` goes on.

    Returns:
        The images, and a sentence for each leak that was allowed.

    Raises:
        ValueError: identical images or one group on two sides, and neither was asked for.
    """
    images = settled(images)
    found = leaks(images)
    if not found:
        return images, ()
    if data.drop_leaks:
        return without_leaks(images, found), ()
    said = tuple(leak.what for leak in found)
    if data.allow_leaks:
        return images, said
    more = f" (and {len(said) - SHOWN:,} more)" if len(said) > SHOWN else ""
    raise ValueError(
        f"{images.name} leaks across its splits: {' '.join(said[:SHOWN])}{more} Give --drop-leaks "
        "to leave the train copies out, or --allow-leaks to go on and mark every result."
    )


def apart(pool: ImageSet, images: ImageSet, data: Data) -> tuple[NDArray[np.int64], int]:
    """Rows of another pool that are no validation or test image of ``images``.

    Args:
        pool: further images to pretrain on, of the same size and type.
        images: the set that is evaluated.
        data: ``allow_leaks`` keeps every row.

    Returns:
        The rows, and how many identical images were left out.

    Raises:
        ValueError: some are, and neither ``drop_leaks`` nor ``allow_leaks`` was given.
    """
    held = {_digest(images, row) for row in images.rows("validation", "test")}
    rows = pool.pool
    same = np.array([_digest(pool, row) in held for row in rows], bool)
    if not same.any() or data.allow_leaks:
        return rows, 0
    if not data.drop_leaks:
        raise ValueError(
            f"pool {pool.name}: {int(same.sum()):,} of its images are validation or test images of "
            f"{images.name}. Give --drop-leaks to leave them out, or --allow-leaks to go on."
        )
    return rows[~same], int(same.sum())


def _digest(images: ImageSet, row: np.int64) -> bytes:
    return hashlib.blake2b(images.pixels[row].tobytes(), digest_size=12).digest()


def with_splits(images: ImageSet, splits: dict[str, str]) -> ImageSet:
    """The images with the split of each row id."""
    return replace(images, splits=np.array([splits[row] for row in images.row_ids.tolist()]))
