"""Array files: ``.npy``, ``.npz`` and HDF5, pixels under one key and targets under others."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.store import machine_memory
from selfsight.data.sources.array_pixels import as_pixels, load_array
from selfsight.data.sources.columns import (
    GROUP,
    SPLIT,
    SPLIT_OF,
    find_column,
    groups_of,
    identities,
    splits_of,
    targets_of,
)
from selfsight.data.sources.listing import Listing
from selfsight.settings import unknown

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".hdf")
HDF5 = SUFFIXES[2:]
PIXEL_KEYS = ("images", "image", "pixels", "imgs", "img", "x", "data", "jets", "inputs")
SPLIT_KEY = re.compile(
    r"^(?:(?P<before>[a-z]+)_(?P<stem>.+)|(?P<stem2>.+)_(?P<after>[a-z]+))$", re.I
)


@dataclass
class Contents:
    """Arrays of one split: pixels, and what else has their length."""

    split: str | None
    pixels: Any
    others: dict[str, Any] = field(default_factory=dict)


def list_arrays(
    path: Path, target: str | None = None, group: str | None = None, split: str | None = None
) -> Listing:
    """The images of an array file.

    Pixels are ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` under ``images``, ``x``,
    ``pixels`` or the only key of that shape; other keys of length N are targets, groups and
    splits. Keys such as ``train_images`` and ``y_test`` give the split.

    Raises:
        ValueError: the file is damaged, holds Python objects, or no pixels.
    """
    import pyarrow as pa

    arrays = _opened(path)
    contents, notes = _sorted_out(arrays, path)
    names = _names(arrays, contents)
    lengths = [len(part.pixels) for part in contents]
    count = sum(lengths)
    pixels, said = as_pixels([part.pixels for part in contents], path)
    notes += said
    keys = [key for key in contents[0].others if all(key in part.others for part in contents)]
    columns = {key: pa.chunked_array(
        [_column(part.others[key]) for part in contents]) for key in keys}  # fmt: skip
    by_key = np.concatenate(
        [np.full(length, part.split or "train", "<U10")
         for part, length in zip(contents, lengths, strict=True)]
    )  # fmt: skip
    name_of_split = find_column(columns, split, SPLIT, "split")
    splits = by_key
    if name_of_split is not None:
        splits = splits_of(columns.pop(name_of_split), name_of_split)
        notes += [] if split else [f"Key {name_of_split} is taken as the split."]
    name_of_group = find_column(columns, group, GROUP, "group")
    groups = None if name_of_group is None else groups_of(columns.pop(name_of_group))
    if name_of_group is not None and group is None:
        notes.append(f"Key {name_of_group} is taken as the group.")
    if target is not None and not set(map(str.strip, target.split(","))) <= set(columns):
        raise unknown(f"target in {path.name} named", target, columns)
    targets, said = targets_of(columns, names, target)
    notes += said
    targets, said = identities(targets, splits)
    return Listing(
        name=path.stem,
        row_ids=np.array([f"{path.name}#{row}" for row in range(count)]),
        splits=splits,
        load=partial(load_array, pixels, path),
        targets=targets,
        groups=groups,
        group_name=name_of_group,
        notes=(*notes, *said),
    )


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
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
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


def _sorted_out(arrays: Mapping[str, Any], path: Path) -> tuple[list[Contents], list[str]]:
    """The pixels of each split and the arrays of their length; what was not used."""
    parts: dict[str | None, dict[str, Any]] = {}
    for key, array in arrays.items():
        split, stem = _split_of_key(key)
        parts.setdefault(split, {})[stem] = array
    if len([split for split in parts if split is not None]) < 2 or not any(
        _pixel_key(part) for split, part in parts.items() if split is not None
    ):
        parts = {None: dict(arrays)}
    contents: list[Contents] = []
    notes: list[str] = []
    for split, part in parts.items():
        found = _pixel_key(part)
        if found is None:
            continue
        pixels = part.pop(found)
        others = {k: a for k, a in part.items() if a.ndim and len(a) == len(pixels) and a.ndim < 3}
        contents.append(Contents(split, pixels, others))
    if not contents:
        shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "nothing"
        raise ValueError(
            f"{path}: no array in it has the shape of images, (N, H, W) or (N, H, W, C); "
            f"it holds {shapes}."
        )
    if contents[0].split is not None:
        notes.append("The names of the keys give the splits.")
    return contents, notes


def _split_of_key(key: str) -> tuple[str | None, str]:
    match = SPLIT_KEY.match(key)
    if match is None:
        return None, key
    before, after = (match.group("before") or "").lower(), (match.group("after") or "").lower()
    if before in SPLIT_OF:
        return SPLIT_OF[before], match.group("stem")
    head, _, tail = key.rpartition("_")
    if (after or tail).lower() in SPLIT_OF:
        return SPLIT_OF[(after or tail).lower()], head
    return None, key


def _pixel_key(arrays: Mapping[str, Any]) -> str | None:
    fitting = [
        key
        for key, array in arrays.items()
        if array.ndim in (3, 4) and len(array) and array.dtype.kind in "biuf"
    ]
    named = [key for key in fitting if key.lower().split("/")[-1] in PIXEL_KEYS]
    if named:
        return min(named, key=lambda key: PIXEL_KEYS.index(key.lower().split("/")[-1]))
    largest = [key for key in fitting if arrays[key].ndim == 4] or fitting
    return largest[0] if len(largest) == 1 else None


def _names(arrays: Mapping[str, Any], contents: list[Contents]) -> dict[str, list[str]]:
    """Class names under ``<key>_names``, or under ``class_names`` for every key."""
    names: dict[str, list[str]] = {}
    for key in contents[0].others:
        for candidate in (f"{key}_names", "class_names", "label_names"):
            if candidate in arrays and arrays[candidate].ndim == 1 and key != candidate:
                values = np.asarray(arrays[candidate][:])
                if values.dtype.kind in "SUO":
                    names.setdefault(key, _texts(values))
    return names


def _texts(values: NDArray[Any]) -> list[str]:
    return [
        value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        for value in values.tolist()
    ]


def _column(array: Any) -> Any:
    """An array of length N as a pyarrow column; ``(N, K)`` as lists."""
    import pyarrow as pa

    values = np.asarray(array[:])
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind in "SUO":
        flat = pa.array(_texts(values.reshape(-1)))
    else:
        values = values.astype(values.dtype.newbyteorder("="))
        flat = pa.array(values.reshape(-1), from_pandas=values.dtype.kind == "f")
    return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
