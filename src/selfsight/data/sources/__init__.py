"""Sources: anything on disk that a user points at becomes a `Listing`."""

from __future__ import annotations

from pathlib import Path

from selfsight.data.pixels.headers import SUFFIXES
from selfsight.data.sources.listing import Listing


def is_there(source: str | Path) -> bool:
    """Whether `list_source` has something to open under this name; it may be damaged."""
    from selfsight.data.sources import digits, hub, shards

    path = Path(source).expanduser()
    named = str(source) == digits.NAME or str(source).startswith(hub.PREFIX)
    return named or path.exists() or shards.is_pattern(path)


def list_source(
    source: str | Path,
    target: str | None = None,
    group: str | None = None,
    split: str | None = None,
    root: Path | None = None,
) -> Listing:
    """What ``digits``, a folder, a table, an array file, tar shards or ``hf:owner/name`` holds.

    Args:
        source: its name or path.
        target, group, split: columns of a table, keys of an array file; None: guessed.
        root: folder that the paths of a manifest must stay in; None: the folder it lies in.

    Raises:
        ValueError: there is no such source, or it is damaged; the sentence names it.
    """
    from selfsight.data.sources import arrays, digits, folder, hub, shards, table
    from selfsight.data.sources.listing_from_columns import Asked

    if not is_there(source):
        raise ValueError(f"{source}: there is no such file or folder.")
    asked = Asked(target, group, split)
    if str(source) == digits.NAME:
        return digits.list_digits()
    if str(source).startswith(hub.PREFIX):
        return hub.list_hub(str(source), asked)
    path = Path(source).expanduser()
    if not path.exists() and shards.is_pattern(path):
        return shards.list_shards(path, asked)
    if path.is_dir():
        inner = table.table_in(path)
        if inner is not None:
            return table.list_table(inner, target, group, split, root)
        if shards.shards_in(path):
            return shards.list_shards(path, asked)
        for name, column in (("group", group), ("split", split)):
            if column is not None:
                raise ValueError(
                    f"{name} {column!r}: a folder of images has no columns; give a table "
                    "(CSV or Parquet) with the paths of the images and this column."
                )
        return folder.list_folder(path)
    suffix = path.suffix.lower()
    if suffix == shards.SUFFIX:
        return shards.list_shards(path, asked)
    if suffix in table.SUFFIXES:
        return table.list_table(path, target, group, split, root)
    if suffix in arrays.SUFFIXES:
        return arrays.list_arrays(path, target, group, split)
    if suffix in SUFFIXES:
        raise ValueError(f"{path} is one image; give the folder that it lies in.")
    known = ", ".join((*table.SUFFIXES, *arrays.SUFFIXES, shards.SUFFIX))
    raise ValueError(f"{path}: its format is not known; give a folder of images or one of {known}.")
