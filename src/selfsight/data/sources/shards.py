"""WebDataset: tar shards, read where they lie; nothing is ever unpacked.

One pass over the headers makes an index, which is kept in the cache folder; after that any image
is one seek away. Files of one key (the path up to the first dot of its last part) are one sample.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import progress
from selfsight.data.pixels.headers import SUFFIXES, Encoded
from selfsight.data.pixels.store import cache_folder, fingerprint
from selfsight.data.sources.columns import SPLIT_OF
from selfsight.data.sources.listing import Files, Listing, file_identity
from selfsight.data.sources.listing_from_columns import Asked, described
from selfsight.data.sources.table import split_of_file
from selfsight.files import replacing

SUFFIX = ".tar"
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
BATCH = 512
FIELDS = ("cls", "json", "txt")
MAX_TEXT = 1 << 20
"""Bytes of a target's file; larger ones are no targets."""
MAX_IMAGE = 1 << 30
"""Bytes of an encoded image."""
PLACE = ("__shard", "__name", "__offset", "__size", "__why")


def is_pattern(path: Path) -> bool:
    """``shards-*.tar`` or ``shards-{000..012}.tar``."""
    return path.suffix.lower() == SUFFIX and (
        has_magic(str(path)) or bool(BRACES.search(str(path)))
    )


def shards_in(path: Path) -> list[Path]:
    """The shards of a folder, in it or in folders named after splits."""
    if not path.is_dir():
        return []
    return sorted(path.glob("*.tar")) or sorted(
        file for file in path.glob("*/*.tar") if file.parent.name.lower() in SPLIT_OF
    )


def list_shards(path: Path, asked: Asked) -> Listing:
    """The images of tar shards, undecoded.

    Args:
        path: a shard, a folder of them, or a pattern. ``train-000.tar`` and ``test/000.tar`` give
            the splits.
        asked: columns that the user named. The columns are ``cls`` (an integer or text in a file
            ``.cls``), the fields of ``.json`` and the text of ``.txt``.

    Raises:
        ValueError: there are no shards, one is no tar, or none holds an image.
    """
    files = _shards(path)
    folder = files[0].parent if len({file.parent for file in files}) == 1 else files[0].parents[1]
    table, notes = _index(files, folder)
    if table.num_rows == 0:
        raise ValueError(f"{path}: there are no images (png, jpg, webp, tiff, bmp) in its shards.")
    shard = table["__shard"].to_numpy().astype(np.int64)
    names = table["__name"].to_pylist()
    shorts = [file.relative_to(folder).as_posix() for file in files]
    distinct = len(set(names)) == len(names)
    row_ids = np.array(
        names if distinct else [f"{shorts[s]}#{n}" for s, n in zip(shard, names, strict=True)]
    )
    by_file = [split_of_file(file, folder) for file in files]
    splits = None
    if any(by_file):
        splits = np.array([word or "train" for word in by_file], "<U10")[shard]
    places = (shard, *(table[name].to_numpy().astype(np.int64) for name in PLACE[2:4]))
    read = partial(_read, files, places, table["__why"].to_pylist())
    found = Files(folder.name or path.stem, row_ids, read, partial(_identity, files, row_ids))
    columns = {name: table[name] for name in table.column_names if name not in PLACE}
    notes = [f"{len(names):,} images in {len(files):,} tar shards.", *notes]
    return described(found, columns, {}, splits, asked, tuple(notes))


def _shards(path: Path) -> list[Path]:
    text = str(path)
    braces = BRACES.search(text)
    if braces:
        first, last = braces.groups()
        numbers = range(int(first), int(last) + 1)
        texts = [
            text[: braces.start()] + f"{n:0{len(first)}}" + text[braces.end() :] for n in numbers
        ]
        missing = next((name for name in texts if not Path(name).is_file()), None)
        if missing:
            raise ValueError(f"{path}: there is no {missing}.")
        return [Path(name) for name in texts]
    found = [path] if path.is_file() else shards_in(path) or sorted(map(Path, glob(text)))
    if not found:
        raise ValueError(f"{path}: no such file is there.")
    return found


def _index(files: Sequence[Path], folder: Path) -> tuple[Any, list[str]]:
    """Where each image lies and what stands beside it, from the cache or from a pass."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = fingerprint(["shards 1", str(folder.absolute()), *map(file_identity, files)])
    kept = cache_folder() / f"{name}.index.parquet"
    with suppress(OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        table = pq.read_table(kept)
        if set(PLACE) <= set(table.column_names):
            return table.replace_schema_metadata(None), json.loads(table.schema.metadata[b"notes"])
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    with progress("reading tar headers", len(files)) as bar:
        for number, file in enumerate(files):
            rows += _samples(file, number, notes)
            bar.update()
    table = _table(rows, notes)
    # Without a folder that can be written the pass is made each time.
    with suppress(OSError), replacing(kept) as temporary:
        plain = {b"notes": json.dumps(notes).encode()}
        pq.write_table(table.replace_schema_metadata(plain), temporary)
    return table, notes


def _table(rows: list[dict[str, Any]], notes: list[str]) -> Any:
    """Columns of the rows; a field of several types is left out, and said."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for name in dict.fromkeys([*PLACE, *(key for row in rows for key in row)]):
        try:
            columns[name] = pa.array([row.get(name) for row in rows])
        except (pa.ArrowException, OverflowError):
            notes.append(f"Field {name} holds values of several types and was left out.")
    return pa.table(columns)


def _samples(file: Path, shard: int, notes: list[str]) -> Iterator[dict[str, Any]]:
    """A row for each image of a shard, with the fields of its sample."""
    fields: dict[str, dict[str, Any]] = {}
    images: dict[str, dict[str, Any]] = {}
    size = file.stat().st_size
    try:
        with tarfile.open(file, "r:") as archive, file.open("rb") as raw:
            for member in archive:
                if member.isdir():
                    continue
                path = PurePosixPath(member.name)
                stem, _, suffix = path.name.partition(".")
                key = f"{path.parent}/{stem}"
                ending = f".{suffix.rpartition('.')[2].lower()}"
                if ending in SUFFIXES:
                    # The first of several images of a sample counts: others are masks and such.
                    why = _unusable(member, path, size)
                    place = (shard, member.name, member.offset_data, member.size, why)
                    images.setdefault(key, dict(zip(PLACE, place, strict=True)))
                elif suffix in FIELDS and _unusable(member, path, size, MAX_TEXT) is None:
                    raw.seek(member.offset_data)
                    fields.setdefault(key, {}).update(_fields(suffix, raw.read(member.size)))
            # tarfile takes a file that ends between two members for whole.
            raw.seek(archive.offset)
            if raw.read(512).count(0) < 512:
                raise tarfile.ReadError("it has no end mark")
    except tarfile.ReadError as error:
        if not images:
            raise ValueError(
                f"{file} is not a readable tar ({error}); shards must be uncompressed."
            ) from None
        notes.append(f"{file.name} is cut off or damaged after {len(images):,} images ({error}).")
    for key, row in images.items():
        yield row | fields.get(key, {})


def _unusable(
    member: tarfile.TarInfo, path: PurePosixPath, size: int, most: int = MAX_IMAGE
) -> str | None:
    """Why a member is not read; nothing is written, yet such names come from attackers only."""
    if member.islnk() or member.issym():
        return "a link, which is not followed"
    if not member.isreg() or member.issparse():
        return "no plain file"
    if path.is_absolute() or ".." in path.parts:
        return "a path outside the shard"
    if member.size > most:
        return "larger than an honest file of its kind"
    if member.offset_data + member.size > size:
        return "cut off at the end of the shard"
    return None


def _fields(suffix: str, raw: bytes) -> dict[str, Any]:
    text = raw.decode("utf-8", "replace").strip()
    if suffix == "cls":
        return {"cls": int(text) if re.fullmatch(r"-?\d{1,9}", text) else text or None}
    if suffix == "txt":
        return {"txt": text or None}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    plain = (bool, int, float, str, list, type(None))
    if not isinstance(found, dict):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, plain) and not k.startswith("__")}


def _read(
    files: Sequence[Path],
    places: tuple[NDArray[np.int64], ...],
    reasons: Sequence[str | None],
    rows: NDArray[np.int64],
) -> Iterable[list[Encoded | str]]:
    for first in range(0, len(rows), BATCH):
        part = rows[first : first + BATCH]
        found: list[Encoded | str] = []
        open_shard, file = -1, None
        try:
            for row in part.tolist():
                shard, offset, size = (int(place[row]) for place in places)
                if reasons[row] is not None:
                    found.append(str(reasons[row]))
                    continue
                if shard != open_shard or file is None:
                    if file is not None:
                        file.close()
                    open_shard, file = shard, files[shard].open("rb")
                file.seek(offset)
                found.append(file.read(size))
        finally:
            if file is not None:
                file.close()
        yield found


def _identity(
    files: Sequence[Path], row_ids: NDArray[np.str_], rows: NDArray[np.int64]
) -> Iterable[str]:
    yield from map(file_identity, files)
    yield "\n".join(row_ids[rows].tolist())
