"""Folded networks are the same function with fewer layers, or are not folded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from threading import Lock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from selfsight.data.imageset import ImageSet
from selfsight.data.statistics import channel_statistics
from selfsight.fitting import representations
from selfsight.fitting.representations import represent
from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbones import Backbone, measuring
from selfsight.networks.folding import folded
from selfsight.networks.pooling import PoolingKind, StagePooling
from selfsight.networks.specs import Network, choose_backbone
from selfsight.views.apply import whole_frame


def trained(module: nn.Module, images: Tensor) -> nn.Module:
    """Scales and shifts as a training leaves them, statistics of the images, evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
            with torch.no_grad():
                part.weight.uniform_(0.5, 1.5, generator=generator)
                part.bias.normal_(0.0, 0.2, generator=generator)
    with torch.no_grad():
        module.train()(images)
    return module.eval()


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


def images_of(side: int, channels: int = 3) -> Tensor:
    return torch.randn(4, channels, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        *(("resnet20", 1), ("resnet20", 8), ("efficientnet_lite0", 1), ("efficientnet_lite0", 8)),
        *(("resnet18", 3), ("resnet50", 3), ("efficientnet_lite0", 3)),
    ],
)
def test_every_normalisation_of_our_networks_is_folded(name: str, channels: int) -> None:
    backbone = build_backbone(choose_backbone(name, Network(), channels, 64), seed=0)
    images = images_of(64, channels).double()  # rounding is not the question
    trained(backbone.double(), images)
    with torch.no_grad():
        fast = folded(backbone, images[:1])
        assert norms(backbone) and not norms(fast)
        wanted = backbone(images)
        assert torch.allclose(fast(images), wanted, atol=1e-10)


class Small(nn.Module):
    """``(B, 3, H, W)`` to ``(B, 4)``; ``use`` says what is made of convolution and norm."""

    def __init__(
        self, use: Callable[[Small, Tensor], Tensor], convolution: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.convolution = convolution or nn.Conv2d(3, 4, 3)
        self.norm: nn.Module = nn.BatchNorm2d(4)
        self.use = use

    def forward(self, images: Tensor) -> Tensor:
        return self.use(self, images).mean((2, 3))


def usual(net: Small, images: Tensor) -> Tensor:
    return net.norm(net.convolution(images)).relu()  # type: ignore[no-any-return]


def with_a_skip(net: Small, images: Tensor) -> Tensor:
    x = net.convolution(images)
    return x + net.norm(x)  # type: ignore[no-any-return]


def twice(net: Small, images: Tensor) -> Tensor:
    return net.norm(net.convolution(images)) + net.convolution(images)  # type: ignore[no-any-return]


def changed_between(net: Small, images: Tensor) -> Tensor:
    return net.norm(net.convolution(images).relu_())  # type: ignore[no-any-return]


def sometimes_before(net: Small, images: Tensor) -> Tensor:
    return net.convolution(images)  # type: ignore[no-any-return]


class NormThenRelu(nn.BatchNorm2d):
    """As timm writes it: the normalisation owns what follows it."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.drop, self.act = nn.Identity(), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))  # type: ignore[no-any-return]


class NormTimesTwo(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * super().forward(x)


def of(module: nn.Module) -> Backbone:
    return Backbone.of(trained(module, images_of(16)), 3, 16).eval()


def test_a_normalisation_that_owns_what_follows_it_is_folded() -> None:
    module = Small(lambda net, images: net.norm(net.convolution(images)))
    module.norm = NormThenRelu(4)
    backbone, images = of(module), images_of(16)
    with torch.no_grad():
        fast = folded(backbone, images)
        assert fast is not backbone and not norms(fast)
        assert torch.allclose(fast(images), backbone(images), atol=1e-6)


def test_a_convolution_with_a_bias_is_folded() -> None:
    backbone, images = of(Small(usual)), images_of(16)
    with torch.no_grad():
        fast = folded(backbone, images)
        assert not norms(fast)
        assert torch.allclose(fast(images), backbone(images), atol=1e-6)


@pytest.mark.parametrize("use", [with_a_skip, twice, changed_between, sometimes_before])
def test_what_is_no_plain_pair_is_left_alone(use: Callable[[Small, Tensor], Tensor]) -> None:
    backbone, images = of(Small(use)), images_of(16)
    with torch.no_grad():
        assert folded(backbone, images) is backbone


def test_other_functions_of_weights_and_statistics_are_left_alone() -> None:
    shared = Small(usual, weight_norm(nn.Conv2d(3, 4, 3)))
    doubled = Small(usual)
    doubled.norm = NormTimesTwo(4)
    of_the_batch = Small(usual)
    of_the_batch.norm = nn.BatchNorm2d(4, track_running_stats=False)
    locked = Small(usual)
    locked.lock = Lock()
    for module in (shared, doubled, of_the_batch, locked):
        images = images_of(16)
        backbone = Backbone.of(module.eval(), 3, 16).eval()
        with torch.no_grad():
            assert folded(backbone, images) is backbone


def test_a_network_that_gives_nan_is_left_alone() -> None:
    backbone, images = of(Small(usual)), images_of(16)
    images[0, 0, 0, 0] = float("nan")
    with torch.no_grad():
        assert folded(backbone, images) is backbone


@pytest.mark.parametrize("kind", ["mean", "stages"])
def test_represent_folds_and_leaves_the_backbone_as_it_was(
    kind: PoolingKind, digits: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = build_backbone(choose_backbone("efficientnet_lite0", Network(), 1, 8), seed=0)
    statistics = channel_statistics(digits, digits.pool)
    rows = np.arange(100)
    batch = whole_frame(torch.from_numpy(digits.pixels[rows]).permute(0, 3, 1, 2), statistics)
    trained(backbone, batch)
    with measuring(backbone, "cpu"):
        poolings = backbone.poolings(batch)
        widths = [pooled.shape[1] for pooled in poolings]
        backbone.pooling = StagePooling.fitted(kind, widths, torch.cat(poolings, 1))
        wanted = backbone(batch)
        exact = copy.deepcopy(backbone).double()(batch.double())
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    used: list[Backbone] = []

    def watched(backbone: Backbone, frames: Tensor) -> Backbone:
        used.append(folded(backbone, frames))
        return used[-1]

    monkeypatch.setattr(representations, "folded", watched)
    found = represent(backbone, digits, rows, statistics, device="cpu")
    assert [norms(network) for network in used] == [0]
    # Standardised outputs of a network with random weights: rounding alone is 1e-4 of the largest.
    assert (
        (found - exact).abs().max() <= 2 * (wanted - exact).abs().max() < 1e-3 * exact.abs().max()
    )
    after = backbone.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
