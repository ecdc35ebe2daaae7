"""IDX files, as of MNIST: ``train-images-idx3-ubyte`` beside ``train-labels-idx1-ubyte``."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.notes import left_out, some
from selfsight.data.pixels.store import machine_memory
from selfsight.data.reading import Asked
from selfsight.data.sources.steps.array_layout import as_pixels
from selfsight.data.sources.steps.array_pixels import array_loader
from selfsight.data.sources.steps.array_tables import array_column, stacked
from selfsight.data.sources.steps.listing import Listing, file_identity
from selfsight.data.sources.steps.listing_from_columns import with_columns
from selfsight.data.sources.steps.split_names import split_of_name

NAME = re.compile(r"^(?P<stem>.+?)[-_.](?P<what>images|labels)[-_.]idx(?P<axes>\d)[-_.]ubyte"
                  r"(\.gz)?$", re.I)  # fmt: skip
TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
LABEL = "label"
DIMENSIONS = 4
"""Of an array, at most: images, rows, columns, channels."""


@dataclass(frozen=True)
class IdxFiles:
    """Images and labels of one split; None where the file is not there."""

    stem: str
    images: Path
    labels: Path | None


def opens(path: str | Path) -> bool:
    """A file named so, or a folder that holds one."""
    path = Path(path)
    if path.is_dir():
        return any(NAME.match(file.name) for file in path.iterdir() if file.is_file())
    return bool(NAME.match(path.name)) and path.is_file()


def list(path: str | Path, asked: Asked) -> Listing:
    """The images of a pair of files, or of all pairs in a folder, whose names give the splits.

    Raises:
        ValueError: a file is damaged, images and labels are not as many, or none holds images.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    sets, lonely = _paired(folder, None if path.is_dir() else path)
    if not sets:
        raise ValueError(f"{path}: there is no file of images (idx3) beside its labels.")
    images = {part.images.name: _read(part.images) for part in sets}
    pixels, notes = as_pixels(images, str(path), asked)
    counts = [len(array) for array in images.values()]
    labels = [None if part.labels is None else _read(part.labels) for part in sets]
    for part, count, found in zip(sets, counts, labels, strict=True):
        if found is not None and len(found) != count:
            raise ValueError(
                f"{path}: {part.images.name} holds {counted(count, 'image')} and {part.labels} "
                f"{counted(len(found), 'label')}."
            )
    columns = {}
    if any(found is not None for found in labels):
        columns[LABEL] = stacked([None if f is None else array_column(f) for f in labels], counts)
    splits = None
    words = ["test" if part.stem.startswith("t10k") else split_of_name(part.stem) for part in sets]
    if any(words):
        splits = np.repeat(np.array([word or "train" for word in words], "<U10"), counts)
    if lonely:
        text = f"Labels without images are left out: {some(lonely)}."
        notes.append(left_out(text, about=lonely[0], count=len(lonely), names=lonely,
                              doubtful=True))  # fmt: skip
    row_ids = [f"{name if path.is_dir() else ''}#{row}"
               for name, count in zip(images, counts, strict=True)
               for row in range(count)]  # fmt: skip
    listing = Listing(
        name=folder.resolve().name,
        row_ids=np.array(row_ids),
        splits=np.full(len(row_ids), "train", "<U10"),
        load=array_loader(
            pixels, str(path), asked, lambda: "\n".join(file_identity(p.images) for p in sets)
        ),
    )
    return with_columns(listing, columns, {}, splits, asked, notes)


def _paired(folder: Path, only: Path | None) -> tuple[Any, Any]:
    """Images with the labels of their stem, and labels that have none."""
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        match = NAME.match(file.name)
        if match and file.is_file():
            found = images if match["what"].lower() == "images" else labels
            found.setdefault(match["stem"].lower(), file)
    if only is not None:
        images = {stem: file for stem, file in images.items() if file == only}
        labels = {stem: file for stem, file in labels.items() if stem in images}
    sets = [IdxFiles(stem, file, labels.get(stem)) for stem, file in images.items()]
    return sets, [file.name for stem, file in labels.items() if stem not in images]


def _read(file: Path) -> NDArray[Any]:
    """The array of an IDX file, unpacked where it is compressed."""
    opener: Any = gzip.open if file.suffix.lower() == ".gz" else open
    try:
        with opener(file, "rb") as content:
            head = content.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES:
                raise ValueError("it does not begin like one")
            if head[3] > DIMENSIONS:
                raise ValueError(f"it says {head[3]} dimensions")
            shape = tuple(int.from_bytes(content.read(4), "big") for _ in range(head[3]))
            dtype = np.dtype(TYPES[head[2]])
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            if size > machine_memory() // 2:
                raise ValueError(f"unpacked it takes {size / 1e9:.0f} GB of memory")
            if opener is open:  # `read` takes the memory before it looks
                size_on_disk = os.fstat(content.fileno()).st_size - content.tell()
                if size_on_disk < size:
                    raise ValueError(f"it says {size:,} bytes and holds {size_on_disk:,}")
            values = content.read(size + 1)
        if len(values) != size:
            raise ValueError(f"it says {size:,} bytes and holds {len(values):,}")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{file} is not a readable IDX file ({error}).") from None
    return np.frombuffer(values, dtype).reshape(shape)
