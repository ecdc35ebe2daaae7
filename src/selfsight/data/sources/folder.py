"""Folders of images: class folders, split folders, or flat; and the tables that lie in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from selfsight.data.imageset import Target, class_target
from selfsight.data.notes import guess, left_out, some
from selfsight.data.pixels.formats import START, start_of
from selfsight.data.reading import FOLDER, NONE, Asked
from selfsight.data.sources.steps.alike_names import alike_doubt
from selfsight.data.sources.steps.columns import groups_of
from selfsight.data.sources.steps.files import files_below, image_files, listing_of_files
from selfsight.data.sources.steps.folder_tables import FolderTables, folder_tables
from selfsight.data.sources.steps.listing import Listing
from selfsight.data.sources.steps.listing_from_columns import with_columns, without_unknown_splits
from selfsight.data.sources.steps.masks import without_masks
from selfsight.data.sources.steps.split_names import (
    SPLIT_OF,
    folder_splits,
    names_a_split,
    says_itself,
    split_of_name,
)
from selfsight.data.sources.steps.targets import identities

ORDER = 90
"""Asked after the sources that look for something in a folder."""
TARGET = "class"
UNIT = re.compile(r"^(coil|board|patient|lot|slide|wafer|scan|session|batch)s?[ _-]?\d+$", re.I)
"""Names of folders that are probably groups and no classes."""
UNREAD_TABLES = ("labels.json", "annotations.json", ".coco.json", ".xlsx", ".xls", ".mat", ".ods")
"""Names of files that may hold labels and are not read."""


def opens(path: str | Path) -> bool:
    """Any folder."""
    return Path(path).is_dir()


def list(path: str | Path, asked: Asked) -> Listing:
    """The images below a folder, undecoded.

    ``root/class/*`` and ``root/{train,validation,val,valid,test,unlabelled}/class/*`` give the
    target ``class``; images with no folder around them are unlabelled. A table that lies in the
    folder and names its images gives targets, groups and splits too. A row id is the path relative
    to the root, with ``/``.

    Raises:
        ValueError: there are no images in the folder, or its folders can be read in two ways.
    """
    root = Path(path)
    below = files_below(root)
    images = image_files(root, below.files)
    if not images.names:
        raise ValueError(_nothing(root, images.others, images.notes))
    masks: Any = []
    names = images.names
    if not asked.options.masks:
        names, masks = without_masks(root, images.names)
    plan = _arranged(names, root, asked)
    listing = listing_of_files(root, plan.images, asked)
    found = folder_tables(root, images.others, listing.row_ids, asked) if asked.labels else None
    others = [name for name in images.others if found is None or name not in found.files]
    notes = [*below.notes, *images.notes, *masks, *_others(others), *plan.notes]
    listing = replace(listing, splits=np.array(plan.splits, "<U10"), notes=tuple(notes))
    listing = _with_classes(listing, plan.classes, asked, found)
    if found is not None and found.columns:
        return with_columns(listing, found.columns, found.names, None, asked, found.notes)
    for name, column in (("group", asked.group), ("split", asked.split)):
        if column not in (None, NONE, FOLDER):
            raise ValueError(
                f"{name} {column!r}: a folder of images has no columns; give a table "
                "(CSV or Parquet) with the paths of the images and this column."
            )
    if found is not None:
        listing = replace(listing, notes=(*listing.notes, *found.notes))
    return without_unknown_splits(listing, asked)


@dataclass(frozen=True)
class Arrangement:
    """Images that take part, the split and the class folder ("" for none) of each, and notes."""

    images: Any
    splits: Any
    classes: Any
    notes: tuple[str, ...]


def _arranged(images: Any, root: Path, asked: Asked) -> Arrangement:
    inner, above = _descended(images)
    tops = sorted({parts[0] for parts in inner if len(parts) > 1})
    splits = folder_splits(tops)
    given, notes = _split_folders(splits, root, asked)
    notes = [f"All images lie below {'/'.join(above)}."] * bool(above) + notes
    kept, words, classes = [], [], []
    apart: Any = []
    for path, parts in zip(images, inner, strict=True):
        split = splits[parts[0]] if len(parts) > 1 and parts[0] in given else None
        outside = bool(given) and not _only_pool(given, splits) and split is None
        if outside and not asked.whole:
            apart.append(path)
            continue
        kept.append(path)
        words.append(split or "train")
        rest = parts[1:] if split else parts
        while split and len(rest) > 1 and split_of_name(rest[0]) == split:  # train/train
            rest = rest[1:]
        classes.append(rest)
    if apart:
        text = f"{len(apart):,} images outside of the split folders were left out: {some(apart)}."
        notes.append(left_out(text, about=str(root), count=len(apart), names=apart,
                              setting="split_column"))  # fmt: skip
    return Arrangement(kept, words, _class_folders(classes, words), tuple(notes))


def _only_pool(given: set[str], splits: dict[str, str | None]) -> bool:
    return all(splits[name] == "unlabelled" for name in given) and given != set(splits)


def _class_folders(inner: Any, splits: Any) -> Any:
    """The class folder of each image, below a folder that all of them share; "" for none."""
    labelled = [p for p, s in zip(inner, splits, strict=True) if s != "unlabelled"]
    depth = 0
    while (
        len({parts[depth] for parts in labelled if len(parts) > depth + 1}) == 1
        and all(len(parts) > depth + 1 for parts in labelled)
        and any(len(parts) > depth + 2 for parts in labelled)
    ):
        depth += 1
    return [
        parts[depth] if len(parts) > depth + 1 and split != "unlabelled" else ""
        for parts, split in zip(inner, splits, strict=True)
    ]


def _descended(images: Any) -> tuple[Any, Any]:
    """The parts of each path below a folder that all lie in, and that folder's parts.

    Single folders are gone into where folders with names of splits lie in them.
    """
    inner = [path.split("/") for path in images]
    depth = 0
    while all(len(parts) > depth + 1 for parts in inner):
        names = {parts[depth] for parts in inner}
        if all(folder_splits(names).values()):
            return [parts[depth:] for parts in inner], inner[0][:depth]
        if len(names) > 1:
            break
        depth += 1
    return inner, []


def _split_folders(splits: dict[str, str | None], root: Path, asked: Asked) -> tuple[set[str], Any]:
    """The folders that are splits, and notes.

    Folders are splits where all of them are named so. One such name among classes is a class, but
    for ``unlabelled``.

    Raises:
        ValueError: some are named so, and others are not.
    """
    known = {name for name, split in splits.items() if split is not None}
    rest = [name for name in splits if name not in known]
    if asked.split == NONE or not known:
        return set(), []
    named = some(sorted(known), len(known))
    if not rest or asked.split == FOLDER:
        told = [n if says_itself(n) else f"{n} (as {splits[n]})" for n in sorted(known)]
        text = f"The folders {', '.join(told)} are splits"
        return known, [guess(text, "split_column", FOLDER, [NONE], about=str(root))]
    pool = {name for name in known if name.lower() in SPLIT_OF and name.lower() != "pool"
            and splits[name] == "unlabelled"}  # fmt: skip
    sides = {splits[name] for name in known - pool}
    half = [name for name in rest if names_a_split(name)]
    if pool and not sides and not half:
        text = f"The folder {', '.join(sorted(pool))} holds unlabelled images"
        return pool, [guess(text, "split_column", FOLDER, [NONE], about=str(root))]
    if len(sides) < 2 and not half:
        text = f"The folder {named} is a class beside {some(rest)}, and no split"
        doubtful = len(splits) == 2
        return set(), [guess(text, "split_column", NONE, [FOLDER], about=str(root),
                             doubtful=doubtful)]  # fmt: skip
    if asked.whole:
        return set(), []
    raise ValueError(
        f"{root}: its folders {named} look like splits, and {some(rest)} do not; give "
        "--split-column FOLDER to take these splits and leave the others out, or --split-column "
        "none to take every folder as a class."
    )


def _with_classes(
    listing: Listing, classes: Any, asked: Asked, found: FolderTables | None
) -> Listing:
    """The listing with the names of folders as a target, or as groups."""
    import pyarrow as pa

    names = {name for name in classes if name}
    kinds = asked.options.kind_of
    name = FOLDER if FOLDER in (asked.target, *kinds) else TARGET
    notes: Any = []
    targets: dict[str, Target] = {}
    by_folder = asked.by_folder and (bool(names) or asked.group == FOLDER)
    if by_folder and name not in (asked.target, *kinds):
        text = (
            "The folders that images lie in are the groups, and no target (--target "
            f"{FOLDER} takes them as one too)."
        )
        notes.append(text)
    elif len(names) > 1:
        target = class_target(name, classes)
        kind: Any = kinds.get(name, "class")
        if kind not in ("class", "identity"):
            raise ValueError(f"target {name!r}: folders are a class or an identity, not {kind}.")
        targets[name] = replace(target, kind=kind)
        if asked.targets and not asked.whole:
            notes.append(f"The names of {len(names):,} folders are the target {name}.")
            notes += alike_doubt(sorted(names), "Folders", "classes", name)
        units = [word for word in sorted(names) if UNIT.match(word)]
        if asked.group is None and len(units) == len(names):
            text = f"Folders such as {units[0]} are named like units that no split may cut"
            notes.append(guess(text, "group", NONE, [FOLDER], about=name, doubtful=True))
        if "" in classes and asked.targets:
            notes.append(f"{classes.count(''):,} images lie in no class folder: unknown.")
    elif names and asked.targets:
        notes.append(f"All images lie in one folder, {names.pop()}: no target.")
    targets, said = identities(targets, listing.splits, asked.options)
    said = said if asked.targets else []
    groups, group_name = None, None
    group_names: tuple[str, ...] = ()
    if by_folder:
        column = pa.array([word or None for word in classes], pa.string())
        groups, group_names = groups_of(column)
        group_name = FOLDER
        said += alike_doubt(group_names, "Folders", "groups", FOLDER, "group")
    return replace(
        listing,
        targets=targets,
        groups=groups,
        group_name=group_name,
        group_names=group_names,
        notes=(*listing.notes, *notes, *said),
    )


def _others(names: Any) -> Any:
    if not names:
        return []
    what = "file that is no image was" if len(names) == 1 else "files that are no images were"
    text = f"{len(names):,} {what} left out: {some(names)}."
    tables = [name for name in names if name.lower().endswith(UNREAD_TABLES)]
    if tables:
        text += f" If {some(tables)} holds labels, save them as CSV with a column file_name."
    packed = [name for name in names if name.lower().endswith((".zip", ".tar", ".tgz", ".gz"))]
    if packed:
        text += f" Unpack {some(packed)} to use what is in it."
    return [left_out(text, about=names[0], count=len(names), names=names,
                     doubtful=bool(packed or tables))]  # fmt: skip


def _nothing(root: Path, others: Any, notes: Any) -> str:
    """The error for a folder without images."""
    lacking = " ".join(notes)
    known = "there are no images (png, jpg, webp, tiff, bmp, ...) in it"
    found = f"; there are {len(others):,} other files: {some(others)}" if others else ""
    starts = [start_of(root / name)[:2] for name in others[:START]]
    if any(start in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") for start in starts):
        found += (
            "; some are pickled, which is never loaded since it can run code: load them in Python "
            "and save np.savez('images.npz', images=..., labels=...)"
        )
    if any(name.lower().endswith((".zip", ".tgz", ".tar.gz")) for name in others):
        found += "; unpack the archives"
    return f"{root}: {known}{found}. {lacking}".rstrip()
