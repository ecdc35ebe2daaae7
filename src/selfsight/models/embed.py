"""The verb `embed`: a run or a model and images in, their representations out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro
from numpy.typing import NDArray
from pydantic import Field

from selfsight.console import progress
from selfsight.data.options import DataOptions, Images
from selfsight.data.parts import RowPart, Shard
from selfsight.data.statistics import Statistics
from selfsight.fitting.representations import represent
from selfsight.models.card import card_of
from selfsight.models.parts import PartPlace
from selfsight.models.predict import PART
from selfsight.models.predictor import Predictor
from selfsight.models.tables import (
    Write,
    check_suffix,
    csv_text,
    writing_npy,
    writing_npz,
    writing_table,
)
from selfsight.networks.backbones import Backbone
from selfsight.runs.folder import is_model
from selfsight.runs.frame import Frame
from selfsight.runs.request import images_in, reading_of
from selfsight.runs.run import load_run
from selfsight.training.device import choose_device

SUFFIXES = (".parquet", ".csv", ".npz", ".npy")
"""Of the files that representations are written to."""


class Embed(DataOptions):
    """Write the representations of images, one row each, with their row ids."""

    run: tyro.conf.Positional[str]
    """The folder of a finished run, or of a model."""
    images: tyro.conf.Positional[str]
    """Images, as for `pretrain`; labels and splits are not read."""
    out: str | None = None
    """.parquet, .csv, .npz, or .npy (row ids in NAME.row_ids.npy); by default CSV is printed."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Images that go through the network at once; by default as many as stay in a CPU's cache, or
    512 on a GPU."""
    device: str = "auto"
    """auto, cpu, cuda, or one GPU of several, as in cuda:1."""
    shard: Shard | None = None
    """I/N, from 0/N: only this part of the images, into OUT.parts; `merge` joins the parts."""
    allow_code: bool = False
    """Run the file.py:build that the backbone may name."""


class Embeddings(NamedTuple):
    """Representations in memory; its text is CSV.

    Attributes:
        row_ids: ``(N,)``.
        representations: ``(N, F)`` float32.
    """

    row_ids: NDArray[np.str_]
    representations: NDArray[np.float32]

    def __str__(self) -> str:
        return csv_text(_table(self.row_ids, self.representations, listed=False))


def embed(settings: Embed, images: Images | None = None) -> Path | Embeddings:
    """Represents images, and writes ``row_id`` and ``(N, F)`` float32 representations.

    Parquet holds them as one list column ``representation``, CSV as ``f0`` to ``f{F-1}``, ``.npz``
    as ``row_ids`` and ``representations``.

    Args:
        settings: see `Embed`.
        images: what to open instead of ``settings.images``: an image set, arrays, a dataset.

    Returns:
        The path of the file, of the part where there is a ``shard``; without ``settings.out`` row
        ids ``(N,)`` and representations ``(N, F)`` float32.

    Raises:
        ValueError: the run or the images cannot be read, or do not fit each other.
    """
    if settings.out is not None:
        check_suffix(settings.out, SUFFIXES, settings, beside=_beside(settings.out))
    source = settings.images if images is None else images
    if settings.shard is None:
        return _embedded(settings, source, settings.out, None)
    place = PartPlace.of("embed", settings, settings.run, source, ".npz")
    if place.done():
        return place.path
    embeddings = _embedded(settings, source, str(place.path), place.part)
    assert isinstance(embeddings, Path)
    with np.load(embeddings) as arrays:
        rows = len(arrays["row_ids"])
    return place.finish(rows)


def _beside(out: str) -> tuple[str, ...]:
    """Suffixes of what is written beside representations: the row ids of an array."""
    return (".row_ids.npy",) if Path(out).suffix.lower() == ".npy" else ()


def _embedded(
    settings: Embed, source: Images, out: str | None, part: RowPart | None
) -> Path | Embeddings:
    """Represents the images, or a part of them, and writes them where there is a path."""
    device = choose_device(settings.device)
    backbone, statistics, frame = backbone_of(settings.run, allow_code=settings.allow_code)
    reading = reading_in(settings.run)
    images = images_in(frame, settings.run, settings, source, reading, part)
    parts: list[NDArray[np.float32]] = []
    with (
        writing_embeddings(out, parts, images.row_ids, backbone.features) as write,
        progress("embed", len(images)) as bar,
    ):
        for first in range(0, len(images), PART):
            rows = np.arange(first, min(first + PART, len(images)))
            values = represent(
                backbone,
                images,
                rows,
                statistics,
                device=device,
                batch_size=settings.batch_size,
            )
            write((images.row_ids[rows], values.numpy()))
            bar.update(len(rows))
    if out is not None:
        return Path(out)
    return Embeddings(images.row_ids, np.concatenate(parts))


def backbone_of(
    folder: str | Path, *, allow_code: bool = False
) -> tuple[Backbone, Statistics, Frame]:
    """Backbone, channel statistics and form of the images of a run or a model.

    Raises:
        ValueError: the folder is neither.
    """
    if is_model(folder):
        predictor = Predictor.load(folder, allow_code=allow_code)
        return predictor.backbone, predictor.statistics, predictor.card.frame
    run = load_run(folder)
    return run.backbone(allow_code=allow_code), run.statistics, Frame.of_run(run)


def reading_in(folder: str | Path) -> dict[str, tuple[str, ...]]:
    """How the images of a run or a model were read."""
    return card_of(Path(folder)).reading if is_model(folder) else reading_of(load_run(folder))


@contextmanager
def writing_embeddings(
    path: str | None, parts: list[NDArray[np.float32]], row_ids: NDArray[np.str_], width: int
) -> Iterator[Write]:
    """A function that appends ``(row ids, representations)``; to ``parts`` where path is None."""
    if path is None:
        yield lambda part: parts.append(part[1])
        return
    suffix = Path(path).suffix.lower()
    if suffix in (".npz", ".npy"):
        opened = writing_npz if suffix == ".npz" else writing_npy
        with opened(path, row_ids, width) as write:
            yield lambda part: write(part[1])
        return
    with writing_table(path) as write:
        yield lambda part: write(_table(*part, listed=suffix == ".parquet"))


def _table(row_ids: NDArray[np.str_], values: NDArray[np.float32], *, listed: bool) -> Any:
    import pyarrow as pa

    columns: dict[str, Any] = {"row_id": pa.array(row_ids.tolist(), pa.string())}
    if listed:
        flat = pa.array(values.reshape(-1))
        columns["representation"] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    else:
        columns |= {f"f{k}": pa.array(values[:, k]) for k in range(values.shape[1])}
    return pa.table(columns)
