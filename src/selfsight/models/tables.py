"""Files that are written a part at a time: Parquet, CSV, and arrays of representations."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.files import csv_cell, replacing
from selfsight.outputs import check_output, marked
from selfsight.settings import Settings

Write = Callable[[Any], None]


def check_suffix(
    path: str | Path,
    suffixes: tuple[str, ...],
    settings: Settings | None = None,
    beside: tuple[str, ...] = (),
) -> str:
    """The suffix of a path that a verb may write to.

    Args:
        path: of the file.
        suffixes: that it may have.
        settings, beside: see `selfsight.outputs.check_output`.

    Raises:
        ValueError: it has none of these, or the file of the user would be lost.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        raise ValueError(f"out {path}: its name must end in {' or '.join(suffixes)}.")
    check_output(path, settings, beside)
    return suffix


def csv_text(table: Any) -> str:
    """A pyarrow table as CSV, without the last line break."""
    import pyarrow as pa
    import pyarrow.csv as pc

    sink = pa.BufferOutputStream()
    pc.write_csv(_cells(table), sink)
    return bytes(sink.getvalue()).decode().removesuffix("\n")


def _cells(table: Any) -> Any:
    """Names and texts of a table as `csv_cell` writes them."""
    import pyarrow as pa

    columns = []
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            texts = [None if t is None else csv_cell(t) for t in column.to_pylist()]
            column = pa.chunked_array([pa.array(texts, column.type)])
        columns.append(column)
    return pa.table(columns, names=[csv_cell(name) for name in table.column_names])


def _texts(table: Any) -> list[str]:
    """Columns of text, which often repeats."""
    import pyarrow as pa

    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary)
    return [field.name for field in table.schema if any(is_kind(field.type) for is_kind in kinds)]


@contextmanager
def writing_table(path: str | Path) -> Iterator[Write]:
    """A function that appends a pyarrow table; the file appears when the block ends well.

    Args:
        path: ``.parquet`` or ``.csv``.
    """
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    writer: Any = None
    with replacing(path) as temporary:

        def write(table: Any) -> None:
            nonlocal writer
            parquet = Path(path).suffix.lower() == ".parquet"
            table = table if parquet else _cells(table)
            if writer is None:
                # A dictionary of floats that are all different only makes the file larger.
                writer = (
                    pq.ParquetWriter(
                        str(temporary), marked(table.schema), use_dictionary=_texts(table)
                    )
                    if parquet
                    else pc.CSVWriter(str(temporary), table.schema)
                )
            writer.write_table(table)

        try:
            yield write
        finally:
            if writer is not None:
                writer.close()


@contextmanager
def writing_npz(path: str | Path, row_ids: NDArray[np.str_], width: int) -> Iterator[Write]:
    """A function that appends ``(m, width)`` float32 rows of the array ``representations``.

    The file is a ``.npz`` with ``row_ids`` beside it; all rows together must be as many as these.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        with file.open("row_ids.npy", "w", force_zip64=True) as part:
            np.lib.format.write_array(part, row_ids, allow_pickle=False)
        with file.open("representations.npy", "w", force_zip64=True) as part:
            yield _rows_into(part, (len(row_ids), width))


@contextmanager
def writing_npy(path: str | Path, row_ids: NDArray[np.str_], width: int) -> Iterator[Write]:
    """As `writing_npz`, into a ``.npy`` with the row ids in ``NAME.row_ids.npy`` beside it."""
    path = Path(path)
    with replacing(path) as temporary:
        with open(temporary, "wb") as part:
            yield _rows_into(part, (len(row_ids), width))
        with replacing(path.with_suffix(".row_ids.npy")) as beside, open(beside, "wb") as part:
            np.lib.format.write_array(part, row_ids, allow_pickle=False)


def _rows_into(part: Any, shape: tuple[int, int]) -> Write:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(part, header)

    def write(values: NDArray[np.float32]) -> None:
        part.write(np.ascontiguousarray(values, "<f4").tobytes())

    return write
