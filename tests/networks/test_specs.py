"""Names of backbones, what "auto" chooses, what settings mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from selfsight.networks.specs import (
    NAMES,
    BackboneSpec,
    Network,
    choose_backbone,
    known_backbone,
    resolved,
)


def test_names_are_known_or_the_nearest_is_named() -> None:
    outside = ("timm:resnet50.a1_in1k", "transformers:google/vit@main", "torchvision:resnet18.V1")
    for name in ("auto", *NAMES, *outside, "mine.py:build", "some/where/mine.py:make_it"):
        assert known_backbone(name) == name
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        known_backbone("resnt18")
    for name in ("mine.py", "mine.py:", "mine.py:1a", "other:thing"):
        with pytest.raises(ValueError, match=r"file\.py:build"):
            known_backbone(name)


@pytest.mark.parametrize(
    ("size", "device", "name", "stem"),
    [
        (8, "cpu", "resnet_tiny", "cifar"),
        (12, "cuda", "resnet_tiny", "cifar"),
        (13, "cpu", "resnet20", "cifar"),
        (32, "cpu", "resnet20", "cifar"),
        (32, "cuda:1", "resnet18", "cifar"),
        (64, "mps", "resnet20", "cifar"),
        (65, "cpu", "resnet18", "imagenet"),
        (224, "cuda", "resnet18", "imagenet"),
    ],
)
def test_auto_follows_from_size_and_device(size: int, device: str, name: str, stem: str) -> None:
    spec = choose_backbone("auto", Network(), 3, size, device)
    assert (spec.name, spec.network.stem) == (name, stem)
    assert f"chosen for {size} px" in spec.said
    assert spec == choose_backbone("auto", Network(), 3, size, device)


def test_a_spec_leaves_nothing_open() -> None:
    spec = choose_backbone("resnet50", Network(), 3, 96)
    assert spec.network == Network(
        widths=(64, 128, 256, 512),
        depths=(3, 4, 6, 3),
        stem="imagenet",
        block="bottleneck",
        shortcut="projection",
        stem_padding=3,
    )
    assert "2,048 features" in spec.said
    spec = choose_backbone("vit_small", Network(), 1, 96)
    assert spec.network == Network(
        widths=(384,), depths=(12,), patch_size=8, positions="learned", heads=6
    )
    assert "from 1 channel." in spec.said
    again, _ = resolved(spec.name, spec.network, 96)
    assert again == spec.network
    assert BackboneSpec(**spec.plain()) == spec


def test_settings_override_the_named_network() -> None:
    network = Network(widths=(8, 16, 32), depths=(1, 2, 3), block="bottleneck", stem="imagenet")
    spec = choose_backbone("resnet18", network, 3, 32)
    assert spec.network == network.updated({"shortcut": "projection", "stem_padding": 3})
    assert "128 features" in spec.said
    assert choose_backbone("vit_tiny", Network(patch_size=2), 3, 32).network.patch_size == 2


@pytest.mark.parametrize(
    ("name", "network", "message"),
    [
        ("resnet18", Network(patch_size=4), "network.patch_size means nothing"),
        ("vit_tiny", Network(stem="cifar"), "network.stem means nothing"),
        ("mine.py:build", Network(widths=(8,)), "network.widths means nothing"),
        (
            "resnet18",
            Network(widths=(8, 16)),
            "--network.widths has 2 numbers and --network.depths 4",
        ),
        ("resnet20", Network(widths=(64, 32, 16)), "'projection'"),
        ("vit_tiny", Network(widths=(64, 64)), "one number each"),
        ("vit_tiny", Network(widths=(100,)), "multiple of 32"),
        ("vit_tiny", Network(heads=5), "heads 5 do not divide"),
        ("resnet18", Network(class_token=False), "network.class_token means nothing"),
        ("efficientnet_lite0", Network(widths=(8, 8)), "seven numbers each"),
        ("timm:resnet18", Network(widths=(8,)), "network.widths means nothing"),
        ("vit_tiny", Network(patch_size=64), "larger than the images"),
    ],
)
def test_settings_that_make_no_network_are_refused(
    name: str, network: Network, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        choose_backbone(name, network, 3, 32)


@pytest.mark.parametrize(
    "values", [{"widths": ()}, {"widths": (0,)}, {"depths": (0,)}, {"patch_size": 0}]
)
def test_values_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Network(**values)


def test_a_file_is_remembered_wherever_it_is_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = choose_backbone("mine.py:build", Network(), 3, 32)
    assert spec.name == f"{tmp_path.resolve()}/mine.py:build"
