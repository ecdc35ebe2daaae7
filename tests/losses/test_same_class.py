"""The losses over pairs of the same class against their formulas, written out."""

from __future__ import annotations

import math

import pytest
import torch

from selfsight.losses.same_class import (
    same_class_correlation_loss,
    same_class_weights,
    supcon_loss,
)


def test_correlation_is_the_written_out_one() -> None:
    torch.manual_seed(0)
    z = torch.randn(9, 4, dtype=torch.float64)
    targets = torch.tensor([0, 1, 0, 2, -1, 1, 0, -1, 1])
    pairs = [
        (i, j)
        for i in range(9)
        for j in range(9)
        if i != j and targets[i] == targets[j] and targets[i] >= 0
    ]
    first, second = (z[[pair[end] for pair in pairs]] for end in (0, 1))
    a, b = (
        (side - side.mean(0)) / torch.sqrt(side.var(0, correction=0) + 1e-5)
        for side in (first, second)
    )
    expected = 0.0
    for k in range(4):
        for m in range(4):
            entry = float((a[:, k] * b[:, m]).mean())
            expected += (1 - entry) ** 2 if k == m else 0.02 * entry**2
    weights = same_class_weights(targets, "class")
    found = same_class_correlation_loss(z, weights, redundancy_weight=0.02)
    assert found.item() == pytest.approx(expected / 4, rel=1e-12)


def test_correlation_of_equal_classmates_is_least() -> None:
    """Three classes of equal rows on decorrelated features: C is the identity."""
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).double()
    targets = torch.arange(4).repeat(3)
    weights = same_class_weights(targets, "class")
    assert float(same_class_correlation_loss(corners.repeat(3, 1), weights, eps=0.0)) < 1e-20
    mixed = corners.repeat(3, 1)[torch.randperm(12, generator=torch.Generator().manual_seed(0))]
    assert float(same_class_correlation_loss(mixed, weights)) > 0.1


def test_overlap_of_labels_is_jaccard() -> None:
    nan = torch.nan
    labels = torch.tensor(
        [[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0], [nan, 1, 1], [nan, nan, nan]],
        dtype=torch.float64,
    )
    found = same_class_weights(labels, "labels")
    assert torch.equal(found, found.T)
    assert torch.equal(found.diagonal(), torch.zeros(6, dtype=torch.float64))
    assert found[0, 1] == 1 / 2 and found[0, 2] == 0.0 and found[2, 3] == 1.0
    assert found[0, 4] == 1 / 2  # over the last two labels: {b} and {b, c}
    assert not found[5].any()


def test_correlation_weighs_pairs_by_overlap() -> None:
    """Whole weights are the same as so many copies of a pair."""
    torch.manual_seed(1)
    z = torch.randn(5, 3, dtype=torch.float64)
    weights = torch.tensor(
        [[0, 2, 1, 0, 0], [2, 0, 0, 1, 0], [1, 0, 0, 3, 0], [0, 1, 3, 0, 0], [0, 0, 0, 0, 0]]
    ).double()
    pairs = [(i, j) for i in range(5) for j in range(5) for _ in range(int(weights[i, j]))]
    a, b = (z[[pair[end] for pair in pairs]] for end in (0, 1))
    a, b = ((s - s.mean(0)) / torch.sqrt(s.var(0, correction=0) + 1e-5) for s in (a, b))
    c = a.T @ b / len(pairs)
    off = c.square().sum() - c.diagonal().square().sum()
    expected = ((1 - c.diagonal()).square().sum() + 5e-3 * off) / 3
    assert float(same_class_correlation_loss(z, weights)) == pytest.approx(expected.item())


def test_supcon_is_the_written_out_one() -> None:
    torch.manual_seed(0)
    z = torch.randn(8, 5, dtype=torch.float64)
    targets = torch.tensor([0, 1, 0, 2, -1, 1, 0, -1])
    unit = z / z.norm(dim=1, keepdim=True)
    known = [i for i in range(8) if targets[i] >= 0]
    losses = []
    for i in known:
        positives = [p for p in known if p != i and targets[p] == targets[i]]
        if not positives:
            continue
        below = sum(math.exp(float(unit[i] @ unit[a]) / 0.2) for a in known if a != i)
        terms = [math.log(math.exp(float(unit[i] @ unit[p]) / 0.2) / below) for p in positives]
        losses.append(-sum(terms) / len(positives))
    weights = same_class_weights(targets, "class")
    found = supcon_loss(z, weights, targets >= 0, temperature=0.2)
    assert found.item() == pytest.approx(sum(losses) / len(losses), rel=1e-12)


@pytest.mark.parametrize("targets", [[-1, -1, -1, -1], [0, 1, 2, -1], [0, -1, -1, -1]])
def test_no_pair_is_no_loss(targets: list[int]) -> None:
    z = torch.randn(4, 3, requires_grad=True)
    given = torch.tensor(targets)
    weights = same_class_weights(given, "class")
    for loss in (
        same_class_correlation_loss(z, weights),
        supcon_loss(z, weights, given >= 0),
    ):
        (gradient,) = torch.autograd.grad(loss, z)
        assert loss.item() == 0.0
        assert torch.equal(gradient, torch.zeros_like(z))
