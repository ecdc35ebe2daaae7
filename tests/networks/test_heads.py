"""Heads: which layers, which start, which lengths."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from selfsight.networks.heads import PrototypeHead, mlp


def kinds(module: nn.Sequential) -> list[str]:
    return [type(part).__name__ for part in module]


def test_simclrs_projector() -> None:
    head = mlp((8, 6, 4), last_norm=True)
    assert kinds(head) == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert head[0].bias is None
    assert head[3].bias is None
    assert head(torch.randn(5, 8)).shape == (5, 4)


def test_barlow_twins_and_vicregs_projectors() -> None:
    barlow = mlp((8, 6, 6, 6), last_bias=False)
    assert kinds(barlow) == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]
    assert all(part.bias is None for part in barlow if isinstance(part, nn.Linear))
    vicreg = mlp((8, 6, 6, 6), bias=True, last_bias=False)
    biases = [part.bias is not None for part in vicreg if isinstance(part, nn.Linear)]
    assert biases == [True, True, False]


def test_options() -> None:
    assert mlp((8, 4))[0].bias is not None
    assert kinds(mlp((8, 6, 4), norm=False, activation="gelu")) == ["Linear", "GELU", "Linear"]
    assert mlp((8, 6, 4), norm=False)[0].bias is not None
    plain = mlp((8, 6, 4), last_norm=True, last_norm_affine=False)[-1]
    assert plain.weight is None
    for widths in ((8,), (8, 0)):
        with pytest.raises(ValueError, match="widths"):
            mlp(widths)


def test_prototypes_are_compared_by_cosine() -> None:
    torch.manual_seed(0)
    head = PrototypeHead(8, 12, hidden=16, bottleneck=6).double()
    x = torch.randn(5, 8, dtype=torch.float64)
    inner, rows = head.mlp(x), head.prototypes.weight
    expected = torch.empty(5, 12, dtype=torch.float64)
    for i in range(5):
        for k in range(12):
            expected[i, k] = inner[i] @ rows[k] / inner[i].norm() / rows[k].norm()
    torch.testing.assert_close(head(x), expected)
    before = head(x)
    with torch.no_grad():
        rows.mul_(3.0)
    torch.testing.assert_close(head(x), before)


def test_the_last_normalisation_may_have_no_shift() -> None:
    head = mlp((4, 6, 3), last_norm=True, last_shift=False)
    assert head[-1].bias is None and head[-1].weight is not None
    out = head(torch.randn(32, 4))
    torch.testing.assert_close(out.mean(0), torch.zeros(3), atol=1e-6, rtol=0.0)


def test_the_head_starts_from_a_truncated_normal() -> None:
    torch.manual_seed(0)
    head = PrototypeHead(64, 8, hidden=256, bottleneck=32)
    linear = [part for part in head.mlp if isinstance(part, nn.Linear)]
    assert len(linear) == 3
    for part in linear:
        assert abs(part.weight.std().item() - 0.02) < 0.001
        assert not part.bias.any()
