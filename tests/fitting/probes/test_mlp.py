"""The classifier: its losses, and networks side by side."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from selfsight.fitting.stack import Classifier, Stack
from selfsight.fitting.tasks import fit_loss


def test_class_loss_is_that_of_torch_for_each_network() -> None:
    torch.manual_seed(0)
    raw, truth = torch.randn(3, 20, 4), torch.randint(4, (3, 20))
    weights = torch.rand(3, 4) + 0.1
    plain = sum(F.cross_entropy(raw[k], truth[k], label_smoothing=0.1) for k in range(3))
    torch.testing.assert_close(fit_loss(raw, truth, "class", smoothing=0.1), plain)
    for smoothing in (0.0, 0.2):
        weighted = sum(
            F.cross_entropy(raw[k], truth[k], weights[k], label_smoothing=smoothing)
            for k in range(3)
        )
        torch.testing.assert_close(fit_loss(raw, truth, "class", weights, smoothing), weighted)


def test_unknown_entries_count_nowhere() -> None:
    torch.manual_seed(0)
    raw, truth = torch.randn(1, 6, 3), (torch.rand(1, 6, 3) > 0.5).float()
    known = torch.rand(1, 6, 3) > 0.3
    holes = torch.where(known, truth, torch.nan)
    expected = F.binary_cross_entropy_with_logits(raw[known], truth[known])
    torch.testing.assert_close(fit_loss(raw, holes, "labels"), expected)
    torch.testing.assert_close(fit_loss(raw, holes, "number"), F.mse_loss(raw[known], truth[known]))


def test_weights_of_labels_are_of_their_positives() -> None:
    torch.manual_seed(0)
    raw, truth, weight = torch.randn(1, 9, 2), (torch.rand(1, 9, 2) > 0.5).float(), torch.rand(1, 2)
    expected = F.binary_cross_entropy_with_logits(raw[0], truth[0], pos_weight=weight[0])
    torch.testing.assert_close(fit_loss(raw, truth, "labels", weight), expected)


@pytest.mark.parametrize("normalisation", [None, "layer", "batch"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_networks_side_by_side_are_those_alone(normalisation: Any, optimizer: Any) -> None:
    settings = Classifier(
        depth=2, width=8, narrowing=0.5, normalisation=normalisation, optimizer=optimizer, lr=0.01
    )
    assert settings.shape.widths == (8, 4)
    # In float64: Adam makes much of rounding in the gradient of a bias before normalisation.
    together = Stack(settings, 5, 3, 2, torch.Generator().manual_seed(0)).double()
    torch.manual_seed(1)
    x, truth = torch.randn(2, 16, 5).double(), torch.randint(3, (2, 16))
    alone = []
    for k in range(2):
        stack = Stack(settings, 5, 3, 1, torch.Generator().manual_seed(0)).double()
        stack.load_state_dict({name: v[k : k + 1] for name, v in together.state_dict().items()})
        alone.append(stack)
    for stack, rows in ((together, slice(None)), (alone[0], [0]), (alone[1], [1])):
        steps = stack.build_optimizer()
        for _ in range(5):
            steps.zero_grad()
            fit_loss(stack(x[rows]), truth[rows], "class").backward()
            steps.step()
        stack.eval()
    both = torch.cat([alone[0](x[:1]), alone[1](x[1:])])
    torch.testing.assert_close(together(x), both, rtol=1e-5, atol=1e-7)


def test_batch_normalisation_is_that_of_torch() -> None:
    settings = Classifier(depth=1, width=6, normalisation="batch", activation="tanh")
    stack = Stack(settings, 4, 2, 1, torch.Generator().manual_seed(0))
    x = torch.randn(1, 12, 4)
    hidden = torch.baddbmm(stack.biases[0], x, stack.weights[0])
    expected = torch.tanh(F.batch_norm(hidden[0], None, None, training=True))
    expected = torch.addmm(stack.biases[1][0], expected, stack.weights[1][0])
    torch.testing.assert_close(stack(x)[0], expected)


def test_no_hidden_layer_is_a_linear_classifier() -> None:
    stack = Stack(Classifier(depth=0), 4, 2, 1, torch.Generator().manual_seed(0))
    assert [tuple(w.shape) for w in stack.parameters()] == [(1, 4, 2), (1, 1, 2)]
