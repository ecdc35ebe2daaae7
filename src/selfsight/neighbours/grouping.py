"""Groups of similar images: HDBSCAN on the graph of neighbours, and average linkage."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from selfsight.console import counted
from selfsight.neighbours.verification import chunked
from selfsight.records.neighbours import GroupLine

DENSE = 2_000
"""Images up to which HDBSCAN sees every distance; above, those to the nearest neighbours."""
NEIGHBOURS = 32
LINKED = 20_000
"""Images that average linkage takes at once: it needs all their distances."""
SMALLEST = 1e-6  # a distance of 0 would be no edge
Groups = NDArray[np.int64]


def hdbscan_groups(vectors: Tensor, nearest: tuple[Tensor, NDArray[np.int64]] | None) -> Groups:
    """``(N,)`` groups of two or more by HDBSCAN (scikit-learn); -1: alone. No threshold is needed.

    Args:
        vectors: ``(N, F)`` of length 1.
        nearest: cosines and places ``(N, k)`` of each image's neighbours; None: all distances.
    """
    from sklearn.cluster import HDBSCAN

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        if nearest is None:
            fitted = HDBSCAN(min_cluster_size=2, copy=True).fit(vectors.numpy())
        else:
            graph = _neighbour_graph(vectors, *nearest)
            # A row of the graph lacks the image itself, which scikit-learn counts elsewhere.
            fitted = HDBSCAN(
                min_cluster_size=2, min_samples=1, metric="precomputed", copy=True
            ).fit(graph)
    return np.asarray(fitted.labels_, np.int64)


def _neighbour_graph(
    vectors: Tensor, cosines: Tensor, places: NDArray[np.int64]
) -> sparse.csr_array:
    """Distances to the neighbours, and some between the parts of the graph, so that it has one."""
    count, k = places.shape
    rows = np.repeat(np.arange(count), k)
    values = (2.0 - 2.0 * cosines.double().numpy()).clip(min=0.0) ** 0.5
    graph = sparse.csr_array(
        (values.reshape(-1).clip(min=SMALLEST), (rows, places.reshape(-1))), (count, count)
    )
    graph = graph.maximum(graph.T)
    parts, part_of = connected_components(graph, directed=False)
    if parts > 1:
        heads = np.unique(part_of, return_index=True)[1]
        first, second = heads[:-1], heads[1:]
        apart = (vectors[first] - vectors[second]).norm(dim=1).double().numpy()
        bridges = sparse.csr_array((apart.clip(min=SMALLEST), (first, second)), (count, count))
        graph = graph.maximum(bridges).maximum(bridges.T)
    return graph.tocsr()


def linked_groups(vectors: Tensor, threshold: float) -> Groups:
    """``(N,)`` groups by average linkage: the mean cosine between two that join is the threshold.

    Two groups join only if some pair of them lies above the threshold, so each part of the graph
    of such pairs is grouped by itself; the result is that of all images at once.

    Args:
        vectors: ``(N, F)`` of length 1.
        threshold: a cosine.

    Raises:
        ValueError: more than 20,000 images hang together at this threshold.
    """
    part_of = _parts(vectors, threshold)
    groups = np.zeros(len(vectors), np.int64)
    used = 0
    for members in np.split(
        np.argsort(part_of, kind="stable"), np.cumsum(np.bincount(part_of))[:-1]
    ):
        if len(members) > LINKED:
            raise ValueError(
                f"threshold {threshold:.3f}: {counted(len(members), 'image')} hang together "
                "at this cosine, "
                f"more than the {LINKED:,} that average linkage can take; raise it, or use --by "
                "hdbscan."
            )
        inner = _linked(vectors[torch.from_numpy(members)], threshold)
        groups[members] = used + inner
        used += int(inner.max()) + 1
    return groups


def _linked(vectors: Tensor, threshold: float) -> Groups:
    count = len(vectors)
    if count == 1:
        return np.zeros(1, np.int64)
    condensed = np.empty(count * (count - 1) // 2)
    first = 0
    for row in range(count - 1):
        width = count - 1 - row
        condensed[first : first + width] = 1.0 - (vectors[row + 1 :] @ vectors[row]).numpy()
        first += width
    tree = linkage(condensed.clip(min=0.0), "average")
    return np.asarray(fcluster(tree, 1.0 - threshold, "distance"), np.int64) - 1


def _parts(vectors: Tensor, threshold: float) -> Groups:
    """``(N,)`` connected components of the pairs above a cosine, a block of rows at a time."""
    count = len(vectors)
    part_of = np.arange(count)
    for rows in chunked(count, max(16, (1 << 24) // count)):
        close = vectors[rows] @ vectors.T >= threshold
        one, other = close.nonzero(as_tuple=True)
        joins = np.unique(
            np.stack([part_of[one.numpy() + rows.start], part_of[other.numpy()]], 1), axis=0
        )
        edges = sparse.coo_array((np.ones(len(joins)), (joins[:, 0], joins[:, 1])), (count, count))
        part_of = connected_components(edges, directed=False)[1][part_of]
    return np.unique(part_of, return_inverse=True)[1].astype(np.int64)


def group_scores(name: str, groups: Groups, labels: Groups) -> GroupLine:
    """Scores of groups ``(N,)`` (-1: alone) beside labels ``(N,)``."""
    from sklearn.metrics.cluster import contingency_matrix, pair_confusion_matrix

    whole = alone_apart(groups)
    (_, false), (missed, true) = pair_confusion_matrix(labels, whole).tolist()
    precision = true / (true + false) if true + false else 1.0
    recall = true / (true + missed) if true + missed else 1.0
    table = contingency_matrix(labels, whole, sparse=True).tocoo()
    of_label, of_group = (np.bincount(side, table.data) for side in (table.row, table.col))
    squares = table.data.astype(np.float64) ** 2 / len(labels)
    b_precision = float((squares / of_group[table.col]).sum())
    b_recall = float((squares / of_label[table.row]).sum())
    return GroupLine(
        name=name,
        groups=len(np.unique(whole)),
        pair_precision=precision,
        pair_recall=recall,
        pair_f1=_harmonic(precision, recall),
        bcubed=_harmonic(b_precision, b_recall),
    )


def _harmonic(one: float, other: float) -> float:
    return 2 * one * other / (one + other) if one + other else 0.0


def alone_apart(groups: Groups) -> Groups:
    """Groups in which each image that is alone (-1) has one of its own."""
    alone = groups < 0
    whole = groups.copy()
    whole[alone] = max(int(groups.max(initial=-1)) + 1, 0) + np.arange(int(alone.sum()))
    return whole


def by_size(groups: Groups) -> Groups:
    """The same groups, numbered from the largest; -1 for images that are alone."""
    whole = alone_apart(groups)
    names, number, sizes = np.unique(whole, return_inverse=True, return_counts=True)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return np.where(sizes[number] < 2, -1, rank[number])


def duplicate_of(cosines: Tensor, places: NDArray[np.int64], near: float) -> NDArray[np.int64]:
    """``(N,)``: the earlier image, itself kept, that each image is a near-duplicate of; -1: none.

    Args:
        cosines: ``(N, k)`` of each image's neighbours.
        places: ``(N, k)`` of these.
        near: cosine from which two images are near-duplicates.
    """
    found = np.full(len(places), -1, np.int64)
    close = cosines.numpy() >= near
    for row in np.flatnonzero(close.any(1)).tolist():
        others = places[row][close[row] & (places[row] < row) & (places[row] >= 0)]
        kept = others[found[others] < 0]
        if len(kept):
            found[row] = kept[0]
    return found
