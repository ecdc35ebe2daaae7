"""Further images for an index: which of them it has already, and how they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from selfsight.console import counted, warn
from selfsight.data.imageset import ImageSet
from selfsight.neighbours.card import IndexCard
from selfsight.neighbours.encoder import Encoder
from selfsight.neighbours.exact import VectorsFile
from selfsight.neighbours.index import Index
from selfsight.neighbours.pictures import PicturesFile

PART = 2048
"""Vectors that are copied at once."""
SAMPLE = 64
"""Images that the index seems to have of which the vectors are compared."""
SAME = 0.9
"""Share of these that must be nearest to themselves."""
TOLERANCE, ROUNDED = 1e-4, 5e-3
"""Cosine by which another image may be nearer: batches round differently, and lists may keep a byte
for each number."""

REMEDY = "give these images names of their own with --prefix, as in --prefix siteB"


def prefixed(names: NDArray[np.str_], prefix: str | None) -> NDArray[np.str_]:
    """Names with a prefix: ``#0`` becomes ``siteB#0``, ``a.png`` becomes ``siteB/a.png``.

    Args:
        names: ``(N,)`` row ids or names of groups.
        prefix: None: the names stay as they are.
    """
    if prefix is None:
        return names
    return np.array([
        f"{prefix}{name}" if name.startswith("#") else f"{prefix}/{name}" for name in names.tolist()
    ])  # fmt: skip


def without_prefix(name: str, prefix: str | None) -> str:
    """The name in its source."""
    return name if prefix is None else name.removeprefix(prefix).removeprefix("/")


def new_rows(
    old: Index, images: ImageSet, rows: Any, encoder: Encoder, out: Path
) -> NDArray[np.int64]:
    """Rows of the images that the index does not have yet.

    Args:
        old: the index.
        images: that are added to it.
        rows: their table, see `selfsight.neighbours.folder.COLUMNS`; of one source.
        encoder: of the index.
        out: its folder, for messages.

    Raises:
        ValueError: the index has an image of the same row id from another source, has this source
            with another prefix, or has other images of these row ids from a source of this name.
    """
    source, prefix = rows["source"][0].as_py(), rows["prefix"][0].as_py()
    sources = old.rows["source"].to_pylist()
    pairs = zip(sources, old.rows["prefix"].to_pylist(), strict=True)
    for usual in {known for name, known in pairs if name == source} - {prefix}:
        rows_there, places = _shared(old, prefixed(images.row_ids, usual))
        if len(rows_there) and _other_image(old, encoder, images, rows_there, places) is None:
            raise ValueError(
                f"prefix: the index {out} has {source} already, with "
                f"{'no prefix' if usual is None else f'the prefix {usual!r}'}; add to it with "
                f"{'no --prefix' if usual is None else f'--prefix {usual}'}."
            )
    shared, places = _shared(old, np.array(rows["row_id"].to_pylist(), dtype=str))
    for row, place in zip(shared.tolist(), places.tolist(), strict=True):
        if sources[place] != source:
            raise ValueError(
                f"append: the index {out} has an image {rows['row_id'][row].as_py()!r} of "
                f"{sources[place]} already, and {source} has another of that name; {REMEDY}."
            )
    if len(shared):
        other = _other_image(old, encoder, images, shared, places)
        if other is not None:
            raise ValueError(
                f"append: the index {out} has other images from a source of the name {source}; its "
                f"image {other!r}, for one, looks different; {REMEDY}, or make the index anew if "
                "the images were changed."
            )
        warn(
            counted(len(shared), "image is", "images are") + " in the index already, and left out."
        )
    return np.setdiff1d(np.arange(len(rows)), shared)


def _shared(old: Index, row_ids: NDArray[np.str_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of some row ids the index has, and their places in it."""
    places = np.array([old.places.get(row_id, -1) for row_id in row_ids.tolist()], np.int64)
    shared = np.flatnonzero(places >= 0)
    return shared, places[shared]


def _other_image(
    old: Index,
    encoder: Encoder,
    images: ImageSet,
    rows: NDArray[np.int64],
    places: NDArray[np.int64],
) -> str | None:
    """A row id of the index whose image is another one here; None: a sample shows the same."""
    sample = np.unique(np.linspace(0, len(rows) - 1, SAMPLE).astype(np.int64))
    vectors = encoder.vectors(images, rows[sample], SAMPLE)
    finite = torch.isfinite(vectors).all(1)
    vectors, of = F.normalize(vectors[finite].float(), dim=1), places[sample][finite.numpy()]
    if not len(vectors):
        return None
    own: Tensor = (vectors * old.vectors.at(of)).sum(1)
    nearest = old.nearest(vectors, 1)[0][:, 0]
    same = own >= nearest - (TOLERANCE if old.card.kind == "exact" else ROUNDED)
    if float(same.float().mean()) >= SAME:
        return None
    return str(old.row_ids[of[int(same.int().argmin())]])


def copied(old: Index, vectors: VectorsFile, pictures: PicturesFile | None) -> None:
    """Appends the vectors and pictures of an index."""
    for first in range(0, len(old), PART):
        places = np.arange(first, min(first + PART, len(old)))
        vectors.append(old.vectors.at(places))
        if pictures is not None and old.pictures is not None:
            known = old.pictures.at(places.tolist())
            pictures.append(known.get(place) for place in places.tolist())


def exact_card(card: IndexCard, count: int) -> IndexCard:
    """The card of a longer exact index."""
    return card.updated(
        {"kind": "exact", "count": count, "lists": 0, "visited": 0, "recall": None, "files": {}}
    )
