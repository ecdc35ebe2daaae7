"""Tables: Parquet in the Hugging Face image layout, and CSV or Parquet manifests of paths."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from selfsight.data.sources.class_names import feature_names, info_names
from selfsight.data.sources.columns import SPLIT_OF
from selfsight.data.sources.encoded_columns import (
    Part,
    identity_of_files,
    identity_of_parts,
    rows_of_files,
    rows_of_parts,
)
from selfsight.data.sources.listing import Files, Listing
from selfsight.data.sources.listing_from_columns import Asked, described
from selfsight.files import text_of_cell

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")
PATH_COLUMN = re.compile(r"^(path|file|file_?name|file_?path|image|image_?(path|file))$", re.I)
FILE_SPLIT = re.compile(r"^([a-z]+)(?:[-_.]?\d+)*(?:-of-\d+)?$", re.I)


def table_in(folder: Path) -> Path | None:
    """The folder itself where it holds Parquet files with images, or its ``metadata`` table."""
    if any(_image_column(path) is not None for path in _parquet_files(folder)):
        return folder
    metadata = (folder / f"metadata{suffix}" for suffix in SUFFIXES)
    return next((path for path in metadata if path.is_file()), None)


def list_table(
    path: Path,
    target: str | None = None,
    group: str | None = None,
    split: str | None = None,
    root: Path | None = None,
) -> Listing:
    """The images of a table, undecoded.

    Args:
        path: a Parquet or CSV file, or a folder of Parquet files named after their splits.
        target, group, split: columns; None: guessed, and said.
        root: folder that the paths of a manifest are relative to and must stay in; None: the
            folder of the manifest.

    Raises:
        ValueError: no images, a damaged file, or a column that is not there.
    """
    import pyarrow as pa

    notes: list[str] = []
    folder = path if path.is_dir() else path.parent
    tables: list[Any] = []
    parts: list[Part] = []
    first = 0
    image = None
    names: dict[str, Sequence[str]] = {}
    for file in _parquet_files(path) if path.is_dir() else [path]:
        column = _image_column(file)
        if column is None and path.is_dir():
            notes.append(f"{file.name} holds no images and was left out.")
            continue
        table = _columns_of(file, column)
        image = column or image
        names = feature_names(table.schema) | names
        tables.append(table.replace_schema_metadata(None))
        where = split_of_file(file, folder) if path.is_dir() else None
        parts.append(Part(file, file.relative_to(folder).as_posix(), first, where))
        first += table.num_rows
    if first == 0:
        raise ValueError(f"{path}: there are no rows in it.")
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(f"{path}: its files have different columns ({error}).") from None
    columns = dict(zip(table.column_names, table.columns, strict=True))
    row_ids = np.array([f"{p.name}#{i}" for p, t in zip(parts, tables, strict=True)
                        for i in range(t.num_rows)])  # fmt: skip
    if image is None:
        inside = root or folder
        image = _path_column(columns, path)
        paths = columns.pop(image).to_pylist()
        if len(set(paths)) == len(paths) and None not in paths:
            row_ids = np.array([_plain(text) for text in paths])
        notes.append(f"Images are read from the paths in column {image}.")
        batches: Any = partial(rows_of_files, paths, inside)
        identity: Any = partial(identity_of_files, paths, inside)
    else:
        batches = partial(rows_of_parts, parts, image, folder)
        identity = partial(identity_of_parts, parts, image)
    names |= info_names(folder, columns)
    name = folder.name if path.is_dir() else path.stem
    by_file = None
    if any(part.split for part in parts):
        by_file = np.full(first, "train", dtype="<U10")
        for part in parts:
            by_file[part.first :] = part.split or "train"
    return described(
        Files(name, row_ids, batches, identity),
        columns,
        names,
        by_file,
        Asked(target, group, split),
        tuple(notes),
    )


def read_columns(file: Path) -> tuple[dict[str, Any], dict[str, Sequence[str]]]:
    """The columns of a table without images, and the class names that it brings.

    Raises:
        ValueError: there is no such table, or it is damaged.
    """
    if not file.is_file():
        raise ValueError(f"{file}: there is no such file.")
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{file}: a table must be one of {', '.join(SUFFIXES)}.")
    table = _columns_of(file, _image_column(file))
    columns = dict(zip(table.column_names, table.columns, strict=True))
    return columns, feature_names(table.schema) | info_names(file.parent, columns)


def _parquet_files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))
    return found or sorted(
        path for path in folder.glob("*/*.parquet") if path.parent.name.lower() in SPLIT_OF
    )


def split_of_file(file: Path, folder: Path) -> str | None:
    match = FILE_SPLIT.match(file.stem)
    word = match.group(1).lower() if match else ""
    if word not in SPLIT_OF and file.parent != folder:
        word = file.parent.name.lower()
    return SPLIT_OF.get(word)


def _image_column(file: Path) -> str | None:
    """The column with encoded images: struct<bytes, path> or binary."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix.lower() != ".parquet":
        return None
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} is not a readable Parquet file ({_line(error)}).") from None
    found = [
        field.name
        for field in schema
        if pa.types.is_binary(field.type)
        or pa.types.is_large_binary(field.type)
        or (pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
    ]
    preferred = [name for name in found if name.lower() in ("image", "img", "picture", "pixels")]
    return next(iter(preferred + found), None)


def _columns_of(file: Path, image: str | None) -> Any:
    """All columns but the images, as a pyarrow table."""
    import pyarrow as pa
    import pyarrow.csv as csv
    import pyarrow.json as json_lines
    import pyarrow.parquet as pq

    if not file.is_file():
        raise ValueError(f"{file}: there is no such file, or it is no plain file.")
    try:
        if file.suffix.lower() == ".parquet":
            wanted = [name for name in pq.read_schema(file).names if name != image]
            return pq.read_table(file, columns=wanted, partitioning=None)
        if file.suffix.lower() == ".jsonl":
            return json_lines.read_json(file)
        table = csv.read_csv(
            file,
            parse_options=csv.ParseOptions(delimiter="\t" if file.suffix == ".tsv" else ","),
            convert_options=csv.ConvertOptions(
                strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
        return _texts(table)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not a readable table ({_line(error)}).") from None


def _texts(table: Any) -> Any:
    """Names and texts of a CSV file as they were before `csv_cell` wrote them."""
    import pyarrow as pa

    columns = []
    for column in table.columns:
        if pa.types.is_string(column.type):
            texts = [None if t is None else text_of_cell(t) for t in column.to_pylist()]
            column = pa.chunked_array([pa.array(texts, column.type)])
        columns.append(column)
    return pa.table(columns, names=[text_of_cell(name) for name in table.column_names])


def _path_column(columns: Mapping[str, Any], path: Path) -> str:
    import pyarrow as pa

    texts = [
        name
        for name, column in columns.items()
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    ]
    name = next((name for name in texts if PATH_COLUMN.search(name)), None)
    if name is None:
        raise ValueError(
            f"{path}: it has no column of images (bytes) and none named path, file_name or image."
        )
    return name


def _plain(path: str) -> str:
    """With ``/`` and nothing to be left out; most paths are so, and a million are looked at."""
    if os.sep == "/" and "//" not in path and "./" not in path and not path.endswith("/"):
        return path
    return Path(path).as_posix()


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
