"""A map as the Parquet table that embedding-atlas opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from selfsight.models.tables import writing_table
from selfsight.neighbours.index import Index
from selfsight.reporting.map_page import MapColumn, MapContents


def write_atlas_table(path: Path, index: Index, contents: MapContents) -> Path:
    """Writes one row a point.

    ``__row_index__`` (int), ``row_id``, ``image`` (struct of bytes and path), ``x``, ``y``,
    ``neighbors`` (struct of ``ids``, rows with the point itself first, and ``distances``, which
    are 1 - cosine), then the columns of the map.

    Args:
        path: .parquet.
        index: whose small pictures are written.
        contents: the points.
    """
    import pyarrow as pa

    count = len(contents.row_ids)
    kept = index.pictures
    pictures = {} if kept is None else kept.at(contents.places.tolist())
    own = np.arange(count)[:, None]
    ids = np.concatenate([own, contents.neighbours], 1)
    distances = np.concatenate([np.zeros((count, 1)), 1.0 - contents.cosines], 1)
    images = [
        {"bytes": pictures.get(place), "path": row_id}
        for place, row_id in zip(contents.places.tolist(), contents.row_ids, strict=True)
    ]
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    near = pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float64()))])
    neighbours = [
        {"ids": row, "distances": far}
        for row, far in zip(ids.tolist(), distances.clip(0.0).tolist(), strict=True)
    ]
    table = pa.table(
        {
            "__row_index__": pa.array(range(count), pa.int64()),
            "row_id": pa.array(list(contents.row_ids), pa.string()),
            "image": pa.array(images, image),
            "x": pa.array(contents.positions[:, 0].astype(np.float64)),
            "y": pa.array(contents.positions[:, 1].astype(np.float64)),
            "neighbors": pa.array(neighbours, near),
            **{column.name: _array(column) for column in contents.columns},
        }
    )
    with writing_table(path) as write:
        write(table)
    return path


def _array(column: MapColumn) -> Any:
    import pyarrow as pa

    if not column.names:
        return pa.array(column.values, from_pandas=True)
    texts = [column.names[code] if code >= 0 else None for code in column.values.tolist()]
    return pa.array(texts, pa.string())
