"""State dicts: names and shapes are those of the libraries' own networks."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import selfsight
from selfsight.cli import main
from selfsight.exporting.graph import Source
from selfsight.exporting.state_dicts import state_dict_for
from selfsight.fitting.head import Head, Shape
from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbones import Backbone
from selfsight.networks.specs import Network, choose_backbone

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("exported_networks", HERE / "networks.py")
assert _spec is not None and _spec.loader is not None
networks: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(networks)


@pytest.mark.parametrize("library", networks.LIBRARIES)
@pytest.mark.parametrize(("name", "head"), networks.CASES)
def test_names_and_shapes_are_the_librarys(name: str, head: bool, library: Any) -> None:
    """``record_names.py`` has loaded them strictly and compared the outputs."""
    recorded = json.loads((HERE / "names" / f"{library}.json").read_text())
    state, _ = state_dict_for(networks.source_of(name, head=head), library)
    expected = recorded[name if head else f"{name} without head"]
    assert {key: list(value.shape) for key, value in state.items()} == expected


def test_the_classifier_holds_the_whole_head() -> None:
    source = networks.source_of("resnet18", head=True)
    state, _ = state_dict_for(source, "torchvision")
    features = torch.randn(4, 512)
    logits = features @ state["fc.weight"].T + state["fc.bias"]
    torch.testing.assert_close(logits, source.predictor.head.raw(features), rtol=1e-4, atol=1e-5)


def _changed(source: Source, backbone: Backbone) -> Source:
    frame = source.frame.updated({"channels": backbone.spec.channels})
    return replace(source, backbone=backbone, frame=frame, predictor=None)


def test_networks_that_no_library_has_are_said() -> None:
    source = networks.source_of("resnet18", head=True)
    small = build_backbone(choose_backbone("resnet20", Network(), 3, 64))
    with pytest.raises(ValueError, match="export it with --format onnx"):
        state_dict_for(_changed(source, small), "timm")
    own = Backbone.of(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 4)), 3, 4)
    with pytest.raises(ValueError, match="code of your own"):
        state_dict_for(_changed(source, own), "timm")
    vit = build_backbone(choose_backbone("vit_tiny", Network(depths=(1,), patch_size=7), 3, 64))
    with pytest.raises(ValueError, match="whole patches"):
        state_dict_for(_changed(source, vit), "timm")
    deep = replace(source.predictor, head=Head("class", 512, 5, Shape(widths=(8,))))
    with pytest.raises(ValueError, match="its head is an MLP"):
        state_dict_for(replace(source, predictor=deep), "timm")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_the_file(
    wide_run: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"state{suffix}"
    words = ["export", str(wide_run), "--format", "torchvision", "--out", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "model.load_state_dict(" in printed and "strict=True" in printed
    safe = suffix == ".safetensors"
    state = load_file(out) if safe else torch.load(out, weights_only=True)
    for key, value in selfsight.load(wide_run).network.state_dict().items():
        assert torch.equal(state[key], value)
    if safe:
        with safe_open(out, "pt") as file:
            about = json.loads(file.metadata()["selfsight"])
        assert about["value_of_1"] == 255
        assert len(about["mean"]) == about["channels"] == 1
        assert about["code"] in printed


@pytest.fixture
def wide_run(digits_run: Path, tmp_path: Path) -> Path:
    """The run over digits with the backbone of torchvision's form."""
    from selfsight.networks.backbone_files import load_backbone, save_backbone

    _, extra = load_backbone(digits_run / "backbone.safetensors")
    run = tmp_path / "run"
    run.mkdir()
    for file in digits_run.iterdir():
        if file.is_file():
            (run / file.name).write_bytes(file.read_bytes())
    spec = choose_backbone("resnet18", Network(depths=(1, 1, 1, 1)), 1, 8)
    save_backbone(run / "backbone.safetensors", build_backbone(spec, seed=0), extra)
    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/no/such/run", "--out", "x.onnx"], "/no/such/run"),
        (["RUN", "--out", "x.pkl"], ".onnx"),
        (["RUN", "--out", "x.onnx", "--format", "timm"], ".safetensors or .pth or .pt"),
        (["RUN", "--out", "x.pth", "--format", "timm"], "timm has no network like 'resnet20'"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str],
    said: str,
    digits_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *[str(digits_run) if word == "RUN" else word for word in words]]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed
    assert list(tmp_path.iterdir()) == []
