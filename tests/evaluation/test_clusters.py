from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn import metrics as sk

from selfsight.evaluation.clusters import cluster_metrics, hdbscan, k_means, silhouette
from selfsight.fitting.representations import Representations


def test_metrics_equal_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 200)
    assigned = np.where(random.random(200) < 0.6, truth * 2, random.integers(0, 9, 200))
    copies = random.integers(0, 3, 200)
    found = cluster_metrics(assigned, truth, np.stack([np.ones(200), copies]).astype(float))
    for draw, rows in enumerate((np.arange(200), np.repeat(np.arange(200), copies))):
        t, a = truth[rows], assigned[rows]
        table = sk.cluster.contingency_matrix(t, a)
        match = table[linear_sum_assignment(table, maximize=True)].sum() / len(rows)
        expected = {
            "nmi": sk.normalized_mutual_info_score(t, a),
            "ari": sk.adjusted_rand_score(t, a),
            "purity": table.max(0).sum() / len(rows),
            "cluster_accuracy": match,
        }
        for name, value in expected.items():
            assert found[name, None][draw] == pytest.approx(value), name


def _blobs() -> tuple[Representations, np.ndarray]:
    random = np.random.default_rng(0)
    truth = np.arange(240) % 3
    values = np.eye(8)[truth] + 0.05 * random.normal(size=(240, 8))
    rows = np.arange(240)
    return Representations.of(torch.from_numpy(values).float(), rows, rows[:120]), truth


def test_clear_clusters_are_found_without_labels() -> None:
    representations, truth = _blobs()
    rows = np.arange(120, 240)
    ones = np.ones((1, 120))
    assigned = k_means(representations, np.arange(120), rows, 3, seed=0)
    assert cluster_metrics(assigned, truth[rows], ones)["cluster_accuracy", None][0] == 1.0
    assert silhouette(representations, rows, assigned).mean() > 0.8
    dense = hdbscan(representations, rows)
    assert cluster_metrics(dense, truth[rows], ones)["ari", None][0] > 0.9


@pytest.mark.parametrize("count", [1, 4])
def test_fewer_images_than_a_cluster_has_are_all_noise(count: int) -> None:
    representations, _ = _blobs()
    assert (hdbscan(representations, np.arange(120, 120 + count)) == -1).all()


def test_one_cluster_has_no_silhouette() -> None:
    representations, _ = _blobs()
    assert not silhouette(representations, np.arange(9), np.zeros(9, np.int64)).any()
