"""Tables on disk as pyarrow columns: Parquet, CSV, TSV and JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfsight.data.sources.steps.class_names import feature_names, info_names
from selfsight.data.sources.steps.columns import first_line
from selfsight.data.sources.steps.delimited import read_delimited
from selfsight.data.sources.steps.image_columns import image_columns

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")


def read_columns(file: Path) -> tuple[dict[str, Any], dict[str, Sequence[str]], list[str]]:
    """The columns of a table without encoded images, the class names that it brings, and notes.

    Raises:
        ValueError: there is no such table, or it is damaged.
    """
    if not file.is_file():
        raise ValueError(f"{file}: there is no such file.")
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{file}: a table must be one of {', '.join(SUFFIXES)}.")
    table, notes = read_table(file, image_columns(file))
    columns = dict(zip(table.column_names, table.columns, strict=True))
    return columns, feature_names(table.schema) | info_names(file.parent, columns), notes


def read_table(file: Path, without: Sequence[str] = ()) -> tuple[Any, list[str]]:
    """All columns but some as a pyarrow table, and how the file was read.

    Raises:
        ValueError: it is damaged, or no table.
    """
    import pyarrow as pa
    import pyarrow.json as json_lines
    import pyarrow.parquet as pq

    try:
        if file.suffix.lower() == ".parquet":
            wanted = [name for name in pq.read_schema(file).names if name not in without]
            return pq.read_table(file, columns=wanted, partitioning=None), []
        if file.suffix.lower() in (".jsonl", ".ndjson"):
            with open(file, "rb") as content:
                start = content.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
            if start and start[:1] != b"{":  # Arrow's reader ends the process on a leading null
                raise OSError("each line must be an object, as in {...}")
            table = json_lines.read_json(file)
            table.validate(full=True)  # text that is no UTF-8
            return table, []
        return read_delimited(file)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        if file.is_file() and not file.stat().st_size:
            raise ValueError(f"{file} is empty.") from None
        raise ValueError(f"{file} is not a readable table ({first_line(error)}).") from None
