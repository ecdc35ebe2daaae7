from __future__ import annotations

import numpy as np
import torch

from selfsight.fitting.probes.knn import choose_neighbours
from selfsight.measures import neighbours, vote


def _reference(
    bank: np.ndarray, labels: np.ndarray, queries: np.ndarray, k: int, temperature: float
) -> np.ndarray:
    """Written out, one query at a time."""
    unit = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    found = []
    for query in queries:
        cosine = unit @ (query / np.linalg.norm(query))
        near = np.argsort(-cosine)[:k]
        votes = np.zeros(labels.max() + 1)
        for row in near:
            votes[labels[row]] += np.exp(cosine[row] / temperature)
        found.append(votes / votes.sum())
    return np.array(found)


def test_votes_equal_an_exact_reference() -> None:
    random = np.random.default_rng(0)
    bank, queries = random.normal(size=(200, 6)), random.normal(size=(50, 6))
    labels = random.integers(0, 4, 200)
    for k in (1, 7, 200):
        similarity, index = neighbours(
            torch.from_numpy(queries), torch.from_numpy(bank), k, chunk=7
        )
        ours = vote(similarity, torch.from_numpy(labels)[index], 4, 0.1)
        np.testing.assert_allclose(ours, _reference(bank, labels, queries, k, 0.1), atol=1e-12)


def test_own_group_is_no_neighbour() -> None:
    bank = torch.randn(20, 5)
    groups = torch.arange(20) // 4
    similarity, index = neighbours(bank, bank, 16, query_groups=groups, bank_groups=groups)
    assert bool(torch.isfinite(similarity).all())
    assert not bool((groups[index] == groups[:, None]).any())


def test_the_number_of_neighbours_follows_the_data() -> None:
    random = np.random.default_rng(0)
    labels = torch.from_numpy(np.repeat([0, 1], 200))
    noise = torch.from_numpy(random.normal(size=(400, 2)).astype(np.float32))
    overlapping = noise + torch.eye(2)[labels] * 1.2
    count, (accuracy, share) = choose_neighbours(overlapping, labels, torch.arange(400), 2)
    assert count >= 10
    assert 0.5 < share < accuracy < 1.0
    # twins are each other's only good neighbour: one is best, but not where twins are one group
    angle = torch.from_numpy(random.uniform(0, 6.28, 100)).float()
    twins = torch.stack([angle.cos(), angle.sin()], 1).repeat_interleave(2, 0)
    twins = twins + 1e-4 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    coin = torch.from_numpy(random.integers(0, 2, 100)).repeat_interleave(2)
    assert choose_neighbours(twins, coin, torch.arange(200), 2)[0] == 1


def test_neighbours_that_do_not_count_give_no_vote() -> None:
    similarity = torch.tensor([[0.9, -torch.inf], [-torch.inf, -torch.inf]])
    votes = vote(similarity, torch.tensor([[1, 0], [0, 1]]), 2, 0.1)
    torch.testing.assert_close(votes, torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
