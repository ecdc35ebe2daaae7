"""Residual networks: sizes, counts, keys and starting weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from selfsight.networks.resnet import PLANS, Block, Projection, ResNet, ResNetPlan, check_plan


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def make(name: str, channels: int = 3, stem: str = "cifar") -> ResNet:
    with torch.device("meta"):
        return ResNet(channels, PLANS[name], stem)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "stem", "expected"),
    [
        # torchvision's counts less their `fc` (512 or 2048 inputs, 1000 outputs).
        ("resnet18", "imagenet", 11_689_512 - 513_000),
        ("resnet34", "imagenet", 21_797_672 - 513_000),
        ("resnet50", "imagenet", 25_557_032 - 2_049_000),
        # The 3x3 stem has 64 * 3 * (49 - 9) fewer.
        ("resnet18", "cifar", 11_689_512 - 513_000 - 7_680),
        # He et al. give 0.27 M; by hand: convolutions and two numbers a normalised channel.
        (
            "resnet20",
            "cifar",
            9 * (3 * 16 + 6 * 16**2 + 16 * 32 + 5 * 32**2 + 32 * 64 + 5 * 64**2)
            + 2 * (7 * 16 + 6 * 32 + 6 * 64),
        ),
    ],
)
def test_parameters_are_those_of_the_papers(name: str, stem: str, expected: int) -> None:
    assert parameters(make(name, 3, stem)) == expected


def test_resnet20_has_a_quarter_of_a_million_and_64_features() -> None:
    network = make("resnet20")
    assert round(parameters(network) / 1e6, 2) == 0.27
    assert network.features == 64


def test_resnet15_has_15_convolutions_besides_the_shortcut() -> None:
    network = make("resnet15", 8, "imagenet")
    names = [name for name, part in network.named_modules() if isinstance(part, nn.Conv2d)]
    assert len([name for name in names if "downsample" not in name]) == 15


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("size", [(8, 8), (17, 33), (1, 5)])
def test_any_channels_and_any_size(channels: int, stem: str, size: tuple[int, int]) -> None:
    for block, shortcut in (("basic", "pad"), ("bottleneck", "projection")):
        plan = ResNetPlan((4, 6), (1, 2), block, shortcut)  # type: ignore[arg-type]
        network = ResNet(channels, plan, stem)  # type: ignore[arg-type]
        out = network(torch.randn(3, channels, *size))
        assert out.shape == (3, network.features)
        assert network.features == (6 if block == "basic" else 24)
        out.sum().backward()
        assert all(p.grad is not None for p in network.parameters())


def test_keys_of_resnet18_are_torchvisions() -> None:
    keys = set(make("resnet18", stem="imagenet").state_dict())
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    expected = {"conv1.weight", *(f"bn1.{part}" for part in norm)}
    for layer in range(1, 5):
        for block in range(2):
            place = f"layer{layer}.{block}"
            expected |= {f"{place}.conv{i}.weight" for i in (1, 2)}
            expected |= {f"{place}.bn{i}.{part}" for i in (1, 2) for part in norm}
        if layer > 1:
            place = f"layer{layer}.0.downsample"
            expected |= {f"{place}.0.weight", *(f"{place}.1.{part}" for part in norm)}
    assert keys == expected


def test_keys_of_resnet50_name_the_third_convolution_and_the_first_projection() -> None:
    state = make("resnet50", stem="imagenet").state_dict()
    assert state["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert state["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1)
    assert state["layer2.0.conv2.weight"].shape == (128, 128, 3, 3)


def test_a_block_adds_its_convolutions_to_its_shortcut() -> None:
    block = Block(4, 4, 1, "basic", "projection")
    x = torch.rand(2, 4, 5, 5)
    assert not torch.equal(block(x), x)
    nn.init.zeros_(block.bn2.weight)
    assert torch.equal(block(x), x)


def test_the_parameter_free_shortcut_takes_every_second_pixel_and_adds_zeros() -> None:
    block = Block(2, 4, 2, "basic", "pad")
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 2, 6, 5)
    out = block(x)
    assert torch.equal(out[:, 1:3], x[:, :, ::2, ::2])
    assert not out[:, [0, 3]].any()


def test_plans_that_make_no_network_are_refused() -> None:
    with pytest.raises(ValueError, match=r"--network.widths has 2 numbers and --network.depths 1"):
        check_plan(ResNetPlan((8, 16), (1,), "basic", "pad"))
    with pytest.raises(ValueError, match="projection"):
        check_plan(ResNetPlan((16, 8), (1, 1), "basic", "pad"))


@pytest.mark.parametrize("inputs", [2, 4, 7, 8])
@pytest.mark.parametrize("form", [torch.channels_last, torch.contiguous_format])
def test_a_strided_projection_of_few_channels_is_the_convolution(
    inputs: int, form: torch.memory_format
) -> None:
    """oneDNN's own gradient of it writes outside its memory on some CPUs."""
    torch.manual_seed(0)
    projection = Projection(inputs, 16, 1, 2, bias=False).double().to(memory_format=form)
    plain = nn.Conv2d(inputs, 16, 1, 2, bias=False).double()
    plain.load_state_dict(projection.state_dict())
    x = torch.randn(3, inputs, 7, 8, dtype=torch.float64).to(memory_format=form)
    projection(x).square().sum().backward()
    plain(x).square().sum().backward()
    torch.testing.assert_close(projection(x), plain(x))
    torch.testing.assert_close(projection.weight.grad, plain.weight.grad)
