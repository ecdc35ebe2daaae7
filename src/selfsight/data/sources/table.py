"""Tables: Parquet in the Hugging Face image layout, and CSV or Parquet manifests of paths."""

from __future__ import annotations

import builtins
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from selfsight.console import counted
from selfsight.data.notes import left_out, some
from selfsight.data.pixels.formats import FORMAT_OF, suffix_of
from selfsight.data.reading import Asked
from selfsight.data.sources.steps.class_names import feature_names, info_names
from selfsight.data.sources.steps.columns import PATH_COLUMN, flat, is_text
from selfsight.data.sources.steps.encoded_columns import (
    Part,
    identity_of_files,
    identity_of_parts,
    inside_only,
    rows_of_files,
    rows_of_parts,
)
from selfsight.data.sources.steps.files import files_below, image_files, listing_of_files
from selfsight.data.sources.steps.image_columns import array_columns, chosen_column, image_columns
from selfsight.data.sources.steps.listing import Files, Listing
from selfsight.data.sources.steps.listing_from_columns import with_columns
from selfsight.data.sources.steps.long_form import grouped
from selfsight.data.sources.steps.matching import best_match, key_columns, plain_path
from selfsight.data.sources.steps.nested_pixels import nested_listing
from selfsight.data.sources.steps.split_names import SPLIT_OF, file_splits
from selfsight.data.sources.steps.tables import SUFFIXES, read_table
from selfsight.data.sources.steps.texts import PATH
from selfsight.data.sources.steps.united import united
from selfsight.settings import unknown

SHOWN = 12
"""Columns that a sentence names."""
PIXEL_COLUMNS = 64
"""Numbers in a row from which they are taken for pixels."""
TRIED = 50
"""Paths of a manifest that are looked for before its images are sought by name."""


def opens(path: str | Path) -> bool:
    """Tables, and folders of Parquet files with images or pixels."""
    path = Path(path)
    if path.is_dir():
        return any(image_columns(file) or array_columns(file) for file in parquet_files(path))
    return path.suffix.lower() in SUFFIXES and path.is_file()


def list(path: str | Path, asked: Asked) -> Listing:
    """The images of a table, undecoded.

    Args:
        path: a Parquet, CSV, TSV or JSON lines file, or a folder of Parquet files named after
            their splits.
        asked: columns; None: guessed, and said.

    Raises:
        ValueError: no images, a damaged file, files that disagree, or a column that is not there.
    """
    path = Path(path)
    files = parquet_files(path) if path.is_dir() else [path]
    if any(image_columns(file) for file in files):
        return _embedded(path, files, asked)
    if any(array_columns(file) for file in files):
        return nested_listing(path, files, asked)
    return _manifest(path, asked)


def parquet_files(folder: Path) -> Sequence[Path]:
    """The Parquet files of a folder: in it, in ``data``, or in folders named after splits."""
    found = sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))
    return found or sorted(
        path for path in folder.glob("*/*.parquet") if path.parent.name.lower() in SPLIT_OF
    )


def _embedded(path: Path, files: Sequence[Path], asked: Asked) -> Listing:
    """Images as bytes in Parquet files."""
    folder = path if path.is_dir() else path.parent
    notes: dict[str, None] = {}
    tables: dict[Path, Any] = {}
    parts: builtins.list[Part] = []
    counts: builtins.list[int] = []
    names: dict[Path, Mapping[str, Sequence[str]]] = {}
    first = 0
    for file in files:
        candidates = image_columns(file)
        image, said = chosen_column(candidates, asked, file.name)
        notes |= dict.fromkeys(said)
        if image is None:
            text = f"{file.name} holds no images and was left out."
            notes[left_out(text, about=file.name, count=1)] = None
            continue
        table, _ = read_table(file, candidates)
        names[file] = feature_names(table.schema)
        tables[file] = table.replace_schema_metadata(None)
        parts.append(Part(file, file.relative_to(folder).as_posix(), first, image))
        counts.append(table.num_rows)  # pyarrow forgets it of a table without columns
        first += table.num_rows
    if first == 0:
        raise ValueError(f"{path}: there are no rows in it.")
    columns, class_names, said = united(path, {p.name: tables[p.path] for p in parts},
                                        {p.name: names[p.path] for p in parts})  # fmt: skip
    row_ids = np.array([f"{part.name if path.is_dir() else ''}#{row}"
                        for part, count in zip(parts, counts, strict=True)
                        for row in range(count)])  # fmt: skip
    splits = None
    if path.is_dir():
        by_name = file_splits([part.name.removesuffix(".parquet") for part in parts], asked.split)
        if by_name is not None:
            said += by_name.notes
            words = [word or "" for word in by_name.splits]
            splits = np.repeat(np.array(words, "<U10"), counts)
            if not any(word not in ("", "train") for word in words):
                splits = None if "" not in words else splits
    encoded = Files(
        folder.resolve().name if path.is_dir() else path.stem,
        row_ids,
        partial(rows_of_parts, parts, folder),
        partial(identity_of_parts, parts),
        asked,
    )
    class_names = class_names | info_names(folder, columns)
    listing = encoded.listing()
    return with_columns(listing, columns, class_names, splits, asked, [*notes, *said])


def _manifest(path: Path, asked: Asked) -> Listing:
    """Paths of images in a table."""
    if path.is_dir():
        raise ValueError(f"{path}: there are no rows in it.")
    table, notes = read_table(path)
    if table.num_rows == 0:
        raise ValueError(f"{path}: there are no rows in it.")
    columns = dict(zip(table.column_names, table.columns, strict=True))
    names = feature_names(table.schema) | info_names(path.parent, columns)
    root = asked.root or path.parent
    column = _path_column(columns, asked, path)
    if column is None or not _any_there(columns[column], root):
        found = _sought(path, root, columns, column, names, asked, notes)
        if found is not None:
            return found
        if column is None:
            raise ValueError(_no_images(path, columns))
    paths = flat(columns.pop(column)).to_pylist()
    notes.append(f"Images are read from the paths in column {column}.")
    one_each = grouped(columns, paths, path.name, asked)
    if one_each is not None:
        columns, rows, said = one_each
        paths = [paths[row] for row in rows]
        notes += said
    if len(set(paths)) == len(paths) and None not in paths:
        row_ids = np.array([_plain(text) for text in paths])
    else:
        row_ids = np.array([f"#{row}" for row in range(len(paths))])
    notes += _not_named(paths, root, path.name)
    encoded = Files(
        path.stem,
        row_ids,
        partial(rows_of_files, paths, root),
        partial(identity_of_files, paths, root),
        asked,
    )
    return with_columns(encoded.listing(), columns, names, None, asked, notes)


def _path_column(columns: Mapping[str, Any], asked: Asked, path: Path) -> str | None:
    """The column of paths: asked for, by its name, or by what it holds."""
    wanted = asked.options.image_column
    if wanted is not None and not ("image_column" in asked.held and wanted not in columns):
        if wanted not in columns:
            raise unknown(f"image column in {path.name} named", wanted, columns)
        return wanted
    texts = [name for name, column in columns.items() if is_text(column.type)]
    held = [name for name in texts if _holds_paths(columns[name])]
    named = [name for name in texts if PATH_COLUMN.search(name)]
    both = [name for name in named if name in held]
    return next(iter([*both, *held, *named]), None)


def _holds_paths(column: Any) -> bool:
    some_cells = [value for value in column[:TRIED].to_pylist() if value]
    return bool(some_cells) and all(PATH.search(value.strip()) for value in some_cells)


def _any_there(column: Any, root: Path) -> bool:
    """Whether any of some paths leads to a file, inside the root or not."""
    if not is_text(column.type):
        return False
    count = len(column)
    rows = np.unique(np.linspace(0, count - 1, min(TRIED, count)).astype(np.int64))
    for text in flat(column).take(rows).to_pylist():
        if text and (isinstance(inside_only(text, root), Path) or os.path.isfile(root / text)):
            return True
    return False


def _sought(
    path: Path,
    root: Path,
    columns: Mapping[str, Any],
    column: str | None,
    names: Mapping[str, Sequence[str]],
    asked: Asked,
    notes: Sequence[str],
) -> Listing | None:
    """The images below the manifest's folder that its rows name in another way; None: none."""
    below = files_below(root)
    images = image_files(root, below.files)
    if not images.names:
        return None
    keys = key_columns(columns if column is None else {column: columns[column]})
    match = best_match(keys, images.names)
    if match is None:
        return None
    rest = {name: values for name, values in columns.items() if name != match.column}
    said = [*notes, f"Column {match.column} names images of {root}{match.how}."]
    place = match.place
    one_each = grouped(rest, keys[match.column], path.name, asked)
    if one_each is not None:
        rest, first, more = one_each
        said += more
        where = {row: i for i, row in enumerate(first)}
        place = np.array([where.get(row, -1) for row in place.tolist()], np.int64)
    if match.unnamed:
        text = (
            f"{counted(match.unnamed, 'row')} of {path.name} "
            f"{'names no image and is' if match.unnamed == 1 else 'name no image and are'} left "
            "out."
        )
        said.append(left_out(text, about=path.name, count=match.unnamed, doubtful=True))
    kept = np.flatnonzero(place >= 0)
    others = [images.names[row] for row in np.flatnonzero(place < 0).tolist()]
    if others:
        text = (
            f"{counted(len(others), 'image')} below {root} "
            f"{'is' if len(others) == 1 else 'are'} not named in {path.name} and left out."
        )
        said.append(left_out(text, about=path.name, count=len(others), names=others))
    listing = listing_of_files(root, [images.names[row] for row in kept], asked)
    import pyarrow as pa

    taken = {name: values.take(pa.array(place[kept])) for name, values in rest.items()}
    return with_columns(listing, taken, names, None, asked, said)


def _not_named(paths: Sequence[str | None], root: Path, table: str) -> Sequence[str]:
    """A note on the images that lie beside those that the table names."""
    named: dict[str, set[str]] = {}
    for text in paths:
        if text:
            folder, _, name = plain_path(text).rpartition("/")
            named.setdefault(folder, set()).add(name)
    others: Any = []
    for folder, here in named.items():
        try:
            entries = os.scandir(root / folder)
        except (OSError, ValueError):  # such as a null byte in the name
            continue
        with entries:
            others += [
                f"{folder}/{entry.name}".lstrip("/")
                for entry in entries
                if suffix_of(entry.name) in FORMAT_OF
                and entry.name[0] != "."
                and plain_path(entry.name) not in here
            ]
    if not others:
        return []
    text = (
        f"{counted(len(others), 'image')} beside those that {table} names "
        f"{'is' if len(others) == 1 else 'are'} left out: "
        f"{some(sorted(others))}."
    )
    return [left_out(text, about=table, count=len(others), names=sorted(others))]


def _no_images(path: Path, columns: Mapping[str, Any]) -> str:
    shown = [f"{name} ({str(c[0].as_py())[:40]!r})" for name, c in columns.items()]
    first = ", ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN:,} more" * (len(shown) > SHOWN))
    numbers = [c for c in columns.values() if not is_text(c.type)]
    words = [str(c[0].as_py())[:400].split() for c in columns.values()]
    rows = [row for row in words if len(row) > PIXEL_COLUMNS and all(map(str.isdigit, row))]
    if len(numbers) >= PIXEL_COLUMNS or rows:
        return (
            f"{path}: its pixels seem to stand as numbers in {first}; bring them into an array "
            "(N, H, W) and save np.savez('images.npz', images=..., label=...)."
        )
    return (
        f"{path}: it has no column of images (bytes), and none of its columns names a file below "
        f"{path.parent}: {first}; name the column of paths by --image-column."
    )


def _plain(path: str) -> str:
    """With ``/`` and nothing to be left out; most paths are so, and a million are looked at."""
    path = plain_path(path) if "\\" in path or not path.isascii() else path
    if os.sep == "/" and "//" not in path and "./" not in path and not path.endswith("/"):
        return path
    return Path(path).as_posix()
