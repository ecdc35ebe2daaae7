"""What is asked of an index: row ids, files, images in memory or representations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from selfsight.data.imageset import ImageSet
from selfsight.data.options import DataOptions
from selfsight.fitting.novelty import is_novel, lengths_of
from selfsight.neighbours.encoder import Encoder, is_image_file
from selfsight.neighbours.pictures import encoded

if TYPE_CHECKING:
    from selfsight.neighbours.index import Index

BATCH = 256
SIDE = 128
"""Pixels of the longer side of a query's picture."""
SHOWN = 60
"""Queries of which a picture is kept."""


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of M queries, most similar first (or least, of a search for these).

    Attributes:
        queries: ``(M,)`` row ids, paths or numbers.
        row_ids: ``(M, k)``; empty text where an approximate search found fewer.
        cosines: ``(M, k)`` float32.
        places: ``(M, k)`` int64 in the order of the index; -1 where there is none.
        distances: ``(M,)`` float32, 1 - cosine of the nearest image, whatever was asked for; a
            query by row id is compared with the other images.
        novel: ``(M,)``: the distance is above the threshold of the index, or the representation
            is longer or shorter than those of its images (`selfsight.fitting.novelty`).
        far: whether the least similar were asked for.
        pictures: PNG or JPEG of each query, or None.
    """

    queries: tuple[str, ...]
    row_ids: NDArray[np.str_]
    cosines: NDArray[np.float32]
    places: NDArray[np.int64]
    distances: NDArray[np.float32]
    novel: NDArray[np.bool_]
    far: bool = False
    pictures: tuple[bytes | None, ...] = ()


def neighbours_of(
    index: Index, query: Any, k: int, *, far: bool = False, encoder: Encoder | None = None
) -> Neighbours:
    """See `Index.search`."""
    if isinstance(query, Tensor):
        vectors = query[None] if query.ndim == 1 else query
        names = tuple(str(row) for row in range(len(vectors)))
        return _found(index, vectors, names, k, far)
    if isinstance(query, str | Path):
        query = [query]
    if isinstance(query, Sequence) and all(isinstance(one, str | Path) for one in query):
        return _words(index, query, k, far, encoder)
    encoder = encoder or index.encoder
    images = query if isinstance(query, ImageSet) else _in_memory(query, encoder.frame.channels)
    images = encoder.open(images, DataOptions())
    return _images(index, images, k, far, encoder)


def _words(
    index: Index, words: Sequence[str | Path], k: int, far: bool, encoder: Encoder | None
) -> Neighbours:
    """Row ids of the index, image files, and folders or tables of images, in their order."""
    if not words:
        raise ValueError("query: name an image, a folder of images, or a row id of the index.")
    parts: list[Neighbours] = []
    for kind, group in _runs_of(index, words):
        if kind == "row":
            places = np.array([index.places[str(word)] for word in group], np.int64)
            vectors = index.vectors.at(places)
            names = tuple(map(str, group))
            parts.append(_found(index, vectors, names, k, far, without=places))
            continue
        encoder = encoder or index.encoder
        source = [Path(word) for word in group] if kind == "file" else group[0]
        parts.append(_images(index, encoder.open(source, DataOptions()), k, far, encoder))
    return joined(parts)


def _runs_of(index: Index, words: Sequence[str | Path]) -> list[tuple[str, list[str | Path]]]:
    """Neighbouring words of one kind together: row, file; a source stands alone."""
    groups: list[tuple[str, list[str | Path]]] = []
    for word in words:
        if is_image_file(word):
            kind = "file"
        elif str(word) in index.places:
            kind = "row"
        elif Path(word).exists() or str(word) == "digits" or str(word).startswith("hf:"):
            kind = "source"
        else:
            raise ValueError(
                f"query {str(word)!r}: it is no file, no folder and no row id of the index, whose "
                f"first is {str(index.row_ids[0])!r}."
            )
        if groups and kind != "source" and groups[-1][0] == kind:
            groups[-1][1].append(word)
        else:
            groups.append((kind, [word]))
    return groups


def _images(index: Index, images: ImageSet, k: int, far: bool, encoder: Encoder) -> Neighbours:
    vectors = encoder.vectors(images, np.arange(len(images)), BATCH)
    shown = [encoded(np.asarray(images.pixels[row]), SIDE) for row in range(len(images))[:SHOWN]]
    names = tuple(images.row_ids.tolist())
    return _found(index, vectors, names, k, far, pictures=tuple(shown))


def _found(
    index: Index,
    vectors: Tensor,
    names: tuple[str, ...],
    k: int,
    far: bool,
    *,
    without: NDArray[np.int64] | None = None,
    pictures: tuple[bytes | None, ...] = (),
) -> Neighbours:
    cosines, places = index.nearest(vectors, k, far=far, without=without)
    row_ids = np.where(places < 0, "", index.row_ids[np.maximum(places, 0)])
    nearest = cosines[:, 0]
    if far:
        nearest = index.nearest(vectors, 1, without=without)[0][:, 0]
    distances = (1.0 - nearest).clamp_min(0.0).float().numpy()
    lengths = lengths_of(vectors) if without is None else index.lengths[without]
    novel = is_novel(distances, lengths, index.card.novelty)
    if not pictures and without is not None and index.pictures is not None:
        kept = index.pictures.at(without[:SHOWN].tolist())
        pictures = tuple(kept.get(place) for place in without[:SHOWN].tolist())
    padded = (*pictures, *[None] * (len(names) - len(pictures)))
    return Neighbours(names, row_ids, cosines.numpy(), places, distances, novel, far, padded)


def joined(parts: Sequence[Neighbours]) -> Neighbours:
    """The queries of several searches one after another."""
    if len(parts) == 1:
        return parts[0]
    return Neighbours(
        queries=tuple(name for part in parts for name in part.queries),
        row_ids=np.concatenate([part.row_ids for part in parts]),
        cosines=np.concatenate([part.cosines for part in parts]),
        places=np.concatenate([part.places for part in parts]),
        distances=np.concatenate([part.distances for part in parts]),
        novel=np.concatenate([part.novel for part in parts]),
        far=parts[0].far,
        pictures=tuple(picture for part in parts for picture in part.pictures),
    )


def _in_memory(array: Any, channels: int) -> ImageSet:
    """An array as images, all of them queries.

    Raises:
        ValueError: its shape or its type is not that of images.
    """
    pixels = np.asarray(array)
    if pixels.ndim == 2:
        pixels = pixels[None, :, :, None]
    elif pixels.ndim == 3 and pixels.shape[2] in {channels, 1, 3} and pixels.shape[0] > 4:
        pixels = pixels[None]
    elif pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or 0 in pixels.shape:
        raise ValueError(
            f"query {pixels.shape}: images must be an array (H, W), (H, W, C), (N, H, W) or "
            "(N, H, W, C), not empty."
        )
    if pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32, copy=False)
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise ValueError(f"query: pixels are {pixels.dtype}; give uint8, uint16 or floats.")
    names = np.array([f"query#{row}" for row in range(len(pixels))])
    return ImageSet("the query", pixels, names, np.full(len(pixels), "test", "<U10"))
