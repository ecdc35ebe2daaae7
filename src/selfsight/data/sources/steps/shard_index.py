"""Where each image of tar shards lies and what stands beside it, by one pass over the headers."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from selfsight.console import counted, progress
from selfsight.data.notes import Note, doubt, left_out, records, some
from selfsight.data.pixels.formats import FORMAT_OF, suffix_of
from selfsight.data.pixels.store import cache_folder, fingerprint
from selfsight.data.sources.steps.shard_files import ShardFile, is_url
from selfsight.data.sources.steps.shard_keys import keys_to_last_dot
from selfsight.files import replacing

READERS = 8
"""Shards of a store whose headers are read at the same time."""
FIELDS = {"cls": "cls", "class": "cls", "class.txt": "cls", "cls.txt": "cls", "label.txt": "cls",
          "json": "json", "txt": "txt", "caption.txt": "txt"}  # fmt: skip
"""Suffix of a member, in lower case -> how it is read."""
MAX_TEXT = 1 << 20
"""Bytes of a target's file; larger ones are no targets."""
MAX_IMAGE = 1 << 30
"""Bytes of an encoded image."""
TEXTS = (".cls", ".class", ".json", ".txt")
PLACE = ("__shard", "__name", "__offset", "__size", "__why")


def shard_index(files: Sequence[ShardFile], folder: str) -> tuple[Any, list[Note]]:
    """Where each image lies and what stands beside it, from the cache or from a pass."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = fingerprint(["shards 3", *(file.identity for file in files)])
    kept = cache_folder() / f"{name}.index.parquet"
    with suppress(OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        table = pq.read_table(kept)
        if set(PLACE) <= set(table.column_names):
            notes = json.loads(table.schema.metadata[b"notes"])
            return table.replace_schema_metadata(None), [Note(**note) for note in notes]
    members: list[Member] = []
    notes = []
    workers = READERS if is_url(folder) else 1
    with (
        progress("reading tar headers", len(files)) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):
        for some_members, doubts in pool.map(_members, files, range(len(files))):
            members += some_members
            notes += doubts
            bar.update()
    table = _table(_samples(members, notes), notes)
    # Without a folder that can be written the pass is made each time.
    with suppress(OSError), replacing(kept) as temporary:
        plain = {b"notes": json.dumps(records(notes)).encode()}
        pq.write_table(table.replace_schema_metadata(plain), temporary)
    return table, notes


def _table(rows: Sequence[dict[str, Any]], notes: list[Note]) -> Any:
    """Columns of the rows; a field of several types is left out, and said."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for name in dict.fromkeys([*PLACE, *(key for row in rows for key in row)]):
        try:
            columns[name] = pa.array([row.get(name) for row in rows])
        except (pa.ArrowException, OverflowError):
            notes.append(Note(f"Field {name} holds values of several types and was left out."))
    return pa.table(columns)


@dataclass(frozen=True)
class Member:
    """A member of a shard: where it lies, or what it says of its sample."""

    path: PurePosixPath
    shard: int
    place: tuple[Any, ...] | None
    text: bytes = b""


def _members(file: ShardFile, shard: int) -> tuple[list[Member], list[Note]]:
    """The images of a shard and the fields beside them, in order; and what is doubtful of it."""
    members: list[Member] = []
    images = 0
    try:
        with file.opened() as raw, tarfile.open(fileobj=raw, mode="r:") as archive:
            for member in archive:
                if member.isdir():
                    continue
                path = PurePosixPath(member.name)
                if suffix_of(path.name) in FORMAT_OF:
                    why = _unusable(member, path, file.size)
                    images += 1
                    place = (shard, member.name, member.offset_data, member.size, why)
                    members.append(Member(path, shard, place))
                elif path.suffix.lower() in TEXTS and not _unusable(
                    member, path, file.size, MAX_TEXT
                ):
                    raw.seek(member.offset_data)
                    members.append(Member(path, shard, None, raw.read(member.size)))
            # tarfile takes a file that ends between two members for whole.
            raw.seek(archive.offset)
            if raw.read(512).count(0) < 512:
                raise tarfile.ReadError("it has no end mark")
    except tarfile.ReadError as error:
        if not images:
            raise ValueError(
                f"{file.place} is not a readable tar ({error}); shards must be uncompressed."
            ) from None
        name = PurePosixPath(file.short).name
        text = f"{name} is cut off or damaged after {counted(images, 'image')} ({error})."
        return members, [doubt(text, about=name)]
    return members, []


def _samples(members: Sequence[Member], notes: list[Note]) -> list[dict[str, Any]]:
    """A row for each sample that has an image, with the fields of the sample."""
    whole = keys_to_last_dot([m.path.name for m in members if m.place is not None])
    fields: dict[Any, dict[str, Any]] = {}
    images: dict[Any, dict[str, Any]] = {}
    others: list[str] = []
    for member in members:
        name = member.path.name
        stem, _, suffix = name.rpartition(".") if whole else name.partition(".")
        if whole and (longer := _longer_field(name)):
            stem, suffix = longer
        key = (member.shard, str(member.path.parent), stem)
        if member.place is None:
            how = FIELDS.get(suffix.lower())
            if how is not None:
                fields.setdefault(key, {}).update(_fields(how, member.text))
        elif key in images:
            others.append(str(member.path))
        else:
            images[key] = dict(zip(PLACE, member.place, strict=True))
    if whole:
        notes.append(
            Note("The names of the images hold dots: a sample is what stands before the last.")
        )
    if others:
        text = (
            f"{len(others):,} further images of a sample are left out: {some(others)}; files of a "
            "sample have one name up to its first dot."
        )
        notes.append(left_out(text, about=others[0], count=len(others), names=others))
    lonely = [key for key in fields if key not in images]
    if lonely:
        text = (
            f"{len(lonely):,} samples without an image are left out: {some(k[2] for k in lonely)}."
        )
        notes.append(
            left_out(text, about=lonely[0][2], count=len(lonely), names=(k[2] for k in lonely))
        )
    return [row | fields.get(key, {}) for key, row in images.items()]


def _longer_field(name: str) -> tuple[str, str] | None:
    """``a.b.class.txt`` -> ``a.b`` and ``class.txt``."""
    for suffix in FIELDS:
        if "." in suffix and name.lower().endswith(f".{suffix}"):
            return name[: -len(suffix) - 1], suffix
    return None


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
        whole = re.fullmatch(r"-?\d{1,9}", text)
        return {"cls": int(text) if whole else text or None}
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
