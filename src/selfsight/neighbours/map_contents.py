"""A map of an index: positions, neighbours on the map, thumbnails, and columns to colour by."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted, progress, say
from selfsight.evaluation.embedding_map import tsne_positions
from selfsight.neighbours.exact import ExactVectors
from selfsight.neighbours.index import Index
from selfsight.neighbours.map_columns import map_columns
from selfsight.reporting.map_page import MapContents
from selfsight.reporting.pictures import Sprites, sprites
from selfsight.reporting.words import number

ANCHORS = 2500
"""Images that t-SNE places; each further one is put between those that are nearest to it."""
NEAREST_ANCHORS = 5
SHEET_BYTES = 2_000_000
"""Of the thumbnails on a page; they get smaller until they fit."""
PICTURED = 10_000
"""Points above which a page has no thumbnails: they would be too small to see anything on."""


def map_contents(
    index: Index, points: int, k: int, columns: Mapping[str, Sequence[str | None]], seed: int
) -> MapContents:
    """Places the images of an index on a map.

    Args:
        index: of at least one image.
        points: images at most; of more a seeded draw.
        k: neighbours of each point, among those that are shown.
        columns: further columns by name, in the order of the index; None: unknown.
        seed: of the draw and of t-SNE.
    """
    places = np.arange(len(index))
    notes = []
    if len(index) > points:
        places = np.sort(np.random.default_rng([seed, 15]).choice(places, points, replace=False))
        notes.append(
            f"A draw of {number(points)} of {counted(len(index), 'image')}; neighbours are "
            "those among them."
        )
    vectors = ExactVectors(index.vectors.at(places))
    k = min(k, len(places) - 1)
    neighbours, cosines = _neighbours(vectors, k)
    with progress("placing the images on the map"):
        positions = _positions(vectors, seed)
    if len(places) > ANCHORS:
        notes.append(
            f"t-SNE placed {counted(ANCHORS, 'image')}; each other one lies between the "
            f"{NEAREST_ANCHORS} of them that are nearest to it."
        )
    return MapContents(
        title=f"Map of {index.card.data}" if index.card.data else "Map of an index",
        of=f"{counted(len(places), 'image')}, placed by {number(index.card.width)} numbers each.",
        row_ids=index.row_ids[places].tolist(),
        places=places,
        positions=positions,
        neighbours=neighbours,
        cosines=cosines,
        columns=map_columns(index, places, columns),
        sheet=_sheet(index, places),
        notes=tuple(notes),
    )


def _neighbours(vectors: ExactVectors, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """``(M, k)`` rows of the nearest other points, and their cosines."""
    count = len(vectors)
    if k == 0:
        return np.zeros((count, 0), np.int64), np.zeros((count, 0), np.float32)
    cosines, rows = vectors.search(vectors.vectors.numpy(), k + 1)
    order = np.argsort(rows == np.arange(count)[:, None], axis=1, kind="stable")[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(cosines, order, 1)


def _positions(vectors: ExactVectors, seed: int) -> NDArray[np.float32]:
    """``(M, 2)``: t-SNE of the anchors; the others at a weighted mean of their nearest anchors."""
    count = len(vectors)
    random = np.random.default_rng([seed, 16])
    anchors = np.sort(random.permutation(count)[:ANCHORS])
    placed = tsne_positions(vectors.at(anchors).numpy(), seed)
    if len(anchors) == count:
        return placed
    positions = np.zeros((count, 2), np.float32)
    positions[anchors] = placed
    others = np.setdiff1d(np.arange(count), anchors)
    asked = vectors.at(others).numpy()
    cosines, near = ExactVectors(vectors.at(anchors)).search(asked, NEAREST_ANCHORS)
    distances = (1.0 - cosines.astype(np.float64)).clip(1e-6)
    # The fourth power: an image between two groups lies near one of them, not in the void.
    weights = (distances[:, :1] / distances) ** 4
    weights /= weights.sum(1, keepdims=True)
    positions[others] = (weights[:, :, None] * placed[near]).sum(1)
    return positions


def _sheet(index: Index, places: NDArray[np.int64]) -> Sprites | None:
    """Thumbnails of all points in one picture; None where there are none or too many."""
    if index.pictures is None:
        return None
    if len(places) > PICTURED:
        say(f"Above {PICTURED:,} points the page has no thumbnails; --serve shows them.")
        return None
    largest = 96 if len(places) <= 500 else 48
    kept = index.pictures.at(places.tolist())
    thumbnails = np.full((len(places), largest, largest, 3), 240, np.uint8)
    longest = 1
    for row, place in enumerate(places.tolist()):
        if place in kept:
            longest = max(longest, _pasted(thumbnails[row], kept[place]))
    if longest < largest:  # pictures that are smaller than the sheet allows stay as they are
        thumbnails = thumbnails[:, :longest, :longest]
    sides = [side for side in (96, 64, 48, 32) if side <= largest]
    # The pixels of small images are shown as squares; a photograph that was made small is not.
    return replace(sprites(thumbnails, SHEET_BYTES, sides), crisp=longest < largest)


def _pasted(square: NDArray[np.uint8], content: bytes) -> int:
    """Puts a picture into the middle of the square, made smaller where it has to be.

    Returns:
        Its longer side, pixels; where that is below the square's, the picture lies at its corner.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content)) as file:
        image = file.convert("RGB")
    side = len(square)
    if max(image.size) >= side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    longest: int = max(height, width)
    top, left = (longest - height) // 2, (longest - width) // 2
    square[top : top + height, left : left + width] = pixels
    return longest
