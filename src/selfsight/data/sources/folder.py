"""Folders of images: class folders, split folders, or flat and unlabelled."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import Target, class_target
from selfsight.data.pixels.headers import SUFFIXES, Encoded
from selfsight.data.sources.columns import SPLIT_OF, identities
from selfsight.data.sources.listing import Files, Listing, file_identity

TARGET = "class"
BATCH = 512


def list_folder(root: Path) -> Listing:
    """The images below a folder, undecoded.

    ``root/class/*`` and ``root/{train,validation,val,valid,test,unlabelled}/class/*`` give the
    target ``class``; images with no folder around them are unlabelled. A row id is the path
    relative to the root, with ``/``.

    Raises:
        ValueError: there are no images in the folder.
    """
    files = sorted(_files_below(root), key=lambda path: PurePosixPath(path).parts)
    images = [path for path in files if os.path.splitext(path)[1].lower() in SUFFIXES]
    if not images:
        found = f"; there are {len(files):,} other files" if files else ""
        raise ValueError(f"{root}: there are no images (png, jpg, webp, tiff, bmp) in it{found}.")
    notes = []
    if len(files) > len(images):
        notes.append(f"{len(files) - len(images):,} files that are no images were left out.")
    images, splits, classes, said = _arranged(images)
    notes += said
    targets: dict[str, Target] = {}
    names = {name for name in classes if name}
    if len(names) > 1:
        targets[TARGET] = class_target(TARGET, classes)
        notes.append(f"The names of {len(names):,} folders are the target {TARGET}.")
        if "" in classes:
            notes.append(f"{classes.count(''):,} images lie in no class folder: unknown.")
    elif names:
        notes.append(f"All images lie in one folder, {names.pop()}: no target.")
    given = np.array(splits, "<U10")
    targets, said = identities(targets, given)
    row_ids = np.array([_text(path) for path in images])
    name = root.resolve().name
    read = partial(_batches, root, images)
    encoded = Files(name, row_ids, read, partial(_identity, root, images))
    return Listing(
        name=name,
        row_ids=row_ids,
        splits=given,
        load=encoded.load,
        files=encoded,
        targets=targets,
        notes=(*notes, *said),
    )


def _arranged(images: list[str]) -> tuple[list[str], list[str], list[str], list[str]]:
    """Images that take part, the split and the class folder ("" for none) of each, and notes."""
    tops = {path.split("/")[0] for path in images if "/" in path}
    given = {top for top in tops if top.lower() in SPLIT_OF}
    pool = {top for top in given if SPLIT_OF[top.lower()] == "unlabelled"}
    by_split = given == tops or len({SPLIT_OF[top.lower()] for top in given - pool}) > 1
    if not by_split:
        given = pool
    kept, splits, classes = [], [], []
    for path in images:
        parts = path.split("/")
        split = SPLIT_OF[parts[0].lower()] if parts[0] in given and len(parts) > 1 else None
        if split is None and by_split and given:
            continue
        inner = parts[1:] if split else parts
        kept.append(path)
        splits.append(split or "train")
        classes.append(inner[0] if len(inner) > 1 and split != "unlabelled" else "")
    notes = []
    if given:
        notes.append(f"The folders {', '.join(sorted(given))} are splits.")
    if len(kept) < len(images):
        notes.append(f"{len(images) - len(kept):,} images outside of them were left out.")
    return kept, splits, classes, notes


def _files_below(root: Path) -> Iterator[str]:
    """Relative paths with ``/`` of the files, without hidden ones; links are followed once."""
    seen: set[str] = set()
    stack = [""]
    while stack:
        inner = stack.pop()
        here = os.path.join(root, inner)
        real = os.path.realpath(here)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = list(os.scandir(here))
        except OSError as error:
            raise ValueError(f"{here}: it cannot be listed ({error.strerror}).") from None
        for entry in entries:
            if entry.name.startswith((".", "__MACOSX")):
                continue
            path = f"{inner}/{entry.name}" if inner else entry.name
            if _leads_on(entry):
                stack.append(path)
            else:
                yield path


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
