"""Stages of our networks and of others': pooled, early ones, standardised."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbones import Backbone
from selfsight.networks.pooling import StagePooling
from selfsight.networks.specs import Network, choose_backbone
from selfsight.networks.stages import levels

SIZES = {
    "resnet18": Network(widths=(4, 6, 8, 10), depths=(1, 1, 1, 1), stem="imagenet"),
    "vit_tiny": Network(widths=(32,), depths=(5,), patch_size=8),
    "efficientnet_lite0": Network(widths=(8,) * 7, depths=(1,) * 7),
}


def own(name: str) -> Backbone:
    return build_backbone(choose_backbone(name, SIZES[name], 3, 64), seed=0).eval()


class Convolutional(nn.Module):
    """A network of someone else: stages by strided convolutions."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 4, 5, 6, 7, 9)
        self.body = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.ReLU(inplace=True))
                for a, b in itertools.pairwise(widths)
            )
        )
        self.last = nn.Conv2d(9, 11, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.body(images)).mean((2, 3))  # type: ignore[no-any-return]


class ChannelsLast(Convolutional):
    """Its maps are ``(B, H, W, C)``, as those of Swin transformers."""

    def __init__(self) -> None:
        super().__init__()
        for stage in self.body:
            stage.append(Turned())  # type: ignore[operator]
        self.body = nn.Sequential(*(nn.Sequential(Back(), stage) for stage in self.body))

    def forward(self, images: Tensor) -> Tensor:
        x = self.body(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.last(x).mean((2, 3))  # type: ignore[no-any-return]


class Turned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class Back(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


class Tokens(nn.Module):
    """A transformer of someone else."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, 16, 24))
        self.embed = nn.Conv2d(3, 24, 16, 16)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(24, 2, 48, batch_first=True, dropout=0.0) for _ in range(6)
        )

    def forward(self, images: Tensor) -> Tensor:
        x = self.embed(images).flatten(2).transpose(1, 2) + self.place
        for layer in self.layers:
            x = layer(x)
        return x.mean(1)


def test_maps_are_pooled_by_mean_and_maximum() -> None:
    backbone, images = own("resnet18"), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps = backbone.network.maps(images)  # type: ignore[operator]
        assert [tuple(x.shape[1:]) for x in maps] == [(6, 8, 8), (8, 4, 4), (10, 2, 2)]
        found = backbone.poolings(images)
        expected = [p for x in maps[::-1] for p in (x.mean((2, 3)), x.amax((2, 3)))]
        assert torch.equal(found[0], backbone(images))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("changes", [{}, {"registers": 2}, {"class_token": False}])
def test_tokens_of_a_vit(changes: dict[str, object]) -> None:
    network = SIZES["vit_tiny"].updated(changes)
    backbone = build_backbone(choose_backbone("vit_tiny", network, 3, 64), seed=0).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        tokens = backbone.tokens(images)
        found = backbone.poolings(images)
        assert tokens.shape == (2, 65, 32)
        assert torch.equal(found[0], tokens[:, 0])
        assert torch.equal(found[0], backbone(images))
    token = changes.get("class_token", True)
    assert len(found) == 4 + bool(token)
    mean = tokens[:, 1:].mean(1)
    torch.testing.assert_close(found[1 if token else 0], mean)
    assert all(p.shape == (2, 32) for p in found)
    assert not torch.allclose(found[-1], found[0])


@pytest.mark.parametrize("form", ["bf16", "channels_last"])
@pytest.mark.parametrize("name", SIZES)
def test_poolings_in_other_forms(name: str, form: str) -> None:
    backbone, images = own(name), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        plain = backbone.poolings(images)
        setattr(backbone, form, True)
        found = backbone.poolings(images)
    for a, b in zip(found, plain, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.1)


@pytest.mark.parametrize("kind", [Convolutional, ChannelsLast])
def test_maps_of_a_network_of_someone_else(kind: type[nn.Module]) -> None:
    backbone = Backbone.of(kind(), 3, 64).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = backbone.poolings(images)
        assert torch.equal(found[0], backbone(images))
    assert [p.shape[1] for p in found] == [11, 11, 11, 7, 7, 6, 6]
    torch.testing.assert_close(found[1], found[0])
    early = {id(p) for p in backbone.early()}
    late = [n for n, p in backbone.network.named_parameters() if id(p) not in early]
    assert late[0].startswith("body.3.")
    # Other sizes work too, and nothing is left hanging on the network.
    with torch.no_grad():
        backbone.poolings(torch.randn(1, 3, 96, 80))
    assert not any(part._forward_hooks for part in backbone.network.modules())


def test_tokens_of_a_network_of_someone_else() -> None:
    backbone = Backbone.of(Tokens(), 3, 64).eval()
    with torch.no_grad():
        found = backbone.poolings(torch.randn(2, 3, 64, 64))
    assert [p.shape for p in found] == [(2, 24)] * 5
    torch.testing.assert_close(found[1], found[0])
    early = {id(p) for p in backbone.early()}
    late = [n for n, p in backbone.network.named_parameters() if id(p) not in early]
    assert late[0].startswith("layers.2.")
    assert id(backbone.network.place) in early


def test_a_network_without_stages_gives_its_output() -> None:
    backbone = Backbone.of(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 7)), 3, 8).eval()
    with torch.no_grad():
        found = backbone.poolings(torch.randn(2, 3, 8, 8))
    assert [p.shape for p in found] == [(2, 7)]
    assert backbone.early() == []


@pytest.mark.parametrize("name", SIZES)
def test_every_parameter_has_one_level(name: str) -> None:
    network = own(name).network
    found = levels(network)
    ids = [id(p) for level in found for p in level]
    assert len(ids) == len(set(ids)) == len(list(network.parameters()))
    assert len(found) > 4


def test_held_statistics_stay_in_training() -> None:
    backbone = own("resnet18")
    backbone.held = True
    before = backbone.network.state_dict()["bn1.running_mean"].clone()
    backbone.train()
    backbone(torch.randn(4, 3, 64, 64))
    assert torch.equal(backbone.network.state_dict()["bn1.running_mean"], before)
    backbone.held = False
    backbone.train()
    backbone(torch.randn(4, 3, 64, 64))
    assert not torch.equal(backbone.network.state_dict()["bn1.running_mean"], before)


def test_pooled_stages_are_standardised_and_weighted() -> None:
    torch.manual_seed(0)
    pooled = torch.randn(50, 6) * torch.tensor([1.0, 5, 0.1, 2, 0, 3]) + 4
    pooled[3, 1] = torch.nan
    fitted = StagePooling.fitted("stages", (2, 4), pooled)
    out = fitted(pooled)
    good = torch.isfinite(pooled).all(1)
    torch.testing.assert_close(out[good].mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    deviations = out[good].std(0, correction=0)
    expected = torch.tensor([2**-0.5] * 2 + [0.5] * 4)
    expected[4] = 0.0  # it never changes
    torch.testing.assert_close(deviations, expected, rtol=0.02, atol=1e-6)
    assert fitted.features == 6
    mean = StagePooling.fitted("mean", (2, 4), pooled)
    assert mean.features == 2
    torch.testing.assert_close(mean(pooled[:, :2])[good], out[good][:, :2] * 2**0.5)


def test_the_representation_is_what_the_pooling_says() -> None:
    backbone, images = own("efficientnet_lite0"), torch.rand(6, 3, 64, 64)
    with torch.no_grad():
        raw = torch.cat(backbone.poolings(images), 1)
        widths = [p.shape[1] for p in backbone.poolings(images)]
        plain = backbone(images)
        assert torch.equal(plain, raw[:, : widths[0]])
        backbone.pooling = StagePooling.fitted("stages", widths, raw)
        torch.testing.assert_close(backbone(images), backbone.pooling(raw))
        assert backbone(images).shape[1] == backbone.features == sum(widths)
        backbone.pooling = StagePooling.fitted("mean", widths, raw)
        torch.testing.assert_close(backbone(images), backbone.pooling(plain))
        assert backbone.features == backbone.outputs == 1280
        assert torch.equal(backbone.output(images), plain)
        assert torch.isfinite(F.normalize(backbone(images))).all()
