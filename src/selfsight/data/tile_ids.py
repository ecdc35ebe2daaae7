"""Images that are cut into other tiles, or into none, known by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

TILE = re.compile(r"@\d+,\d+$")
"""How the row id of a tile ends; see `selfsight.data.tiles.tiled`."""


def image_ids(row_ids: Iterable[str]) -> list[str]:
    """The row id of the image that each row is, or is a tile of."""
    return [TILE.sub("", row_id) for row_id in row_ids]


def other_tiles(row_ids: NDArray[np.str_], theirs: NDArray[np.str_]) -> NDArray[np.int64]:
    """For each row one of their rows of the same image, where the two cut it into other tiles.

    The pixels of such rows cannot be compared, so that names are all there is: an image of another
    set that bears the same name is taken for the same one.

    Args:
        row_ids: ``(N,)``.
        theirs: ``(M,)`` of a run.

    Returns:
        ``(N,)`` numbers of their rows, -1 where both have the same tiles or only one the image.
    """
    found = np.full(len(row_ids), -1, np.int64)
    ours, others = image_ids(row_ids.tolist()), image_ids(theirs.tolist())
    if ours == row_ids.tolist() and others == theirs.tolist():
        return found
    first: dict[str, int] = {}
    tiles: dict[str, set[str]] = {}
    for place, (image, row_id) in enumerate(zip(others, theirs.tolist(), strict=True)):
        first.setdefault(image, place)
        tiles.setdefault(image, set()).add(row_id)
    here: dict[str, set[str]] = {}
    for image, row_id in zip(ours, row_ids.tolist(), strict=True):
        here.setdefault(image, set()).add(row_id)
    for row, image in enumerate(ours):
        if image in tiles and tiles[image] != here[image]:
            found[row] = first[image]
    return found
