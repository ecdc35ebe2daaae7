"""The verb `predict`: a model and images in, a table of predictions out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import tyro
from numpy.typing import NDArray
from pydantic import Field

from selfsight.console import counted, progress, say, warn
from selfsight.data.options import DataOptions, Images
from selfsight.data.parts import RowPart, Shard
from selfsight.evaluation.pooling import Pooling, by_image
from selfsight.markup import ROWS, block, table
from selfsight.models.parts import PartPlace
from selfsight.models.predictor import Predictor
from selfsight.models.tables import check_suffix, csv_text, writing_table
from selfsight.runs.request import images_in
from selfsight.training.device import choose_device

Wish = TypeVar("Wish", bound=DataOptions)
PART = 2048
"""Images whose predictions are in memory at once."""


SUFFIXES = (".parquet", ".csv")
"""Of the files that predictions are written to."""


class Predict(DataOptions):
    """Predict classes, labels or numbers of images with a model of `finetune`."""

    model: tyro.conf.Positional[str]
    """The folder of a model."""
    images: tyro.conf.Positional[str]
    """Images, as for `pretrain`; labels and splits are not read."""
    out: str | None = None
    """The table: .parquet or .csv; by default CSV is printed."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Images that go through the network at once; by default as many as stay in a CPU's cache, or
    512 on a GPU."""
    device: str = "auto"
    """auto, cpu, cuda, or one GPU of several, as in cuda:1."""
    shard: Shard | None = None
    """I/N, from 0/N: only this part of the images, into OUT.parts; `merge` joins the parts."""
    allow_code: bool = False
    """Run the file.py:build that the model's backbone may name."""


@dataclass(frozen=True)
class PredictionTable:
    """Predictions in memory; its text is CSV.

    Attributes:
        row_ids: ``(N,)``.
        predicted: of each image: a class, a list of labels or a list of numbers; None where its
            pixels are not finite.
        output: ``(N, K)`` float32 probabilities, or numbers in their unit.
        names: of the K classes, labels or numbers.
        distances: ``(N,)`` float32, 1 - cosine of the nearest training image.
        novel: ``(N,)``: beyond one of the model's thresholds (`selfsight.fitting.novelty`).
        arrow: the same as a pyarrow table, with the columns of `predict`.
    """

    row_ids: NDArray[np.str_]
    predicted: list[Any]
    output: NDArray[np.float32]
    names: tuple[str, ...]
    distances: NDArray[np.float32]
    novel: NDArray[np.bool_]
    arrow: Any

    def __len__(self) -> int:
        return len(self.row_ids)

    def _repr_html_(self) -> str:
        """The first rows, for notebooks."""
        head = self.arrow.column_names
        rows = [
            [_cell(row[name]) for name in head] for row in self.arrow.slice(0, ROWS).to_pylist()
        ]
        return block(f"{len(self):,} predictions", table(head, rows))

    def __str__(self) -> str:
        import pyarrow as pa

        table, name = self.arrow, "predicted"
        if name in table.column_names and pa.types.is_list(table.schema.field(name).type):
            texts = pa.array(joined(self.predicted), pa.string())
            table = table.set_column(table.column_names.index(name), name, texts)
        return csv_text(table)


def predict(settings: Predict, images: Images | None = None) -> Path | PredictionTable:
    """Predicts one row an image.

    A model that was fitted on tiles cuts images into tiles of the same side and pools their output
    by image, as `evaluate` does.

    The columns are ``row_id``, then for a class ``predicted`` and ``p_NAME`` for each class, for
    several labels ``predicted`` (those above their thresholds: a list in Parquet, joined by ``|``
    in CSV) and ``p_NAME`` for each label, for numbers one column each, in its unit. ``distance`` is
    1 - cosine of the image and the nearest training image, by their representations; ``novel`` is
    true where it, or the length of the representation, is beyond what at most 1 % of images like
    the training images exceed (`selfsight.fitting.novelty`). Where pixels are not finite,
    everything but the row id is null.

    Args:
        settings: see `Predict`.
        images: what to open instead of ``settings.images``: an image set, arrays, a dataset.

    Returns:
        The path of the table, of the part where there is a ``shard``; without ``settings.out`` the
        table itself.

    Raises:
        ValueError: the model or the images cannot be read, or do not fit each other.
    """
    csv = False
    if settings.out is not None:
        csv = check_suffix(settings.out, SUFFIXES, settings) == ".csv"
    source = settings.images if images is None else images
    if settings.shard is None:
        return _predicted(settings, source, settings.out, csv, None)[0]
    place = PartPlace.of("predict", settings, settings.model, source, ".parquet")
    if place.done():
        return place.path
    return place.finish(_predicted(settings, source, str(place.path), csv, place.part)[1])


def _predicted(
    settings: Predict, source: Images, out: str | None, csv: bool, part: RowPart | None
) -> tuple[Path | PredictionTable, int]:
    """The table of the images, or of a part of them, and how many rows it has."""
    device = choose_device(settings.device)
    predictor = Predictor.load(settings.model, allow_code=settings.allow_code)
    card, owner = predictor.card, f"model {settings.model}"
    images = images_in(
        card.frame, owner, with_tiles(settings, card.tile, owner), source, card.reading, part
    )
    pooling, row_ids = Pooling.whole(len(images)), images.row_ids
    if card.tile is not None:
        pooling, row_ids = Pooling.of(images), by_image(images).row_ids
    heads = pooling.heads(np.arange(len(images)))
    outputs: list[tuple[NDArray[Any], ...]] = []
    damaged = novel = 0
    with (
        nullcontext() if out is None else writing_table(out) as write,
        progress("predict", len(images)) as bar,
    ):
        for rows in _parts(heads, len(images)):
            features = predictor.features(
                images, rows, device=device, batch_size=settings.batch_size
            )
            output = pooling.pooled(rows, predictor.output_of(features), card.kind)
            near = predictor.distances(pooling.means(rows, features))
            novel += int(near[1].sum())
            damaged += int((~np.isfinite(output).all(1)).sum())
            if write is None:
                outputs.append((output, *near))
            else:
                write(table_of(predictor, row_ids[pooling.heads(rows)], output, *near, flat=csv))
            bar.update(len(rows))
    if damaged:
        warn(
            f"{counted(damaged, 'image has', 'images have')} pixels that are not finite: "
            "their predictions are empty."
        )
    if card.novelty is not None:
        say(
            f"{novel:,} of {counted(len(heads), 'image is', 'images are')} unlike anything in "
            "training "
            f"({card.novelty.words()})."
        )
    if out is not None:
        return Path(out), len(heads)
    output, distances, beyond = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
    ids, decided = row_ids[heads], predictor.decide(output)
    arrow = table_of(predictor, ids, output, distances, beyond)
    found = PredictionTable(ids, decided, output, card.names, distances, beyond, arrow)
    return found, len(heads)


def with_tiles(settings: Wish, tile: int | None, owner: str) -> Wish:
    """The settings with the tile of a model, where it has one.

    Raises:
        ValueError: another tile is asked for.
    """
    if tile is None:
        return settings
    if settings.tile not in (None, tile):
        raise ValueError(
            f"tile {settings.tile}: {owner} was fitted on tiles of {tile} pixels; leave --tile "
            "out, it is taken from the model."
        )
    return settings.updated({"tile": tile})


def _parts(heads: NDArray[np.int64], count: int) -> Iterator[NDArray[np.int64]]:
    """Rows of about `PART` at a time, never a part of an image; ``heads`` are their first rows."""
    first = 0
    while first < count:
        place = np.searchsorted(heads, first + PART, side="right") - 1
        last = count if first + PART >= count else int(heads[place])
        if last <= first:  # an image of more tiles than that
            later = heads[heads > first]
            last = int(later[0]) if len(later) else count
        yield np.arange(first, last)
        first = last


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def joined(labels: list[Any]) -> list[str | None]:
    """Lists of labels as text with ``|`` between them."""
    return [None if one is None else "|".join(one) for one in labels]


def table_of(
    predictor: Predictor,
    row_ids: NDArray[np.str_],
    output: NDArray[np.float32],
    distances: NDArray[np.float32],
    novel: NDArray[np.bool_],
    *,
    flat: bool = False,
) -> Any:
    """Predictions as a pyarrow table; see `predict`.

    Args:
        predictor: what made them.
        row_ids: ``(M,)``.
        output: ``(M, K)`` of `Predictor.output`.
        distances, novel: ``(M,)`` of `Predictor.distances`.
        flat: labels as text with ``|`` between them, instead of lists.
    """
    import pyarrow as pa

    kind, decided = predictor.card.kind, predictor.decide(output)
    columns: dict[str, Any] = {"row_id": pa.array(row_ids.tolist(), pa.string())}
    if kind == "class":
        columns["predicted"] = pa.array(decided, pa.string())
    elif kind == "labels" and flat:
        columns["predicted"] = pa.array(joined(decided), pa.string())
    elif kind == "labels":
        columns["predicted"] = pa.array(decided, pa.list_(pa.string()))
    far = ~np.isfinite(distances)
    columns["distance"] = pa.array(distances, pa.float32(), mask=far)
    columns["novel"] = pa.array(novel, pa.bool_(), mask=far | (predictor.card.novelty is None))
    prefix = "" if kind == "number" else "p_"
    damaged = ~np.isfinite(output).all(1)
    for k, name in enumerate(predictor.card.names):
        column = prefix + name
        column = f"{column}_number" if column in columns else column
        columns[column] = pa.array(output[:, k], pa.float32(), mask=damaged)
    return pa.table(columns)
