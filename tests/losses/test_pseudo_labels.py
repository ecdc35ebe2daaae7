"""The losses of FixMatch and FreeMatch against their equations, written out."""

from __future__ import annotations

import math

import pytest
import torch

from selfsight.losses.pseudo_labels import (
    fairness_loss,
    fixmatch_loss,
    freematch_loss,
    freematch_thresholds,
)
from selfsight.losses.targets import choices


def logits(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2.0 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_fixmatch_is_the_written_out_one() -> None:
    weak, strong = logits(0, 12, 1, 4), logits(1, 12, 1, 4)
    q, p = weak[:, 0].softmax(1), strong[:, 0].softmax(1)
    expected, count = 0.0, 0
    for b in range(12):
        if float(q[b].max()) >= 0.7:
            count += 1
            expected -= math.log(float(p[b, int(q[b].argmax())]))
    assert 0 < count < 12
    weak.requires_grad_()
    loss, confident = fixmatch_loss(weak, strong.requires_grad_(), 0.7)
    assert loss.item() == pytest.approx(expected / 12)
    assert confident.item() == pytest.approx(count / 12)
    loss.backward()
    assert weak.grad is None
    assert strong.grad is not None and strong.grad.any()


def test_labels_are_choices_between_no_and_yes() -> None:
    weak, strong = logits(0, 6, 3), logits(1, 6, 3)
    assert torch.allclose(choices(weak, "labels").softmax(2)[..., 1], weak.sigmoid())
    expected = 0.0
    for q, p in zip(weak.sigmoid().flatten(), strong.sigmoid().flatten(), strict=True):
        if max(q, 1 - q) >= 0.8:
            expected -= math.log(float(p if q > 0.5 else 1 - p))
    loss, _ = fixmatch_loss(choices(weak, "labels"), choices(strong, "labels"), 0.8)
    assert loss.item() == pytest.approx(expected / 18)


def test_freematch_is_the_written_out_one() -> None:
    weak, strong = logits(2, 20, 1, 3), logits(3, 20, 1, 3)
    q, p = weak[:, 0].softmax(1), strong[:, 0].softmax(1)
    tau = torch.tensor([0.8], dtype=torch.float64)
    marginal = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    limits = freematch_thresholds(tau, marginal)
    assert limits[0].tolist() == pytest.approx([0.8, 0.48, 0.32])
    expected, taken = 0.0, []
    for b in range(20):
        c = int(q[b].argmax())
        taken.append(float(q[b, c]) >= float(limits[0, c]))
        expected -= taken[-1] * math.log(float(p[b, c]))
    loss, mask = freematch_loss(weak, strong, limits)
    assert loss.item() == pytest.approx(expected / 20)
    assert mask[:, 0].tolist() == taken and 0 < sum(taken) < 20
    histogram = torch.tensor([[0.6, 0.4, 0.0]], dtype=torch.float64)
    rows = [b for b in range(20) if taken[b]]
    mean = p[rows].mean(0)
    counted = torch.bincount(p[rows].argmax(1), minlength=3) / len(rows)
    a = torch.tensor([0.5 / 0.6, 0.3 / 0.4, 0.0], dtype=torch.float64)
    b_bar = torch.where(counted > 0, mean / counted.clamp_min(1e-9), 0.0)
    a, b_bar = a / a.sum(), b_bar / b_bar.sum()
    found = fairness_loss(strong, mask, marginal, histogram)
    assert found.item() == pytest.approx(float((a * (b_bar + 1e-12).log()).sum()))
    nothing = fairness_loss(strong, torch.zeros_like(mask), marginal, histogram)
    assert nothing.item() == 0.0
