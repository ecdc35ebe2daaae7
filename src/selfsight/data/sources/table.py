"""Tables: Parquet in the Hugging Face image layout, and CSV or Parquet manifests of paths."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.decode import Encoded
from selfsight.data.sources.class_names import feature_names, info_names
from selfsight.data.sources.columns import (
    GROUP,
    SPLIT,
    SPLIT_OF,
    find_column,
    groups_of,
    identities,
    splits_of,
    targets_of,
)
from selfsight.data.sources.listing import Listing, file_identity, load_encoded
from selfsight.settings import unknown

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")
PATH_COLUMN = re.compile(r"^(path|file|file_?name|file_?path|image|image_?(path|file))$", re.I)
SPLIT_LIKE = re.compile(r"(^|_)split$", re.I)
FILE_SPLIT = re.compile(r"^([a-z]+)(?:[-_.]?\d+)*(?:-of-\d+)?$", re.I)
BATCH = 512


@dataclass(frozen=True)
class Part:
    """One file of the table: its path, its name in row ids, its first row, its split."""

    path: Path
    name: str
    first: int
    split: str | None


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
        where = _split_of_file(file, folder) if path.is_dir() else None
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
            row_ids = np.array([Path(text).as_posix() for text in paths])
        notes.append(f"Images are read from the paths in column {image}.")
        batches: Any = partial(_files, paths, inside)
        identity: Any = partial(_identity_of_files, paths, inside)
    else:
        batches = partial(_bytes, parts, image, folder)
        identity = partial(_identity_of_parts, parts, image)
    names |= info_names(folder, columns)
    splits, said = _given_splits(parts, first, columns, split)
    notes += said
    group_name = find_column(columns, group, GROUP, "group")
    groups = None if group_name is None else groups_of(columns[group_name])
    if group_name is not None and group is None:
        notes.append(f"Column {group_name} is taken as the group.")
    rest = {
        name: column
        for name, column in columns.items()
        if name == target or (name not in (group_name, split) and not SPLIT_LIKE.search(name))
    }
    if target is not None and not set(map(str.strip, target.split(","))) <= set(columns):
        raise unknown(f"target in {folder.name} named", target, rest)
    targets, said = targets_of(rest, names, target)
    notes += said
    if target is None and len(targets) == 1:
        notes.append(f"Column {next(iter(targets))} is the only target and is taken.")
    targets, said = identities(targets, splits)
    name = folder.name if path.is_dir() else path.stem
    return Listing(
        name=name,
        row_ids=row_ids,
        splits=splits,
        load=partial(load_encoded, name, row_ids, batches, identity),
        targets=targets,
        groups=groups,
        group_name=group_name,
        notes=(*notes, *said),
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


def _given_splits(
    parts: Sequence[Part], count: int, columns: Mapping[str, Any], asked: str | None
) -> tuple[NDArray[np.str_], list[str]]:
    by_file = any(part.split for part in parts)
    name = find_column(columns, asked, SPLIT, "split") if asked or not by_file else None
    if name is not None:
        said = [] if asked else [f"Column {name} is taken as the split."]
        return splits_of(columns[name], name), said
    splits = np.full(count, "train", dtype="<U10")
    for part in parts:
        splits[part.first :] = part.split or "train"
    return splits, []


def _parquet_files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))
    return found or sorted(
        path for path in folder.glob("*/*.parquet") if path.parent.name.lower() in SPLIT_OF
    )


def _split_of_file(file: Path, folder: Path) -> str | None:
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

    try:
        if file.suffix.lower() == ".parquet":
            wanted = [name for name in pq.read_schema(file).names if name != image]
            return pq.read_table(file, columns=wanted, partitioning=None)
        if file.suffix.lower() == ".jsonl":
            return json_lines.read_json(file)
        return csv.read_csv(
            file,
            parse_options=csv.ParseOptions(delimiter="\t" if file.suffix == ".tsv" else ","),
            convert_options=csv.ConvertOptions(
                strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not a readable table ({_line(error)}).") from None


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


def _bytes(
    parts: Sequence[Part], image: str, folder: Path, rows: NDArray[np.int64]
) -> Iterable[list[Encoded | str]]:
    """Encoded images of the (ascending) rows, read a batch at a time."""
    import pyarrow.parquet as pq

    for place, part in enumerate(parts):
        end = parts[place + 1].first if place + 1 < len(parts) else np.iinfo(np.int64).max
        inside = rows[(rows >= part.first) & (rows < end)] - part.first
        if not len(inside):
            continue
        with pq.ParquetFile(part.path) as file:
            start = 0
            for batch in file.iter_batches(BATCH, columns=[image]):
                first, start = start, start + batch.num_rows
                wanted = inside[(inside >= first) & (inside < start)] - first
                if len(wanted):
                    yield _encoded(batch.column(0).take(wanted), folder)


def _encoded(column: Any, folder: Path) -> list[Encoded | str]:
    import pyarrow as pa

    found: list[Encoded | str] = []
    for value in column.to_pylist():
        if isinstance(value, dict) and pa.types.is_struct(column.type):
            path = value.get("path")
            value = value["bytes"]
            if value is None and path:
                value = inside_only(path, folder)
        found.append("no image in this row" if value is None else value)
    return found


def _files(
    paths: Sequence[str | None], root: Path, rows: NDArray[np.int64]
) -> Iterable[list[Encoded | str]]:
    for first in range(0, len(rows), BATCH):
        yield [inside_only(paths[row], root) for row in rows[first : first + BATCH].tolist()]


def _identity_of_parts(parts: Sequence[Part], image: str, rows: NDArray[np.int64]) -> Iterable[str]:
    yield image
    for part in parts:
        yield file_identity(part.path)
    yield rows.tobytes().hex()


def _identity_of_files(
    paths: Sequence[str | None], root: Path, rows: NDArray[np.int64]
) -> Iterable[str]:
    for row in rows.tolist():
        yield file_identity(root / (paths[row] or ""))


def inside_only(text: str | None, root: Path) -> Encoded | str:
    """The file that a path in a table names, or why it is not read: it must stay in ``root``."""
    if not text:
        return "no path in this row"
    real = os.path.realpath(os.path.join(root, text))
    base = os.path.realpath(root)
    if os.path.commonpath([real, base]) != base:
        return f"a path outside {root}"
    return Path(real) if os.path.isfile(real) else "there is no such file"


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
