"""The network of an index, and the one place where images are opened for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from selfsight.console import say
from selfsight.data.imageset import ImageSet
from selfsight.data.pixels.headers import SUFFIXES
from selfsight.data.sources.listing import Files, file_identity
from selfsight.data.statistics import Statistics
from selfsight.fitting.representations import cache_key, represent, weights_key
from selfsight.models.embed import backbone_of
from selfsight.models.predictor import is_model
from selfsight.networks.backbones import Backbone
from selfsight.runs.frame import Frame
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

    def vectors(self, images: ImageSet, rows: NDArray[np.int64], batch_size: int) -> Tensor:
        """``(M, F)`` float32 of length 1; NaN where the representation is not finite.

        Args:
            images: in the form of `frame`.
            rows: ``(M,)``.
            batch_size: images at once.
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
        return torch.where(finite, F.normalize(values, dim=1), torch.nan)

    def open(
        self, source: str | Path | ImageSet | Sequence[Path], max_unreadable: float = 0.05
    ) -> ImageSet:
        """Images in the form of the network.

        Args:
            source: what `selfsight.open_images` takes, or files of one image each.
            max_unreadable: share of unreadable images above which it stops; files that are named
                one by one must all be readable.

        Raises:
            ValueError: the source cannot be read, or its channels do not fit.
        """
        if not isinstance(source, str | Path | ImageSet):
            source = _image_files(source, self.frame)
        return self.frame.open(source, self.folder, max_unreadable=max_unreadable)

    def own_images(self, *, target: str | None, labels: str | None) -> ImageSet:
        """The images that the run was trained on, with the splits that it recorded.

        Raises:
            ValueError: it is a model, or its images are gone.
        """
        if is_model(self.folder):
            raise ValueError(f"{self.folder} is a model: name the images to index.")
        images = load_run(self.folder).images_of(None, target=target, labels=labels)
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


def is_image_file(path: str | Path) -> bool:
    return Path(path).suffix.lower() in SUFFIXES and Path(path).is_file()


def file_names(source: str | Path, row_ids: NDArray[np.str_]) -> list[str | None]:
    """The names that a Parquet file keeps of its images (``image.path``); None where it has none.

    Args:
        source: a Parquet file, or a folder of them.
        row_ids: of images of this source, ``FILE#ROW``.
    """
    import pyarrow.parquet as pq

    names: list[str | None] = [None] * len(row_ids)
    places: dict[str, list[tuple[int, int]]] = {}
    for place, row_id in enumerate(row_ids.tolist()):
        file, _, row = row_id.rpartition("#")
        if file.endswith(".parquet") and row.isdigit():
            places.setdefault(file, []).append((place, int(row)))
    for file, members in places.items():
        path = Path(source) / file if Path(source).is_dir() else Path(source)
        if not path.is_file():
            continue
        schema: Any = pq.read_schema(path)
        column = next((n for n in ("image", "img") if n in schema.names), None)
        kind = None if column is None else schema.field(column).type
        if kind is None or not hasattr(kind, "get_field_index") or kind.get_field_index("path") < 0:
            continue
        inner = pq.read_table(path, columns=[f"{column}.path"])[column].combine_chunks()
        values = inner.field("path").to_pylist()
        for place, row in members:
            names[place] = values[row] if row < len(values) else None
    return names


def _image_files(paths: Sequence[Path], frame: Frame) -> ImageSet:
    """Files of one image each, brought to a size."""
    names = np.array([os.fsencode(path).decode("utf-8", "backslashreplace") for path in paths])

    def batches(rows: NDArray[np.int64]) -> Any:
        yield [paths[row] for row in rows.tolist()]

    def identity(rows: NDArray[np.int64]) -> Any:
        return (file_identity(paths[row]) for row in rows.tolist())

    files = Files("the query", names, batches, identity)
    loaded = files.load(np.arange(len(paths)), (frame.height, frame.width), 0.0)
    return ImageSet("the query", loaded.pixels, names, np.full(len(names), "test", "<U10"))
