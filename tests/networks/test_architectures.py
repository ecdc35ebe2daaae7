"""From a spec to the backbone: seeds, short specs, builders in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from selfsight.networks.architectures import build_backbone
from selfsight.networks.specs import BackboneSpec, Network, choose_backbone

BUILDER = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3)

    def forward(self, images):
        return self.conv(images).amax((2, 3))

def build(channels: int) -> nn.Module:
    return Mine(channels)

def number(channels: int) -> int:
    return 3

def broken(channels: int) -> nn.Module:
    raise RuntimeError("no weights today")
"""


def test_weights_are_a_function_of_the_seed() -> None:
    spec = choose_backbone("resnet20", Network(widths=(8, 16), depths=(1, 1)), 3, 16)

    def weights(seed: int | None) -> Tensor:
        return torch.cat([p.flatten() for p in build_backbone(spec, seed).parameters()])

    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.get_rng_state(), state)
    first = weights(None)
    assert not torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(weights(None), first)
    assert torch.equal(weights(5), first)


def test_a_short_spec_is_filled_in() -> None:
    backbone = build_backbone(BackboneSpec(name="resnet20", channels=2, image_size=20))
    assert backbone(torch.randn(2, 2, 20, 20)).shape == (2, backbone.features) == (2, 64)


def test_a_builder_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(BUILDER, encoding="utf-8")
    spec = choose_backbone(f"{file}:build", Network(), 4, 9)
    backbone = build_backbone(spec, seed=3)
    assert backbone.features == 6
    assert backbone(torch.randn(2, 4, 9, 9)).shape == (2, 6)
    again = build_backbone(spec, seed=3)
    assert torch.equal(backbone.network.conv.weight, again.network.conv.weight)


def test_builders_that_fail_are_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(BUILDER, encoding="utf-8")
    for function, message in (
        ("absent", "has no attribute 'absent'"),
        ("number", "must give a torch.nn.Module, not int"),
        ("broken", "RuntimeError: no weights today"),
    ):
        with pytest.raises(ValueError, match=message):
            build_backbone(choose_backbone(f"{file}:{function}", Network(), 3, 8))
    with pytest.raises(ValueError, match="there is no file"):
        build_backbone(choose_backbone(f"{tmp_path}/other.py:build", Network(), 3, 8))
