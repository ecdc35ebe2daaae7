"""What can be asked of images: the settings that every verb which opens them inherits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from numpy.typing import ArrayLike
from pydantic import Field, field_validator

from selfsight.data.imageset import ImageSet
from selfsight.data.reading import ReadOptions
from selfsight.data.sources.memory import MapDataset

Images = str | Path | ImageSet | ArrayLike | MapDataset
"""What can be opened: see `selfsight.data.sources` and `selfsight.data.sources.memory`."""


NO_LABELS = "none"
"""In the place of a table of labels: a table beside the images is not read."""


class DataOptions(ReadOptions):
    """How images are opened: the same names, with the same meaning, in every verb."""

    target: str | None = None
    """The column that says what is on an image, or none; by default the run's, or the only one."""
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

    @field_validator("labels", "splits")
    @classmethod
    def _a_table(cls, path: str | None) -> str | None:
        """A folder in the place of a table is told at once."""
        if path is not None and path != NO_LABELS and Path(path).expanduser().is_dir():
            raise ValueError(
                "it is a folder; name the table in it (.csv, .tsv, .jsonl or .parquet), or leave "
                "it out where the folders of the images say it"
            )
        return path


class Data(DataOptions):
    """Where images come from and how they are opened."""

    data: tyro.conf.Positional[str]
    """Images: a folder, Parquet, CSV, .npy, .npz, HDF5, .tar shards, hf:owner/name or `digits`."""
