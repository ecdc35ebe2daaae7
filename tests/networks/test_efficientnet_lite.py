"""EfficientNet-Lite: TensorFlow's padding, stages, and the published weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from selfsight.networks.architectures import build_backbone
from selfsight.networks.efficientnet_lite import EPS, PLANS, EfficientNetLite, SameConv2d
from selfsight.networks.published.find import find_start
from selfsight.networks.published.packages import PACKAGES
from selfsight.networks.specs import Network, choose_backbone

SMALL = Network(widths=(8,) * 7, depths=(1, 2, 1, 2, 1, 1, 1))


@pytest.mark.parametrize(("kernel", "side"), [(3, 8), (3, 9), (5, 8), (5, 9), (5, 2)])
def test_same_padding_is_tensorflows(kernel: int, side: int) -> None:
    """``out = ceil(side / 2)``; of an odd number of zeros one more goes right and below."""
    conv = SameConv2d(2, 3, kernel, 2, bias=False)
    images = torch.randn(1, 2, side, side)
    out = -(-side // 2)
    total = max((out - 1) * 2 + kernel - side, 0)
    padded = torch.zeros(1, 2, side + total, side + total)
    first = total // 2
    padded[:, :, first : first + side, first : first + side] = images
    expected = F.conv2d(padded, conv.weight, stride=2)
    assert expected.shape[2] == out
    torch.testing.assert_close(conv(images), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("sides", [(16, 16), (15, 15), (16, 15), (7, 12), (2, 3)])
def test_without_gradients_the_padding_is_in_the_kernel(
    kernel: int, sides: tuple[int, int]
) -> None:
    layer = SameConv2d(6, 6, kernel, 2, groups=6, bias=False).double()
    images = torch.randn(2, 6, *sides, dtype=torch.float64)
    with torch.no_grad():
        looking = layer(images)
    learning = layer(images)
    assert learning.requires_grad
    torch.testing.assert_close(looking, learning.detach(), rtol=0.0, atol=1e-12)


def test_normalisations_have_tensorflows_epsilon() -> None:
    network = build_backbone(choose_backbone("efficientnet_lite0", SMALL, 3, 32), seed=0).network
    norms = [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert norms
    assert {part.eps for part in norms} == {EPS}


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("side", [33, 64])
def test_stages(channels: int, side: int) -> None:
    backbone = build_backbone(choose_backbone("efficientnet_lite0", SMALL, channels, side), seed=0)
    images = torch.randn(2, channels, side, side)
    with torch.no_grad():
        network = backbone.eval().network
        assert isinstance(network, EfficientNetLite)
        maps = network.maps(images)
        assert [x.shape[2] for x in maps] == [-(-side // r) for r in (8, 16, 32)]
        poolings = backbone.poolings(images)
        assert torch.equal(poolings[0], backbone(images))
        assert [p.shape[1] for p in poolings] == [1280, 1280, 8, 8, 8, 8]
    early = {id(p) for p in backbone.early()}
    late = [name for name, p in network.named_parameters() if id(p) not in early]
    assert late[0] == "blocks.3.0.conv_pw.weight"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("efficientnet_lite0", 3_371_008),
        ("efficientnet_lite1", 4_135_680),
        ("efficientnet_lite2", 4_811_072),
    ],
)
def test_sizes_are_those_of_the_published_networks(name: str, parameters: int) -> None:
    """timm's of the same names, without a classifier."""
    plan = PLANS[name]
    network = EfficientNetLite(3, plan.widths, plan.depths)
    assert sum(p.numel() for p in network.parameters()) == parameters


# Mean and maximum of what timm 1.0.31's tf_efficientnet_lite0, 1 and 2 give of the images below
# with these weights (difference to ours: 0.0).
KNOWN = {
    "efficientnet_lite0": (0.14747575, 3.9606349),
    "efficientnet_lite1": (0.20729928, 5.6561003),
    "efficientnet_lite2": (0.25379622, 5.8994827),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_published_function(name: str) -> None:
    if PACKAGES[name].path() is None:
        pytest.skip(f"the package {PACKAGES[name].distribution} is not installed")
    start = find_start("published", name, Network(), channels=3, image_size=65)
    ramp = torch.linspace(-1, 1, 65)
    images = torch.stack([ramp.expand(65, 65), ramp[:, None].expand(65, 65), -ramp.expand(65, 65)])
    with torch.no_grad():
        out = start.backbone().eval()(images[None])[0]
    found = (float(out.mean()), float(out.max()))
    assert found == pytest.approx(KNOWN[name], rel=1e-5, abs=1e-5)


def test_timm_has_the_same_function() -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    for name, package in PACKAGES.items():
        if package.path() is None:
            pytest.skip(f"the package {package.distribution} is not installed")
        start = find_start("published", name, Network(), channels=3, image_size=97)
        theirs = timm.create_model(f"tf_{name}", num_classes=0)
        theirs.load_state_dict(dict(start.tensors), strict=True)
        images = torch.randn(2, 3, 97, 64)
        with torch.no_grad():
            ours = start.backbone().eval()(images)
            assert float((ours - theirs.eval()(images)).abs().max()) <= 1e-5
