"""Files below a folder: which are images, and what is left out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from selfsight.data.notes import Note, left_out, some
from selfsight.data.pixels.formats import (
    FORMAT_OF,
    OTHERS,
    format_of,
    missing,
    start_of,
    suffix_of,
)
from selfsight.data.pixels.headers import Encoded
from selfsight.data.reading import Asked
from selfsight.data.sources.steps.listing import Files, Listing, file_identity

BATCH = 512
SNIFFED = 20
"""Files with an unknown suffix that are looked into; all of them where one is an image."""
SYSTEM = ("__MACOSX", "@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "lost+found",
          "System Volume Information")  # fmt: skip
"""Folders that systems make: thumbnails and deleted files."""


@dataclass(frozen=True)
class Below:
    """Files below a folder, sorted: relative paths with ``/``; and what was not followed."""

    files: list[str]
    notes: list[Note]


@dataclass(frozen=True)
class ImageFiles:
    """Those of some files that are images, the others, and notes on what cannot be read."""

    names: list[str]
    others: list[str]
    notes: list[Note]


def files_below(root: Path) -> Below:
    """The files below a folder, without hidden ones and those of systems; links count once."""
    seen: dict[str, str] = {}
    files: list[str] = []
    hidden: list[str] = []
    again: list[str] = []
    stack = [""]
    while stack:
        inner = stack.pop()
        here = os.path.join(root, inner)
        real = os.path.realpath(here)
        if real in seen:
            again.append(inner or ".")
            continue
        seen[real] = inner
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            raise ValueError(f"{here}: it cannot be listed ({error.strerror}).") from None
        for entry in entries:
            path = f"{inner}/{entry.name}" if inner else entry.name
            folder = _leads_on(entry)
            if entry.name.startswith((".", *SYSTEM)):
                if folder or suffix_of(entry.name) in FORMAT_OF:
                    hidden.append(path)
            elif folder:
                stack.append(path)
            else:
                files.append(path)
    notes = []
    if hidden:
        text = f"{len(hidden):,} hidden files and folders of the system are left out"
        notes.append(left_out(f"{text}: {some(sorted(hidden))}.", about=hidden[0],
                              count=len(hidden), names=sorted(hidden)))  # fmt: skip
    if again:
        text = f"{len(again):,} links lead to a folder that is read already and are left out"
        notes.append(left_out(f"{text}: {some(sorted(again))}.", about=again[0], count=len(again),
                              names=sorted(again)))  # fmt: skip
    return Below(sorted(files, key=lambda path: PurePosixPath(path).parts), notes)


def image_files(root: Path, files: Sequence[str]) -> ImageFiles:
    """Which files are images: by their names, and by what is inside where names say nothing.

    Files of a format that nothing installed reads are named with what reads it.
    """
    strange: dict[str, list[str]] = {}
    for path in files:
        suffix = suffix_of(path)
        if suffix not in FORMAT_OF and suffix not in OTHERS:
            strange.setdefault(suffix, []).append(path)
    formats: dict[str, str] = {}
    for paths in strange.values():
        found = {path: _format(root, path) for path in paths[:SNIFFED]}
        if any(found.values()):
            found |= {path: _format(root, path) for path in paths[SNIFFED:]}
        formats |= {path: name for path, name in found.items() if name}
    names, others = [], []
    lacking: dict[str, list[str]] = {}
    for path in files:
        name = FORMAT_OF.get(suffix_of(path)) or formats.get(path)
        if name is None:
            others.append(path)
            continue
        why = missing(name)
        if why is not None and missing(_format(root, path)) is not None:
            lacking.setdefault(why, []).append(path)
        else:
            names.append(path)
    notes = [
        left_out(
            f"{len(paths):,} files are left out: {some(paths)} ({why}).",
            about=paths[0], count=len(paths), names=paths, doubtful=True,
        )
        for why, paths in lacking.items()
    ]  # fmt: skip
    return ImageFiles(names, others, notes)


def listing_of_files(root: Path, images: Sequence[str], asked: Asked) -> Listing:
    """A listing of files below a folder, all in train; a row id is the path with ``/``."""
    row_ids = np.array([_text(path) for path in images])
    files = Files(
        root.resolve().name,
        row_ids,
        partial(_batches, root, images),
        partial(_identity, root, images),
        asked,
    )
    return files.listing()


def _format(root: Path, path: str) -> str | None:
    try:
        return format_of(start_of(root / path))
    except OSError:
        return None


def _leads_on(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; as a file it is named among the unreadable ones
        return False


def _batches(
    root: Path, images: Sequence[str], rows: NDArray[np.int64]
) -> Iterable[list[Encoded | str]]:
    for first in range(0, len(rows), BATCH):
        yield [root / images[row] for row in rows[first : first + BATCH].tolist()]


def _identity(root: Path, images: Sequence[str], rows: NDArray[np.int64]) -> Iterable[str]:
    for row in rows.tolist():
        yield file_identity(root / images[row])


def _text(path: str) -> str:
    """The path as text that every encoding can hold."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
