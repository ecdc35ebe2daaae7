"""The verb `predict`: a model and images in, a table of predictions out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray
from pydantic import Field

from selfsight.console import progress, say
from selfsight.data.request import DataOptions, Images
from selfsight.models.predictor import Predictor
from selfsight.models.tables import check_suffix, writing_table
from selfsight.runs.request import images_in
from selfsight.training.device import choose_device

PART = 2048
"""Images whose predictions are in memory at once."""


class Predict(DataOptions):
    """Predict classes, labels or numbers of images with a model of `finetune`."""

    model: tyro.conf.Positional[str]
    """The folder of a model."""
    images: tyro.conf.Positional[str]
    """Images, as for `pretrain`; labels and splits are not read."""
    out: str
    """The table: .parquet or .csv."""
    batch_size: Annotated[int, Field(ge=1)] = 256
    """Images that go through the network at once."""
    device: str = "auto"
    """auto, cpu, cuda, or one GPU of several, as in cuda:1."""
    allow_code: bool = False
    """Run the file.py:build that the model's backbone may name."""


def predict(settings: Predict, images: Images | None = None) -> Path:
    """Writes one row an image; its path is returned.

    The columns are ``row_id``, then for a class ``predicted`` and ``p_NAME`` for each class, for
    several labels ``predicted`` (those above their thresholds: a list in Parquet, joined by ``|``
    in CSV) and ``p_NAME`` for each label, for numbers one column each, in its unit. Where pixels
    are not finite all but the row id is null.

    Args:
        settings: see `Predict`.
        images: what to open instead of ``settings.images``: an image set, arrays, a dataset.

    Raises:
        ValueError: the model or the images cannot be read, or do not fit each other.
    """
    csv = check_suffix(settings.out, (".parquet", ".csv")) == ".csv"
    device = choose_device(settings.device)
    predictor = Predictor.load(settings.model, allow_code=settings.allow_code)
    source = settings.images if images is None else images
    images = images_in(predictor.card.frame, f"model {settings.model}", settings, source)
    damaged = 0
    with (
        writing_table(settings.out) as write,
        progress("predict", len(images)) as bar,
    ):
        for first in range(0, len(images), PART):
            rows = np.arange(first, min(first + PART, len(images)))
            output = predictor.output(images, rows, device=device, batch_size=settings.batch_size)
            damaged += int((~np.isfinite(output).all(1)).sum())
            write(table_of(predictor, images.row_ids[rows], output, joined=csv))
            bar.update(len(rows))
    if damaged:
        say(f"{damaged:,} images have pixels that are not finite: their predictions are empty.")
    return Path(settings.out)


def table_of(
    predictor: Predictor,
    row_ids: NDArray[np.str_],
    output: NDArray[np.float32],
    *,
    joined: bool = False,
) -> Any:
    """Predictions as a pyarrow table; see `predict`.

    Args:
        predictor: what made them.
        row_ids: ``(M,)``.
        output: ``(M, K)`` of `Predictor.output`.
        joined: labels as text with ``|`` between them, instead of lists.
    """
    import pyarrow as pa

    kind, decided = predictor.card.kind, predictor.decide(output)
    columns: dict[str, Any] = {"row_id": pa.array(row_ids.tolist(), pa.string())}
    if kind == "class":
        columns["predicted"] = pa.array(decided, pa.string())
    elif kind == "labels" and joined:
        text = [None if labels is None else "|".join(labels) for labels in decided]
        columns["predicted"] = pa.array(text, pa.string())
    elif kind == "labels":
        columns["predicted"] = pa.array(decided, pa.list_(pa.string()))
    prefix = "" if kind == "number" else "p_"
    unknown = ~np.isfinite(output).all(1)
    for k, name in enumerate(predictor.card.names):
        column = prefix + name
        column = f"{column}_number" if column in columns else column
        columns[column] = pa.array(output[:, k], pa.float32(), mask=unknown)
    return pa.table(columns)
