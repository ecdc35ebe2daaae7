"""Array files: ``.npy``, ``.npz`` and HDF5, pixels under one key and targets under others."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from selfsight.console import counted
from selfsight.data.notes import doubt, guess, left_out, some
from selfsight.data.pixels.store import machine_memory
from selfsight.data.reading import NONE, Asked
from selfsight.data.sources.steps.array_layout import as_pixels
from selfsight.data.sources.steps.array_pixels import array_loader
from selfsight.data.sources.steps.array_tables import array_column, stacked, texts_of
from selfsight.data.sources.steps.image_columns import NOT_PREFERRED
from selfsight.data.sources.steps.listing import Listing, file_identity
from selfsight.data.sources.steps.listing_from_columns import with_columns
from selfsight.data.sources.steps.split_names import (
    SPLIT_OF,
    names_a_split,
    split_of_name,
    tokens_of,
)
from selfsight.settings import unknown

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".hdf")
HDF5 = SUFFIXES[2:]
PIXEL_KEYS = ("images", "image", "pixels", "imgs", "img", "x", "data", "jets", "inputs")


@dataclass
class Contents:
    """Arrays of one split: pixels, and what else has their length."""

    split: str | None
    key: str
    pixels: Any
    others: dict[str, Any] = field(default_factory=dict)


def opens(path: str | Path) -> bool:
    """Files named so."""
    return Path(path).suffix.lower() in SUFFIXES and Path(path).is_file()


def list(path: str | Path, asked: Asked) -> Listing:
    """The images of an array file.

    Pixels are ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` under ``images``, ``x``,
    ``pixels`` or the only key of that shape; other keys of length N are targets, groups and
    splits. Keys such as ``train_images``, ``y_test`` and ``train/images`` give the split; what
    one split has and another does not is unknown there.

    Raises:
        ValueError: the file is damaged, holds Python objects, or no pixels; or its splits differ.
    """
    path = Path(path)
    arrays = _opened(path)
    contents, notes = _sorted_out(arrays, path, asked)
    names = _names(arrays, contents)
    pixels, said = as_pixels({part.key: part.pixels for part in contents}, str(path), asked)
    notes += said
    place = pixels.axes.index("N")
    counts = [part.pixels.shape[place] for part in contents]
    columns: dict[str, Any] = {}
    for key in dict.fromkeys(key for part in contents for key in part.others):
        parts = [part.others.get(key) for part in contents]
        try:
            made = [None if array is None else array_column(array) for array in parts]
            columns[key] = stacked(made, counts)
        except ValueError as error:
            raise ValueError(f"{path}: key {key}: {error}.") from None
        lacking = [part.key for part, array in zip(contents, parts, strict=True) if array is None]
        if lacking:
            count = sum(n for n, array in zip(counts, parts, strict=True) if array is None)
            text = f"{some(lacking)} has no {key}: it is unknown for {counted(count, 'image')}."
            notes.append(doubt(text, about=key, count=count))
    splits = None
    if any(part.split for part in contents) and asked.split != NONE:
        splits = np.repeat(np.array([part.split or "train" for part in contents], "<U10"), counts)
    count = sum(counts)
    listing = Listing(
        name=path.stem,
        row_ids=np.array([f"#{row}" for row in range(count)]),
        splits=np.full(count, "train", "<U10"),
        load=array_loader(pixels, str(path), asked, lambda: file_identity(path)),
    )
    return with_columns(listing, columns, names, splits, asked, notes)


def _opened(path: Path) -> dict[str, Any]:
    """The arrays of a file by key; nothing is unpickled, no other file is followed to."""
    try:
        if path.suffix.lower() in HDF5:
            return _hdf5(path)
        with path.open("rb") as file:
            start = file.read(6)
        if start == b"\x93NUMPY":
            return {"images": np.load(path, mmap_mode="r", allow_pickle=False)}
        if not start.startswith(b"PK\x03\x04"):
            raise ValueError("it does not begin like one")
        return _npz(path)
    except MemoryError:
        raise
    except Exception as error:  # a damaged header may raise anything: numpy parses it as Python
        if "Object arrays" in str(error):
            raise ValueError(
                f"{path}: it holds pickled Python objects, which are never loaded; "
                "save plain arrays."
            ) from None
        text = (str(error).splitlines() or ["damaged"])[0].rstrip(".")
        raise ValueError(f"{path} is not a readable array file ({text}).") from None


def _npz(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > machine_memory() // 2:
        raise ValueError(f"unpacked it takes {size / 1e9:.0f} GB of memory; save .npy or HDF5")
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def _hdf5(path: Path) -> dict[str, Any]:
    try:
        import h5py
    except ImportError:
        raise ValueError(f"{path}: HDF5 needs h5py; install selfsight[hdf5].") from None
    found: dict[str, Any] = {}

    seen: set[Any] = set()

    def walk(group: Any, prefix: str) -> None:
        if (place := h5py.h5o.get_info(group.id).addr) in seen:
            return  # groups that hold each other
        seen.add(place)
        for key in group:
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                continue  # soft and external links can lead to other files
            item = group[key]
            if isinstance(item, h5py.Group):
                walk(item, f"{prefix}{key}/")
            elif item.external is None and not item.is_virtual and item.dtype.kind in "biufSO":
                found[prefix + key] = item

    walk(h5py.File(path, "r"), "")
    return found


def _sorted_out(arrays: Mapping[str, Any], path: Path, asked: Asked) -> tuple[Any, Any]:
    """The pixels of each split and the arrays of their length; what was not used."""
    parts: dict[str | None, dict[str, Any]] = {}
    keys: dict[tuple[str | None, str], str] = {}
    for key, array in arrays.items():
        split, stem = _split_of_key(key)
        parts.setdefault(split, {})[stem] = array
        keys[split, stem] = key
    with_pixels = [s for s, part in parts.items() if s is not None and _pixel_keys(part)]
    if not with_pixels or (len(parts) < 2 and None not in parts and len(with_pixels) < 2):
        parts, keys = {None: dict(arrays)}, {(None, key): key for key in arrays}
    contents: Any = []
    notes: Any = []
    used: set[str] = set()
    if None not in parts or len(parts) > 1:
        apart = [key for key in parts.get(None, {}) if names_a_split(key)]
        for key in apart:
            del parts[None][key]
        if apart:
            text = (
                f"Keys of an unknown split are left out: {some(apart)} (--split-column none "
                "takes every split as train)."
            )
            notes.append(left_out(text, about=apart[0], count=len(apart), names=apart,
                                  setting="split_column", doubtful=True))  # fmt: skip
            used |= set(apart)
    for split, part in parts.items():
        candidates = _pixel_keys(part)
        if not candidates:
            continue
        found = _chosen_key(candidates, keys, split, path, asked)
        if found is None:
            continue
        rest = [keys[split, key] for key in candidates if key != found]
        if rest:
            text = f"Images are read from key {keys[split, found]}, and not from {some(rest)}"
            notes.append(guess(text, "image_column", keys[split, found], rest, about=path.name))
        pixels = part.pop(found)
        count = _length(pixels, asked)
        others = {k: a for k, a in part.items() if a.ndim and len(a) == count and a.ndim < 3}
        used |= {keys[split, found], *rest, *(keys[split, key] for key in others)}
        contents.append(Contents(split, keys[split, found], pixels, others))
    if not contents:
        shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "nothing"
        raise ValueError(
            f"{path}: no array in it has the shape of images, (N, H, W) or (N, H, W, C); "
            f"it holds {shapes}."
        )
    if contents[0].split is not None:
        notes.append("The names of the keys give the splits.")
    unused = [key for key in arrays if key not in used and not key.endswith("names")]
    if unused:
        text = f"Keys whose length is that of no array of images are left out: {some(unused)}."
        notes.append(left_out(text, about=unused[0], count=len(unused), names=unused))
    return contents, notes


def _length(pixels: Any, asked: Asked) -> int:
    """How many images an array holds."""
    axes = asked.options.axes or "N"
    axes = axes.replace("C", "") if pixels.ndim == 3 else axes
    return int(pixels.shape[axes.index("N")])


def _split_of_key(key: str) -> tuple[str | None, str]:
    """The split that a key or a group of it says, and the rest: ``x_train`` -> train, x."""
    folders = key.split("/")
    for place, folder in enumerate(folders[:-1]):
        split = split_of_name(folder)
        if split is not None:
            return split, "/".join(folders[:place] + folders[place + 1 :])
    head, last = "/".join(folders[:-1]), folders[-1]
    words = last.replace("-", "_").split("_")
    if len(words) > 1:
        for word, rest in ((words[0], words[1:]), (words[-1], words[:-1])):
            if word.lower() in SPLIT_OF:
                return SPLIT_OF[word.lower()], "/".join([*([head] if head else []), "_".join(rest)])
    joined = tokens_of(last)  # trainX, XTest
    if len(joined) == 2 and any(token in SPLIT_OF for token in joined) and "_" not in last:
        split = next(SPLIT_OF[token] for token in joined if token in SPLIT_OF)
        return split, next((token for token in joined if token not in SPLIT_OF), last)
    return None, key


def _pixel_keys(arrays: Mapping[str, Any]) -> Any:
    """Keys with the shape of images, the likeliest first; none where it is open which it is."""
    fitting = [
        key
        for key, array in arrays.items()
        if array.ndim in (3, 4) and len(array) and array.dtype.kind in "biuf"
    ]
    plain = [key for key in fitting if not NOT_PREFERRED.search(key.split("/")[-1])] or fitting
    named = [key for key in plain if key.lower().split("/")[-1] in PIXEL_KEYS]
    if named:
        best = min(named, key=lambda key: PIXEL_KEYS.index(key.lower().split("/")[-1]))
        return [best, *(key for key in fitting if key != best)]
    largest = [key for key in plain if arrays[key].ndim == 4] or plain
    if len(largest) == 1:
        return [largest[0], *(key for key in fitting if key != largest[0])]
    return []


def _chosen_key(
    candidates: Any, keys: Mapping[Any, str], split: str | None, path: Path, asked: Asked
) -> str | None:
    wanted = asked.options.image_column
    if wanted is None:
        return str(candidates[0])
    full = {keys[split, key]: key for key in candidates}
    known = {**{key: key for key in candidates}, **full}
    if wanted not in known:
        if wanted in keys.values():
            return None
        raise unknown(f"key in {path.name} named", wanted, known)
    return str(known[wanted])


def _names(arrays: Mapping[str, Any], contents: Any) -> dict[str, Any]:
    """Class names under ``<key>_names``, or under ``class_names`` for every key."""
    names: dict[str, Any] = {}
    for key in dict.fromkeys(key for part in contents for key in part.others):
        for candidate in (f"{key}_names", "class_names", "label_names"):
            if candidate in arrays and arrays[candidate].ndim == 1 and key != candidate:
                values = np.asarray(arrays[candidate][:])
                if values.dtype.kind in "SUO":
                    names.setdefault(key, texts_of(values))
    return names
