"""Clusters of representations, found without labels and compared with them afterwards."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.data.splits import at_most
from selfsight.fitting.representations import Representations
from selfsight.fitting.scored import Floats
from selfsight.fitting.scores import Values

_ROWS = 10_000  # that k-means is fitted on, at most
_DENSE = 2_000  # that HDBSCAN and the silhouette look at, at most


def k_means(
    representations: Representations,
    train: NDArray[np.int64],
    rows: NDArray[np.int64],
    clusters: int,
    seed: int,
) -> NDArray[np.int64]:
    """``(len(rows),)``: the cluster of each row, by k-means (scikit-learn) fitted on train rows.

    Args:
        representations: L2-normalised here.
        train: at most 10,000 of them are used, drawn by seed.
        rows: what is assigned.
        clusters: k.
        seed: of draw and starts; the best of four starts counts.
    """
    from sklearn.cluster import KMeans

    train = at_most(train, _ROWS, seed, 9)
    fitted = KMeans(min(clusters, len(train)), n_init=4, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        fitted.fit(_unit(representations, train))
    return np.asarray(fitted.predict(_unit(representations, rows)), np.int64)


def hdbscan(representations: Representations, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(len(rows),)``: clusters of the rows themselves by HDBSCAN (scikit-learn).

    What it calls noise is one more cluster, -1; fewer rows than a cluster has are all noise.
    """
    from sklearn.cluster import HDBSCAN

    size = max(5, len(rows) // 100)
    if len(rows) < size:
        return np.full(len(rows), -1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        found = HDBSCAN(min_cluster_size=size, copy=True).fit_predict(_unit(representations, rows))
    return np.asarray(found, np.int64)


def dense_rows(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """At most 2,000 of the rows, for what takes every pair of them."""
    return at_most(rows, _DENSE, seed, 10)


def silhouette(
    representations: Representations, rows: NDArray[np.int64], assigned: NDArray[np.int64]
) -> Floats:
    """``(M,)`` silhouettes (scikit-learn, cosine); zeros where there is one cluster."""
    from sklearn.metrics import silhouette_samples

    found = len(np.unique(assigned))
    if not 2 <= found < len(rows):
        return np.zeros(len(rows))
    unit = _unit(representations, rows)
    return np.asarray(silhouette_samples(unit, assigned, metric="cosine"), np.float64)


def _unit(representations: Representations, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    values = torch.nn.functional.normalize(representations.at(rows), dim=1)
    return np.asarray(values.cpu().numpy())


def cluster_metrics(
    assigned: NDArray[np.int64], truth: NDArray[np.int64], weights: Floats
) -> Values:
    """NMI, ARI, purity and accuracy under the best one-to-one match of clusters and classes.

    Args:
        assigned: ``(M,)`` clusters.
        truth: ``(M,)`` classes.
        weights: ``(B, M)``, whole numbers: copies of each row.

    Returns:
        ``nmi`` (arithmetic mean, as scikit-learn), ``ari``, ``purity``, ``cluster_accuracy``
        (Hungarian), each ``(B,)``.
    """
    from scipy.optimize import linear_sum_assignment

    cluster = np.unique(assigned, return_inverse=True)[1]
    label = np.unique(truth, return_inverse=True)[1]
    shape = int(cluster.max()) + 1, int(label.max()) + 1
    values: dict[str, list[float]] = {
        "nmi": [],
        "ari": [],
        "purity": [],
        "cluster_accuracy": [],
    }
    cell = cluster * shape[1] + label
    for weight in weights:
        counts = np.bincount(cell, weight, shape[0] * shape[1])
        table: Floats = counts.astype(np.float64).reshape(shape)
        total = table.sum()
        values["nmi"].append(_nmi(table / total))
        values["ari"].append(_ari(table))
        values["purity"].append(float(table.max(1).sum() / total))
        match = linear_sum_assignment(table, maximize=True)
        values["cluster_accuracy"].append(float(table[match].sum() / total))
    return {(name, None): np.array(each) for name, each in values.items()}


def _nmi(joint: Floats) -> float:
    """Mutual information over the mean of the two entropies."""
    of_cluster, of_label = joint.sum(1), joint.sum(0)
    entropies = (_entropy(of_cluster) + _entropy(of_label)) / 2
    if entropies <= 0:
        return 1.0  # one cluster, one class
    mutual = _entropy(of_cluster) + _entropy(of_label) - _entropy(joint.ravel())
    return max(float(mutual / entropies), 0.0)


def _entropy(share: Floats) -> float:
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())


def _ari(table: Floats) -> float:
    """Adjusted Rand index of a contingency table (Hubert and Arabie 1985)."""

    def pairs(counts: Floats) -> float:
        return float((counts * (counts - 1)).sum() / 2)

    together, clusters, labels = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    expected = clusters * labels / max(pairs(table.sum(keepdims=True)), 1.0)
    most = (clusters + labels) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)
