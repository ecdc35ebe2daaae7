"""Pixels as nested lists in Parquet, as Hugging Face's ``Array2D`` and ``Array3D`` are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.store import machine_memory
from selfsight.data.reading import Asked
from selfsight.data.sources.steps.array_layout import as_pixels
from selfsight.data.sources.steps.array_pixels import array_loader
from selfsight.data.sources.steps.class_names import feature_names, info_names
from selfsight.data.sources.steps.image_columns import array_columns, chosen_column
from selfsight.data.sources.steps.listing import Listing, file_identity
from selfsight.data.sources.steps.listing_from_columns import with_columns
from selfsight.data.sources.steps.split_names import file_splits
from selfsight.data.sources.steps.tables import read_table
from selfsight.data.sources.steps.united import united


def nested_listing(path: Path, files: Sequence[Path], asked: Asked) -> Listing:
    """The images of Parquet files that hold them as nested lists of numbers.

    Raises:
        ValueError: rows of different shapes, or more than the memory holds.
    """
    folder = path if path.is_dir() else path.parent
    arrays: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    names: dict[str, Any] = {}
    notes: dict[str, None] = {}
    for file in files:
        name = file.relative_to(folder).as_posix()
        column, said = chosen_column(array_columns(file), asked, name)
        notes |= dict.fromkeys(said)
        if column is None:
            raise ValueError(f"{path}: {name} holds no pixels, as its other files do.")
        table, _ = read_table(file)
        arrays[name] = pixels_of(table[column], f"{path} ({name})")
        names[name] = feature_names(table.schema)
        tables[name] = table.drop_columns([column]).replace_schema_metadata(None)
    columns, class_names, said = united(path, tables, names)
    pixels, more = as_pixels(arrays, str(path), asked)
    counts = [len(array) for array in arrays.values()]
    row_ids = np.array([f"{name if path.is_dir() else ''}#{row}"
                        for name, count in zip(arrays, counts, strict=True)
                        for row in range(count)])  # fmt: skip
    splits = None
    stems = [name.removesuffix(".parquet") for name in arrays]
    by_name = file_splits(stems, asked.split) if path.is_dir() else None
    if by_name is not None:
        splits = np.repeat(np.array([word or "" for word in by_name.splits], "<U10"), counts)
        said += by_name.notes
    listing = Listing(
        name=folder.resolve().name if path.is_dir() else path.stem,
        row_ids=row_ids,
        splits=np.full(len(row_ids), "train", "<U10"),
        load=array_loader(pixels, str(path), asked, lambda: "\n".join(map(file_identity, files))),
    )
    class_names = class_names | info_names(folder, columns)
    return with_columns(listing, columns, class_names, splits, asked, [*notes, *more, *said])


def pixels_of(column: Any, source: str) -> NDArray[Any]:
    """``(N, H, W)`` or ``(N, H, W, C)`` of a pyarrow column of nested lists.

    Raises:
        ValueError: lists of different lengths, unknown rows, or more than the memory holds.
    """
    import pyarrow as pa

    if column.nbytes > machine_memory() // 2:
        raise ValueError(
            f"{source}: its pixels take {column.nbytes / 1e9:.0f} GB as lists; save them as .npy "
            "or as encoded images."
        )
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    chunks = [c.storage if isinstance(c.type, pa.BaseExtensionType) else c for c in chunks]
    values = pa.concat_arrays(chunks)
    shape = [len(values)]
    while pa.types.is_nested(values.type):
        inner = values.flatten()
        if values.null_count or len(inner) % max(1, len(values)):
            raise ValueError(f"{source}: its rows hold lists of different lengths.")
        lengths = np.unique(values.value_lengths().to_numpy())
        if len(lengths) > 1:
            raise ValueError(f"{source}: its rows hold lists of different lengths.")
        shape.append(int(lengths[0]) if len(lengths) else 0)
        values = inner
    pixels: NDArray[Any] = values.to_numpy(zero_copy_only=False).reshape(shape)
    return pixels
