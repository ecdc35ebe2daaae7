"""Whether two images are more alike than images of this set happen to be.

The distances of an image to its nearest unrelated images grow with their rank as on a manifold of
``m`` dimensions: the share of images within a distance ``d`` is proportional to ``d ** m`` (Levina
and Bickel, "Maximum likelihood estimation of intrinsic dimension", NeurIPS 2004). Given the
distance ``d_k`` of the k-th, one of the ``k - 1`` nearer ones lies within ``d`` with a probability
of about ``(k - 1) (d / d_k) ** m``. A copy is far nearer than that: digits have ``m`` of about 6
and many close neighbours, photographs more than 20 and none.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.data.near_candidates import Versions
from selfsight.data.near_similarity import CHUNK, ORIENTATIONS, agreement, oriented, shrunk

MAX_P = 2e-3
"""Probability of a chance resemblance above which a pair is no near-duplicate, ..."""
MAX_P_OF_BEST = 0.015
"""... and the same for two images that are each other's least likely partner: copies come in
pairs."""
NEAR, FAR = 10, 40
"""Ranks between which the dimension is measured; up to nine copies of an image may be nearer."""
MAX_DIMENSION = 40.0
UNLIKE = 0.75
"""Distance of the k-th nearest image above which nothing else resembles an image: a correlation of
0.44. A similar one is then likelier to be a copy than among images that all look alike."""
LIKELIER = 0.1
"""What the probability is multiplied by there."""
SIDE = 32


def chances(versions: Versions, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """The probability that an image has so similar a one by chance, for each pair ``(P,)``.

    Of the two images of a pair the less certain one counts, of the two measures of similarity the
    more certain one.

    Args:
        versions: of all images.
        pairs: ``(P, 3)`` two rows and the orientation of the first.

    Returns:
        Exact up to `MAX_P_OF_BEST`; above it a lower bound.
    """
    chance = np.full(len(pairs), 1.0)
    if not len(pairs):
        return chance
    distance = _distances(versions.small, torch.from_numpy(pairs))
    rank = min(NEAR, max(2, len(versions.small) // 4))
    measures = np.zeros((len(pairs), 2))
    left = np.arange(len(pairs))
    for side in (0, 1):  # the second images of those pairs alone that may still be significant
        rows, place = np.unique(pairs[left, side], return_inverse=True)
        dimension, reference = _surroundings(versions, torch.from_numpy(rows))
        ratio = distance[left] / np.maximum(reference[place], 1e-9)
        here = (rank - 1) * ratio ** dimension[place]
        here = np.where(reference[place] >= UNLIKE, LIKELIER * here, here)
        measures[left] = np.maximum(measures[left], here)
        chance[left] = np.minimum(measures[left].min(1), 1.0)
        left = left[chance[left] <= MAX_P_OF_BEST]
        if not len(left):
            break
    return chance


def _distances(small: Tensor, pairs: Tensor) -> NDArray[np.float64]:
    """``(P, 2)`` by blocks and as a whole, in the root of one less the correlation."""
    distances = np.empty((len(pairs), 2))
    for orientation in range(len(ORIENTATIONS)):
        here = (pairs[:, 2] == orientation).nonzero()[:, 0]
        for part in torch.split(here, CHUNK) if len(here) else ():
            one, other = (shrunk(small[pairs[part, i]].float(), SIDE) for i in (0, 1))
            blocks, whole = agreement(oriented(one, orientation), other)
            both = torch.stack([blocks, whole], dim=1).double()
            distances[part.numpy()] = (1 - both).clamp_min(0).sqrt().numpy()
    return distances


def _surroundings(
    versions: Versions, rows: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each row the dimension of its surroundings and the distance of the k-th, ``(R, 2)``."""
    count = len(versions.bank)
    far = min(FAR, count - 1)
    near = min(NEAR, max(2, count // 4), far)
    neighbours = []
    for part in torch.split(rows, CHUNK):
        cosine = torch.full((len(part), count), -2.0)
        turned = torch.zeros((len(part), count), dtype=torch.int64)
        for orientation in range(len(ORIENTATIONS)):
            here = versions.queries(part, orientation) @ versions.bank.T
            turned = torch.where(here > cosine, orientation, turned)
            cosine = torch.maximum(cosine, here)
        cosine[torch.arange(len(part)), part] = -2.0
        others = cosine.topk(far, dim=1).indices
        queried = part[:, None].expand_as(others)
        neighbours.append(torch.stack([queried, others, turned.gather(1, others)], 2))
    triples = torch.cat(neighbours).reshape(-1, 3)
    distances = _distances(versions.small, triples).reshape(len(rows), far, 2)
    distances.sort(axis=1)
    if far <= near:
        return np.full((len(rows), 2), 1.0), distances[:, -1]
    # E log(d_far / d_near) = (H(far - 1) - H(near - 1)) / m, H the harmonic numbers.
    harmonic = (1.0 / np.arange(near, far)).sum()
    spread = np.log(
        np.maximum(distances[:, far - 1], 1e-9) / np.maximum(distances[:, near - 1], 1e-9)
    )
    dimension = np.minimum(harmonic / np.maximum(spread, 1e-9), MAX_DIMENSION)
    return dimension, distances[:, near - 1]
