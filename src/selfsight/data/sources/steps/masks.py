"""Masks beside images: files of the same name that hold labels of pixels and no picture."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from selfsight.console import counted
from selfsight.data.notes import Note, doubt, left_out, some
from selfsight.data.pixels.decode import read_pixels
from selfsight.data.pixels.plan import DecodePlan

WORDS = ("mask", "masks", "seg", "segs", "segmentation", "segmentations", "segmentationclass",
         "annotation", "annotations", "label", "labels", "gt", "groundtruth", "truth", "matte",
         "alpha")  # fmt: skip
NAME = re.compile(rf"^(.+?)[-_. ]+(?:{'|'.join(WORDS)})$", re.I)
FOLDERS = frozenset([*WORDS, "ground_truth", "ground-truth", "ground truth"])
LEVELS = 32
"""Grey levels that a mask has at most; pictures have more."""
LOOKED_AT = 6
SHARE = 0.8
"""Share of a folder's files that must have the name of an image elsewhere."""


def without_masks(root: Path, images: Sequence[str]) -> tuple[list[str], list[Note]]:
    """The images that are no masks of others, and a note that counts the masks.

    A mask has the name of an image (with another suffix, a word such as ``_mask``, or in a folder
    such as ``masks``) and few grey levels, where the image has many.
    """
    candidates = _candidates(images)
    masks: set[str] = set()
    twins: list[tuple[str, str]] = []
    for pairs, by_word in candidates:
        if _look_like_masks(root, pairs):
            masks |= {mask for mask, _ in pairs}
        elif not by_word:
            twins += pairs
    kept = [path for path in images if path not in masks]
    notes = []
    if masks:
        text = (
            f"{len(masks):,} files look like masks of other images and are left out: "
            f"{some(sorted(masks))} (--masks takes them as images)."
        )
        notes.append(left_out(text, about=min(masks), count=len(masks), names=sorted(masks),
                              setting="masks"))  # fmt: skip
    if twins:
        names = f"{twins[0][1]}, {twins[0][0]}"
        text = (
            f"{counted(len(twins), 'image has', 'images have')} the name of another one in "
            f"another format: {names}."
        )
        notes.append(doubt(text, about=twins[0][0], count=len(twins)))
    return kept, notes


def _candidates(images: Sequence[str]) -> list[tuple[list[tuple[str, str]], bool]]:
    """Groups of (possible mask, its image), and whether words say that they are masks."""
    parts = {path: os.path.split(os.path.splitext(path)[0]) for path in images}
    by_place: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, place in parts.items():
        by_place[place].append(path)
    found: list[tuple[list[tuple[str, str]], bool]] = []
    worded, formats = [], defaultdict(list)
    in_folders: dict[str, list[str]] = defaultdict(list)
    stems: dict[str, str] = {}
    for path, (folder, stem) in parts.items():
        mask_folder = next((f for f in folder.split("/") if f.lower() in FOLDERS), None)
        match = NAME.match(stem)
        if mask_folder is not None:
            in_folders[mask_folder].append(path)
        elif match and (partners := by_place.get((folder, match.group(1)))):
            worded.append((path, partners[0]))
        else:
            stems.setdefault(stem, path)
        for other in by_place[folder, stem]:
            if other != path and other < path and mask_folder is None:
                formats[os.path.splitext(path)[1], os.path.splitext(other)[1]].append((path, other))
    if worded:
        found.append((worded, True))
    for paths in in_folders.values():
        pairs = []
        for path in paths:
            stem = parts[path][1]
            match = NAME.match(stem)
            partner = stems.get(stem) or (stems.get(match.group(1)) if match else None)
            if partner is not None:
                pairs.append((path, partner))
        if len(pairs) >= SHARE * len(paths):
            found.append(([(path, p) for path, p in pairs], True))
    for pairs in formats.values():
        found.append((pairs, False))
        found.append(([(other, path) for path, other in pairs], True))
    return found


def _look_like_masks(root: Path, pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether the first of each pair has few grey levels and the second has many."""
    if not pairs:
        return False
    rows = np.unique(np.linspace(0, len(pairs) - 1, LOOKED_AT).astype(int))
    few, many = [], []
    for row in rows.tolist():
        mask, image = (levels(root / path) for path in pairs[row])
        if mask is not None and image is not None:
            few.append(mask <= LEVELS)
            many.append(image > LEVELS)
    return bool(few) and all(few) and sum(many) * 2 > len(many)


def levels(path: Path) -> int | None:
    """Grey levels of an image; None where it cannot be read."""
    try:
        _, image = read_pixels(path, DecodePlan(1 << 15, 1 << 15, 1))
    except Exception:  # a damaged file can raise anything inside a decoder; others name it
        return None
    return len(np.unique(np.asarray(image)))
