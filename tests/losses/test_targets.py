"""The loss of a prediction of a target, by kind."""

from __future__ import annotations

import pytest
import torch

from selfsight.losses.targets import known_entries, mean_over_known, target_losses


def test_losses_by_kind() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    classes = torch.tensor([2, -1, 0, -1])
    found = mean_over_known(target_losses(outputs, classes, "class"), known_entries(classes))
    p = outputs.softmax(1)
    expected = -(p[0, 2].log() + p[2, 0].log()) / 2
    assert found.item() == pytest.approx(expected.item())
    nan = torch.nan
    labels = torch.tensor([[1, 0, nan], [nan] * 3, [0, nan, nan], [nan] * 3]).double()
    found = mean_over_known(target_losses(outputs, labels, "labels"), known_entries(labels))
    q = outputs.sigmoid()
    expected = -(q[0, 0].log() + (1 - q[0, 1]).log() + (1 - q[2, 0]).log()) / 3
    assert found.item() == pytest.approx(expected.item())
    (gradient,) = torch.autograd.grad(found, outputs)
    assert gradient.isfinite().all()
    assert not gradient[1].any()
    found = mean_over_known(target_losses(outputs, labels, "number"), known_entries(labels))
    expected = ((outputs[0, :2] - labels[0, :2]).square().sum() + outputs[2, 0].square()) / 3
    assert found.item() == pytest.approx(expected.item())
