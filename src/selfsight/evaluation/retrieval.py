"""Retrieval and verification on representations: is the nearest image of the same identity?"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.fitting.scored import Floats
from selfsight.measures import neighbours


def retrieval_scores(
    features: Tensor, labels: NDArray[np.int64]
) -> tuple[dict[str, Floats], NDArray[np.int64]]:
    """Each image that has a companion asks all the others, by cosine.

    ``recall_at_1``: whether the nearest is of the same identity. ``map_at_r``: with R companions,
    the mean over the first R places of the precision there, counted where the place is right
    (arXiv:2003.08505, section 3.2).

    Args:
        features: ``(M, F)``.
        labels: ``(M,)`` identities or classes.

    Returns:
        Scores ``(Q,)`` by name, and ``(Q,)`` positions of the images that have a companion.
    """
    counts = np.bincount(labels)
    queries = np.flatnonzero(counts[labels] > 1)
    recall, precision = np.zeros(len(queries)), np.zeros(len(queries))
    if not len(queries):
        return {"recall_at_1": recall, "map_at_r": precision}, queries
    most = int(counts.max()) - 1
    label = torch.from_numpy(labels).to(features.device)
    itself = torch.arange(len(labels), device=features.device)
    for first in range(0, len(queries), 2048):
        part = torch.from_numpy(queries[first : first + 2048]).to(features.device)
        _, index = neighbours(features[part], features, most, query_groups=part, bank_groups=itself)
        right = (label[index] == label[part][:, None]).double()
        companions = torch.from_numpy(counts[labels[queries[first : first + 2048]]] - 1)
        place = torch.arange(1, most + 1, device=features.device)
        inside = place[None] <= companions.to(features.device)[:, None]
        at_place = right.cumsum(1) / place * right * inside
        recall[first : first + 2048] = right[:, 0].cpu().numpy()
        precision[first : first + 2048] = at_place.sum(1).cpu().numpy() / companions.numpy()
    return {"recall_at_1": recall, "map_at_r": precision}, queries
