"""The two ends of all pairs of an index: the most similar ones and the least similar ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.console import progress
from selfsight.neighbours.index import Index
from selfsight.neighbours.shown import PICTURED, Gallery
from selfsight.neighbours.verification import chunked
from selfsight.records.neighbours import PairsFile

ASKED = 20_000
"""Images whose neighbours are looked at for the most and least similar pairs."""
EACH = 5
"""Neighbours of each that are looked at."""


def extremes(index: Index, count: int, seed: int, about: PairsFile) -> tuple[Any, PairsFile]:
    """The most and the least similar pairs of all images, and what the page shows.

    Args:
        index: of two images or more.
        count: pairs at each end.
        seed: of the draw of images, where there are more than `ASKED`.
        about: the record of the index, which is completed.
    """
    import pyarrow as pa

    warnings = []
    asked = np.arange(len(index))
    if len(index) > ASKED:
        random = np.random.default_rng([seed, 14])
        asked = np.sort(random.choice(asked, ASKED, replace=False))
        warnings.append(
            f"The neighbours of a draw of {ASKED:,} images were looked at: other pairs may be more "
            "similar."
        )
    gallery = Gallery(index)
    tables, shown = [], []
    for far in (False, True):
        places, cosines = _extreme(index, asked, count, far)
        tables.append(
            pa.table(
                {
                    "kind": ["dissimilar" if far else "similar"] * len(places),
                    "a": index.row_ids[places[:, 0]].tolist(),
                    "b": index.row_ids[places[:, 1]].tolist(),
                    "cosine": cosines,
                    "label_a": index.rows["label"].take(places[:, 0]),
                    "label_b": index.rows["label"].take(places[:, 1]),
                }
            )
        )
        shown.append(gallery.pairs(places[:PICTURED], cosines[:PICTURED]))
    record = replace(
        about,
        warnings=tuple(warnings),
        first=shown[0],
        second=shown[1],
        counts=(len(tables[0]), len(tables[1])),
    )
    return pa.concat_tables(tables), record


def _extreme(
    index: Index, asked: NDArray[np.int64], count: int, far: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs ``(P, 2)`` without repetition and their cosines, the most extreme first."""
    k = min(EACH, len(index) - 1)
    pairs, values = [], []
    with progress("least similar" if far else "most similar", len(asked)) as bar:
        for rows in chunked(len(asked), 4096):
            own = asked[rows]
            cosines, places = index.nearest(index.vectors.at(own), k, far=far, without=own)
            both = np.stack([np.repeat(own, k), places.reshape(-1)], 1)
            found = both[:, 1] >= 0
            pairs.append(np.sort(both[found], axis=1))
            values.append(cosines.reshape(-1).double().numpy()[found])
            bar.update(len(own))
    whole, first = np.unique(np.concatenate(pairs), axis=0, return_index=True)
    value = np.concatenate(values)[first]
    order = np.argsort(value if far else -value, kind="stable")[:count]
    return whole[order], value[order]
