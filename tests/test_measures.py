"""Measures against the same sums written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from selfsight.measures import (
    alignment,
    alpha_req,
    effective_rank,
    knn_predict,
    standard_deviation_of_normalised,
    uniformity,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labelled(n: int, classes: int = 4, seed: int = 1) -> Tensor:
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))


def written_out(bank: Tensor, labels: Tensor, query: Tensor, k: int, t: float, c: int) -> Tensor:
    votes = torch.zeros(c, dtype=torch.float64)
    cosines = [float(query @ row / query.norm() / row.norm()) for row in bank]
    nearest = sorted(range(len(bank)), key=lambda i: -cosines[i])[:k]
    for i in nearest:
        votes[labels[i]] += math.exp(cosines[i] / t)
    return votes / votes.sum()


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (7, 0.1), (20, 0.5), (1000, 0.1)])
def test_knn_is_the_weighted_vote(k: int, temperature: float) -> None:
    bank, labels, queries = drawn(60, 5), labelled(60), drawn(9, 5, seed=2) * 7
    found = knn_predict(bank, labels, queries, num_classes=4, k=k, temperature=temperature, chunk=4)
    expected = [written_out(bank, labels, query, k, temperature, 4) for query in queries]
    torch.testing.assert_close(found, torch.stack(expected))


def test_knn_of_a_large_bank_finds_the_same_neighbours() -> None:
    bank, labels, queries = drawn(5000, 6).float(), labelled(5000), drawn(40, 6, seed=2).float()
    bank[4999] = queries[0] * 2  # among the columns beside the rows of zeros
    unit = torch.nn.functional.normalize
    expected = (unit(queries, dim=1) @ unit(bank, dim=1).T).topk(20, 1)
    scores = knn_predict(bank, labels, queries, num_classes=4, k=20)
    votes = torch.zeros(40, 4).scatter_add_(
        1, labels[expected.indices], (expected.values / 0.1).exp()
    )
    torch.testing.assert_close(scores, votes / votes.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)


def test_knn_neighbours_behind_the_query_still_count() -> None:
    bank, labels = -torch.rand(40, 3) - 0.1, labelled(40)
    found = knn_predict(bank, labels, torch.ones(1, 3), num_classes=4, k=40)
    torch.testing.assert_close(
        found[0], written_out(bank, labels, torch.ones(3), 40, 0.1, 4).float()
    )


def test_knn_stays_finite_at_a_low_temperature() -> None:
    scores = knn_predict(
        drawn(30, 4).float(), labelled(30), drawn(5, 4).float(), num_classes=4, temperature=1e-3
    )
    assert scores.isfinite().all()
    torch.testing.assert_close(scores.sum(1), torch.ones(5))


def test_knn_refuses_what_has_no_meaning() -> None:
    bank, labels, queries = drawn(10, 3), labelled(10), drawn(2, 3)
    for changes, message in (
        ({"bank_labels": labels[:5]}, "one label for each"),
        ({"bank_labels": labels - 1}, "leave out images without a label"),
        ({"num_classes": 2}, r"\[0, 2\)"),
        ({"queries": drawn(2, 4)}, "must be"),
        ({"k": 0}, "k \\(0\\)"),
        ({"temperature": 0.0}, "temperature"),
    ):
        given = {"bank": bank, "bank_labels": labels, "queries": queries, "num_classes": 4}
        with pytest.raises(ValueError, match=message):
            knn_predict(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(50, 8), (8, 50)])
def test_effective_rank_is_rankme(shape: tuple[int, int]) -> None:
    x = drawn(*shape) * torch.linspace(0.1, 3, shape[1])
    sigma = torch.linalg.svdvals(x)
    entropy = 0.0
    for value in sigma:
        p = float(value / sigma.sum()) + 1e-7
        entropy -= p * math.log(p)
    assert float(effective_rank(x)) == pytest.approx(math.exp(entropy), rel=1e-9)


def test_effective_rank_counts_directions() -> None:
    base = torch.linalg.qr(drawn(100, 16)).Q
    assert float(effective_rank(base)) == pytest.approx(16, rel=1e-4)
    assert float(effective_rank(base[:, :4] @ drawn(4, 4) @ drawn(4, 16))) < 4.01
    assert float(effective_rank(torch.ones(100, 512))) == pytest.approx(1, abs=0.01)
    assert float(effective_rank(torch.zeros(10, 4))) == pytest.approx(1, abs=0.01)
    assert effective_rank(torch.full((10, 4), math.nan)).isnan()


def test_alpha_req_is_the_exponent_of_the_decay() -> None:
    base = drawn(200, 30)
    base = torch.linalg.qr(base - base.mean(0)).Q
    index = torch.arange(1, 31, dtype=torch.float64)
    for alpha in (0.5, 1.0, 2.5):
        x = base * index ** (-alpha / 2) + 4.0
        assert float(alpha_req(x)) == pytest.approx(alpha, rel=1e-6)
        assert float(alpha_req(x, first=3, last=20)) == pytest.approx(alpha, rel=1e-6)
    lower = torch.where(index > 10, 0.0, index**-0.5)
    assert float(alpha_req(base * lower)) == pytest.approx(1.0, rel=1e-6)
    assert alpha_req(torch.ones(5, 3)).isnan()


def test_alignment_and_uniformity_are_their_sums() -> None:
    x, y = drawn(12, 5), drawn(12, 5, seed=4)
    rows = [row / row.norm() for row in x]
    pairs = [float((a - b / b.norm()).norm()) for a, b in zip(rows, y, strict=True)]
    assert float(alignment(x, y)) == pytest.approx(sum(p**2 for p in pairs) / 12)
    assert float(alignment(x, y, alpha=1.0)) == pytest.approx(sum(pairs) / 12)
    kernel = [
        math.exp(-2 * float((rows[i] - rows[j]).square().sum()))
        for i in range(12)
        for j in range(i)
    ]
    expected = math.log(sum(kernel) / len(kernel))
    assert float(uniformity(x)) == pytest.approx(expected)
    assert float(uniformity(x, chunk=5)) == pytest.approx(expected)


def test_a_collapse_is_seen() -> None:
    assert float(standard_deviation_of_normalised(drawn(2000, 32))) == pytest.approx(1, abs=0.05)
    same = torch.ones(20, 32)
    assert float(standard_deviation_of_normalised(same)) == pytest.approx(0, abs=1e-6)
    assert float(uniformity(same)) == pytest.approx(0, abs=1e-9)
    assert float(alignment(same, 3 * same)) == pytest.approx(0, abs=1e-9)
