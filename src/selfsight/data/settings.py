"""`Data`: which images, and how they are read."""

from __future__ import annotations

from typing import Annotated

import tyro
from pydantic import Field

from selfsight.settings import Settings


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
    image_size: Annotated[int, Field(ge=4)] | None = None
    """Side that images of several sizes are brought to, pixels."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the weights, the order, the splits and every view."""
    max_unreadable: tyro.conf.Suppress[Annotated[float, Field(ge=0.0, le=1.0)]] = 0.05
    """Share of unreadable images above which the run stops."""
