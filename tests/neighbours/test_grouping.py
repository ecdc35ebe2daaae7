"""Groupings beside scikit-learn's on all distances, and scores beside their definitions."""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import AgglomerativeClustering

from selfsight.neighbours import grouping
from selfsight.neighbours.exact import ExactVectors
from selfsight.neighbours.grouping import (
    alone_apart,
    by_size,
    duplicate_of,
    group_scores,
    hdbscan_groups,
    linked_groups,
)

sys.path.insert(0, str(Path(__file__).parent))
from vectors import clustered


def people(count: int = 300, spread: float = 0.35) -> tuple[torch.Tensor, np.ndarray]:
    """Vectors of length 1 of many people with few images each."""
    random = np.random.default_rng(3)
    labels = np.sort(random.integers(0, count // 4, count))
    centres = random.normal(size=(count, 32))
    values = centres[labels] + spread * random.normal(size=(count, 32))
    unit = torch.nn.functional.normalize(torch.from_numpy(values.astype(np.float32)), dim=1)
    return unit, labels


def neighbours(vectors: torch.Tensor, k: int) -> tuple[torch.Tensor, np.ndarray]:
    cosines, places = ExactVectors(vectors).search(vectors.numpy(), k + 1)
    return torch.from_numpy(cosines[:, 1:]), places[:, 1:]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_linkage_in_parts_is_linkage_of_all(threshold: float) -> None:
    vectors, _ = people()
    expected = AgglomerativeClustering(
        n_clusters=None,
        distance_threshold=1 - threshold,
        metric="cosine",
        linkage="average",
    ).fit_predict(vectors.double().numpy())
    got = group_scores("", linked_groups(vectors, threshold), expected)
    assert got.pair_f1 == pytest.approx(1.0)


def test_linkage_says_when_too_much_hangs_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "LINKED", 100)
    with pytest.raises(ValueError, match="300 images hang together at this cosine"):
        linked_groups(people()[0], -1.0)
    assert len(linked_groups(people()[0], 0.9)) == 300


def test_hdbscan_on_neighbours_finds_the_people_that_it_finds_on_all() -> None:
    vectors, labels = people(600)
    whole = hdbscan_groups(vectors, None)
    graph = hdbscan_groups(vectors, neighbours(vectors, 16))
    first, second = group_scores("", whole, labels), group_scores("", graph, labels)
    assert first.pair_f1 > 0.9 and second.pair_f1 > 0.9
    assert group_scores("", graph, alone_apart(whole)).pair_f1 > 0.95


def test_identical_images_are_one_group() -> None:
    vectors = torch.nn.functional.normalize(clustered(80, clusters=80), dim=1)
    vectors[40:43] = vectors[7]
    groups = hdbscan_groups(vectors, neighbours(vectors, 8))
    assert groups[7] >= 0 and len(set(groups[[7, 40, 41, 42]].tolist())) == 1


def test_scores_are_their_definitions() -> None:
    random = np.random.default_rng(0)
    labels, groups = random.integers(0, 9, 60), random.integers(-1, 7, 60)
    scores = group_scores("x", groups, labels)
    whole = alone_apart(groups)
    pairs = list(combinations(range(60), 2))
    both = sum(labels[i] == labels[j] and whole[i] == whole[j] for i, j in pairs)
    assert scores.pair_precision == pytest.approx(
        both / sum(whole[i] == whole[j] for i, j in pairs)
    )
    assert scores.pair_recall == pytest.approx(both / sum(labels[i] == labels[j] for i, j in pairs))
    precision = np.mean([(labels[whole == whole[i]] == labels[i]).mean() for i in range(60)])
    recall = np.mean([(whole[labels == labels[i]] == whole[i]).mean() for i in range(60)])
    assert scores.bcubed == pytest.approx(2 * precision * recall / (precision + recall))
    assert scores.groups == len(set(whole.tolist()))


def test_trivial_groupings_have_trivial_scores() -> None:
    labels = np.array([0, 0, 1, 2, 3])
    alone = group_scores("alone", np.full(5, -1), labels)
    assert (alone.pair_f1, alone.groups) == (0.0, 5)
    assert alone.bcubed > 0.8  # it flatters
    whole = group_scores("whole", np.zeros(5, int), labels)
    assert whole.pair_recall == 1.0 and whole.pair_precision == pytest.approx(0.1)


def test_groups_are_numbered_from_the_largest() -> None:
    got = by_size(np.array([5, 5, -1, 2, 2, 2, 9]))
    assert got.tolist() == [1, 1, -1, 0, 0, 0, -1]


def test_near_duplicates_name_an_image_that_is_kept() -> None:
    vectors = torch.eye(6)
    vectors[3], vectors[5] = vectors[1], vectors[1]
    cosines, places = ExactVectors(vectors).search(vectors.numpy(), 6)
    got = duplicate_of(torch.from_numpy(cosines), places, 0.99)
    assert got.tolist() == [-1, -1, -1, 1, -1, 1]
