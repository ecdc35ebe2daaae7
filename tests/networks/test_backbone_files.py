"""Weights on disk: what comes back, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbone_files import load_backbone, save_backbone
from selfsight.networks.backbones import Backbone
from selfsight.networks.specs import Network, choose_backbone
from selfsight.networks.weights import metadata_of, read_weights

SMALL = {
    "resnet20": Network(widths=(8, 16), depths=(1, 1)),
    "vit_tiny": Network(widths=(32,), depths=(2,), positions="fixed"),
}


def small(name: str = "resnet20") -> Backbone:
    return build_backbone(choose_backbone(name, SMALL[name], 3, 16), seed=0)


def rewritten(path: Path, **changes: Any) -> Path:
    """The file with parts of its header changed."""
    tensors, header = read_weights(path)
    header = {name: value for name, value in (header | changes).items() if value is not ...}
    save_file(tensors, path, metadata=metadata_of(tensors, json.dumps(header)))
    return path


@pytest.mark.parametrize("name", SMALL)
def test_what_is_saved_comes_back(name: str, tmp_path: Path) -> None:
    backbone = small(name)
    backbone.to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 16, 16)
    backbone(images)
    extra = {"mean": [0.1, 0.2], "target": None, "words": "é"}
    path = tmp_path / "backbone.safetensors"
    state = torch.get_rng_state()
    save_backbone(path, backbone, extra)
    again, found = load_backbone(path)
    assert torch.equal(torch.get_rng_state(), state)
    assert found == extra
    assert again.spec == backbone.spec
    assert again.features == backbone.features
    assert all(p.requires_grad for p in again.parameters())
    # The same format again: a convolution's last bit depends on it.
    again.to(memory_format=torch.channels_last)
    assert torch.equal(again.eval()(images), backbone.eval()(images))
    assert set(load_file(path)) == set(backbone.network.state_dict())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_two_saves_are_the_same_bytes(tmp_path: Path) -> None:
    backbone = small()
    for name in "ab":
        save_backbone(tmp_path / name, backbone, {"seed": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_float64_comes_back_as_float64(tmp_path: Path) -> None:
    save_backbone(tmp_path / "b", small().double(), {})
    again, _ = load_backbone(tmp_path / "b")
    assert again(torch.randn(2, 3, 16, 16, dtype=torch.float64)).dtype == torch.float64


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "b"
    save_backbone(path, small(), {})
    before = path.read_bytes()
    with pytest.raises(ValueError):
        save_backbone(path, small(), {"loss": float("nan")})
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "b.safetensors"
    with pytest.raises(ValueError, match=r"b\.safetensors: there is no such file"):
        load_backbone(path)
    save_backbone(path, small(), {})
    content = path.read_bytes()
    for damaged in (b"", content[:40], content[:-8], b"\xff" * 200):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"b\.safetensors is not a whole safetensors file"):
            load_backbone(path)
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="selfsight did not write this file"):
        load_backbone(path)
    save_file({"w": torch.zeros(2)}, path, metadata=metadata_of({"w": torch.zeros(2)}, "{"))
    with pytest.raises(ValueError, match=r"b\.safetensors: its header is not valid JSON"):
        load_backbone(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": ...},
        {"spec": 3},
        {"features": "many"},
        {"extra": [1]},
        {"spec": {"name": "resnet20", "channels": 0, "image_size": 16}},
        {"spec": {"name": "resnet20", "channels": 3, "image_size": 16, "more": 1}},
    ],
)
def test_headers_are_checked(changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "b"
    save_backbone(path, small(), {})
    with pytest.raises(ValueError, match="header is not valid"):
        load_backbone(rewritten(path, **changes))


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "b"
    backbone = small()
    save_backbone(path, backbone, {})
    tensors, header = read_weights(path)
    for name, value, message in (
        ("conv1.weight", None, "it lacks 'conv1.weight'"),
        ("more", torch.zeros(1), "it has 'more', which the network does not know"),
        ("conv1.weight", torch.zeros(8, 1, 3, 3), r"'conv1.weight' is \(8, 1, 3, 3\) in the file"),
        ("conv1.weight", tensors["conv1.weight"].long(), "'conv1.weight' is torch.int64"),
    ):
        changed = {**tensors, name: value}
        given = {k: v for k, v in changed.items() if v is not None}
        save_file(given, path, metadata=metadata_of(given, json.dumps(header)))
        with pytest.raises(ValueError, match=message):
            load_backbone(path)
    save_backbone(path, backbone, {})
    with pytest.raises(ValueError, match="its header says 5 features"):
        load_backbone(rewritten(path, features=5))


def test_a_huge_network_in_a_header_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "b"
    save_backbone(path, small(), {})
    wide = {"widths": [65536], "depths": [1], "block": "basic"}
    spec = {"name": "resnet18", "channels": 3, "image_size": 16, "network": wide}
    with pytest.raises(ValueError, match="does not fit its network"):
        load_backbone(rewritten(path, spec=spec))


def test_no_code_is_run_without_leave(tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "import pathlib\n"
        "from torch import nn\n"
        "pathlib.Path(__file__).with_name('ran').touch()\n"
        "def build(channels):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 16, 5))\n",
        encoding="utf-8",
    )
    backbone = build_backbone(choose_backbone(f"{code}:build", Network(), 3, 4))
    save_backbone(tmp_path / "b", backbone, {})
    (tmp_path / "ran").unlink()
    with pytest.raises(ValueError, match="--allow-code"):
        load_backbone(tmp_path / "b")
    assert not (tmp_path / "ran").exists()
    again, _ = load_backbone(tmp_path / "b", allow_code=True)
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(again(images), backbone(images))


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    def module() -> nn.Sequential:
        first, second = nn.Linear(48, 48, bias=False), nn.Linear(48, 48, bias=False)
        second.weight = first.weight
        return nn.Sequential(nn.Flatten(), first, second)

    backbone = Backbone.of(module(), 3, 4)
    save_backbone(tmp_path / "b", backbone, {})
    again, _ = load_backbone(tmp_path / "b", module=module())
    assert again.network[1].weight is again.network[2].weight
    assert torch.equal(again.network[1].weight, backbone.network[1].weight)


def test_a_wrapped_module_is_given_again(tmp_path: Path) -> None:
    def module() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(48, 5))

    backbone = Backbone.of(module(), 3, 4)
    save_backbone(tmp_path / "b", backbone, {})
    with pytest.raises(ValueError, match="module:Sequential"):
        load_backbone(tmp_path / "b")
    again, _ = load_backbone(tmp_path / "b", module=module())
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(again(images), backbone(images))
