"""Chance: what is predicted from the labels alone, without any image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfsight.fitting.labelled import Subset


def base_rates(subset: Subset) -> NDArray[np.float32]:
    """``(K,)`` predicted for every image: the shares of the classes, so that the likeliest class is
    the majority's; the share of each label; the mean of each number.

    A label or a number without a known value in the subset gets 0.
    """
    if subset.kind == "class":
        counts = np.bincount(subset.values, minlength=subset.outputs)
        return np.asarray(counts / len(subset), np.float32)
    known = np.isfinite(subset.values)
    total = np.where(known, subset.values, 0.0).sum(0, dtype=np.float64)
    return np.asarray(total / np.maximum(known.sum(0), 1), np.float32)


def retrieval_by_chance(labels: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Expected recall at 1 and mAP@R of each query under a random order of the other images.

    Args:
        labels: ``(M,)`` identities.

    Returns:
        ``(Q,)`` by metric, for the Q images that share their identity with another one.
    """
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    others = counts[index][counts[index] > 1].astype(np.float64) - 1
    first = others / (len(labels) - 1)
    second = (others - 1) / max(len(labels) - 2, 1)  # of another one, given one
    places = [np.arange(1, int(r) + 1) for r in np.unique(others)]
    sums = {int(p[-1]): ((1 / p).sum(), ((p - 1) / p).sum()) for p in places}
    harmonic, rest = np.array([sums[int(r)] for r in others]).reshape(-1, 2).T
    return {"recall_at_1": first, "map_at_r": first * (harmonic + second * rest) / others}
