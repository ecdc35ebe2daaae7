"""The network of an index, and the one place where images are opened for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.console import say
from selfsight.data.imageset import ImageSet
from selfsight.data.options import DataOptions, Images
from selfsight.data.parts import RowPart
from selfsight.data.pixels.formats import FORMAT_OF, suffix_of
from selfsight.data.reading import Asked
from selfsight.data.sources.steps.files import listing_of_files
from selfsight.data.sources.steps.image_columns import image_columns
from selfsight.data.statistics import Statistics
from selfsight.fitting.representation_cache import cache_key, weights_key
from selfsight.fitting.representations import represent
from selfsight.models.embed import backbone_of, reading_in
from selfsight.networks.backbones import Backbone
from selfsight.runs.fitted import FittedModel
from selfsight.runs.folder import is_model
from selfsight.runs.frame import Frame
from selfsight.runs.lineage import Lineage, lineage_of
from selfsight.runs.request import images_in, own_images
from selfsight.runs.run import load_run
from selfsight.training.device import choose_device


@dataclass(frozen=True)
class Encoder:
    """Images to vectors.

    Attributes:
        backbone: in eval mode.
        statistics: of the channels.
        frame: form of the images that it takes.
        folder: of the run or the model.
        device: where it runs.
        labels_read: the sentence on the labels that trained it; None: there were none.
    """

    backbone: Backbone
    statistics: Statistics
    frame: Frame
    folder: str
    device: torch.device
    labels_read: str | None = None

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto", allow_code: bool = False) -> Encoder:
        """The network of a run or a model.

        Raises:
            ValueError: the folder is neither, or there is no such device.
        """
        place = choose_device(device)
        backbone, statistics, frame = backbone_of(folder, allow_code=allow_code)
        if is_model(folder):
            labels_read: str | None = "The network is a model that was fitted to labels."
        else:
            labels_read = load_run(folder).labels_read
        return cls(backbone, statistics, frame, str(folder), place, labels_read)

    @property
    def key(self) -> str:
        """Hash of all that a vector depends on, the image apart."""
        return cache_key(weights_key(self.backbone), self.statistics, self.backbone.spec.plain())

    def vectors(self, images: ImageSet, rows: NDArray[np.int64], batch_size: int | None) -> Tensor:
        """Representations ``(M, F)`` float32; NaN where one is not finite.

        Args:
            images: in the form of `frame`.
            rows: ``(M,)``.
            batch_size: images at once; None: see `selfsight.fitting.representations.represent`.
        """
        values = represent(
            self.backbone,
            images,
            rows,
            self.statistics,
            device=self.device,
            batch_size=batch_size,
        )
        finite = torch.isfinite(values).all(1, keepdim=True)
        return torch.where(finite, values, torch.nan)

    def open(
        self, source: Images | Sequence[Path], settings: DataOptions, part: RowPart | None = None
    ) -> ImageSet:
        """Images in the form of the network.

        Args:
            source: what `selfsight.data.request.open` takes, or files of one image each, all of
                which must be readable.
            settings: how to open them.
            part: of the source; None: all of it.

        Raises:
            ValueError: the source cannot be read, or its channels do not fit.
        """
        if isinstance(source, list) and source and all(isinstance(one, Path) for one in source):
            source = _image_files(source, self.frame, self.folder)
        reading = reading_in(self.folder)
        return images_in(self.frame, self.folder, settings, source, reading, part)

    def own_images(self, settings: DataOptions) -> ImageSet:
        """The images that the run was trained on, with the splits that it recorded.

        Raises:
            ValueError: it is a model, or its images are gone.
        """
        if is_model(self.folder):
            raise ValueError(f"{self.folder} is a model: name the images to index.")
        images = own_images(load_run(self.folder), settings)
        for note in images.notes:
            say(note)
        return images

    def own_target(self, images: ImageSet) -> str | None:
        """The target of the training, where these images have it."""
        name = load_run(self.folder).settings.target
        return name if name in images.targets else None

    @property
    def own_source(self) -> str:
        """What the run was trained on, as it was named."""
        return load_run(self.folder).settings.data

    @property
    def cautions(self) -> tuple[str, ...]:
        """A sentence for each start of the training of which nothing is known."""
        return self._lineage.cautions

    @property
    def _lineage(self) -> Lineage:
        source = FittedModel(Path(self.folder)) if is_model(self.folder) else load_run(self.folder)
        return lineage_of([source])

    def seen(self, images: ImageSet) -> list[bool | None]:
        """Whether the training, or that of a run it started from, saw the pixels of each image.

        None where that cannot be told: for a training on images of another form, and where an
        ancestor is not there.
        """
        lineage = self._lineage
        trainings = lineage.seen
        same = [seen for seen in trainings if seen.scale.form == images.scale.form]
        digests = images.content.digests
        found = np.zeros(len(images), np.bool_)
        for seen in same:
            found |= np.isin(digests, seen.digests)
        unknown = False if len(same) == len(trainings) and not lineage.cautions else None
        return [True if one else unknown for one in found.tolist()]


def is_image_file(path: str | Path) -> bool:
    return suffix_of(str(path)) in FORMAT_OF and Path(path).is_file()


def file_names(source: str | Path, row_ids: NDArray[np.str_]) -> list[str | None]:
    """The names that a Parquet file keeps of its images (``image.path``); None where it has none.

    Args:
        source: a Parquet file, or a folder of them.
        row_ids: of images of this source, ``FILE#ROW`` in a folder, ``#ROW`` in a file.
    """
    import pyarrow.parquet as pq

    names: list[str | None] = [None] * len(row_ids)
    places: dict[str, list[tuple[int, int]]] = {}
    for place, row_id in enumerate(row_ids.tolist()):
        file, _, row = row_id.rpartition("#")
        file = file or Path(source).name
        if file.endswith(".parquet") and row.isdigit():
            places.setdefault(file, []).append((place, int(row)))
    for file, members in places.items():
        path = Path(source) / file if Path(source).is_dir() else Path(source)
        columns = image_columns(path) if path.is_file() else []
        kinds = {name: pq.read_schema(path).field(name).type for name in columns}
        named = [
            name
            for name, kind in kinds.items()
            if hasattr(kind, "get_field_index") and kind.get_field_index("path") >= 0
        ]
        if not named:
            continue
        with pq.ParquetFile(path) as table:
            column: Any = table.read([f"{named[0]}.path"])[named[0]].combine_chunks()
        values = column.field("path").to_pylist()
        for place, row in members:
            names[place] = values[row] if row < len(values) else None
    return names


def _image_files(paths: Sequence[Path], frame: Frame, owner: str) -> ImageSet:
    """Files of one image each, brought to the size of a frame."""
    scale = frame.scale(owner)
    asked = Asked(scale=scale.values, owner=owner, options=DataOptions())
    files = listing_of_files(Path(), [str(path) for path in paths], asked).files
    assert files is not None
    loaded = replace(files, name="the query").load(
        np.arange(len(paths)), (frame.height, frame.width), 0.0
    )
    splits = np.full(len(paths), "test", "<U10")
    return ImageSet("the query", loaded.pixels, files.row_ids, splits, value_scale=loaded.scale)
