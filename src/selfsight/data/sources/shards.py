"""WebDataset: tar shards of this machine, read where they lie; nothing is ever unpacked.

One pass over the headers makes an index, which is kept in the cache folder; after that any image
is one seek away. Files of one key (the path up to the first dot of its last part) are one sample.
Where names of images have dots of their own, the key goes to the last dot.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.notes import guess
from selfsight.data.pixels.headers import Encoded
from selfsight.data.reading import NONE, Asked
from selfsight.data.sources.steps.listing import Files, Listing
from selfsight.data.sources.steps.listing_from_columns import folders_of, with_columns
from selfsight.data.sources.steps.shard_files import (
    SUFFIX,
    ShardFile,
    is_pattern,
    local_shards,
    ranges,
    shards_in,
)
from selfsight.data.sources.steps.shard_index import PLACE, shard_index
from selfsight.data.sources.steps.split_names import file_splits

SUFFIXES = (SUFFIX,)
BATCH = 512


def opens(path: str | Path) -> bool:
    """A shard, a pattern of shards, or a folder of them."""
    path = Path(path)
    if path.is_dir():
        return bool(shards_in(path))
    return path.suffix.lower() == SUFFIX and (path.exists() or is_pattern(path))


def list(path: str | Path, asked: Asked) -> Listing:
    """The images of tar shards, undecoded.

    Args:
        path: a shard, a folder of them, or a pattern. ``train-000.tar`` and ``test/000.tar`` give
            the splits.
        asked: columns that the user named. The columns are ``cls`` (an integer or text in a file
            ``.cls``), the fields of ``.json``, the text of ``.txt``, and the folders of the images
            where there is nothing else.

    Raises:
        ValueError: there are no shards, one is no tar, or none holds an image.
    """
    return listed(str(path), *local_shards(Path(path)), asked)


def listed(path: str, folder: str, files: Sequence[ShardFile], asked: Asked) -> Listing:
    """The images of shards, undecoded.

    Args:
        path: as the user wrote it, for messages.
        folder: that the shards lie in.
        files: the shards.
        asked: see `list`.

    Raises:
        ValueError: see `list`.
    """
    table, read_notes = shard_index(files, folder)
    if table.num_rows == 0:
        raise ValueError(f"{path}: there are no images (png, jpg, webp, tiff, ...) in its shards.")
    shard = table["__shard"].to_numpy().astype(np.int64)
    names = table["__name"].to_pylist()
    shorts = [file.short for file in files]
    distinct = len(set(names)) == len(names)
    row_ids = np.array(names if distinct else _distinct(shard, names, shorts))
    by_name = file_splits([name.removesuffix(SUFFIX) for name in shorts], asked.split)
    splits = None
    notes = [f"{counted(len(names), 'image')} in {counted(len(files), 'tar shard')}.", *read_notes]
    if by_name is not None:
        splits = np.array([word or "" for word in by_name.splits], "<U10")[shard]
        notes += by_name.notes
    places = (shard, *(table[name].to_numpy().astype(np.int64) for name in PLACE[2:4]))
    read = partial(_read, files, places, table["__why"].to_pylist())
    identity = partial(_identity, files, row_ids)
    encoded = Files(
        PurePosixPath(folder).name or PurePosixPath(path).stem, row_ids, read, identity, asked
    )
    columns = {name: table[name] for name in table.column_names if name not in PLACE}
    if not columns:
        columns, more = _folders(names)
        notes += more
    return with_columns(encoded.listing(), columns, {}, splits, asked, notes)


def _distinct(shard: Any, names: Any, shorts: Any) -> Any:
    """Names of members that several shards, or one of them, hold more than once."""
    full = [f"{shorts[s]}#{n}" if len(shorts) > 1 else n for s, n in zip(shard, names, strict=True)]
    times: dict[str, int] = {}
    ids = []
    for text in full:
        times[text] = times.get(text, 0) + 1
        ids.append(text if times[text] == 1 else f"{text}#{times[text]}")
    return ids


def _folders(names: Any) -> tuple[dict[str, Any], Any]:
    """The folders of the members as a column, where there are several."""
    import pyarrow as pa

    folders = folders_of(np.array(names))
    if len({folder for folder in folders if folder}) < 2:
        return {}, []
    note = guess("The folders in the shards are the target class", "target", "class", [NONE],
                 about="class")  # fmt: skip
    return {"class": pa.chunked_array([pa.array(folders)])}, [note]


def _read(
    files: Sequence[ShardFile],
    places: tuple[NDArray[np.int64], ...],
    reasons: Sequence[str | None],
    rows: NDArray[np.int64],
) -> Iterable[builtins.list[Encoded | str]]:
    for first in range(0, len(rows), BATCH):
        part = rows[first : first + BATCH].tolist()
        good = [row for row in part if reasons[row] is None]
        spans = [(int(places[0][row]), int(places[1][row]), int(places[2][row])) for row in good]
        contents = dict(zip(good, ranges(files, spans), strict=True))
        yield [contents.get(row, reasons[row]) for row in part]


def _identity(
    files: Sequence[ShardFile], row_ids: NDArray[np.str_], rows: NDArray[np.int64]
) -> Iterable[str]:
    yield from (file.identity for file in files)
    yield "\n".join(row_ids[rows].tolist())
