"""What "auto" picks, that it says so, and that it can be overridden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from selfsight.data.imageset import ImageSet
from selfsight.training import device as machine
from selfsight.training.device import choose_device, choose_speed, missing_compiler
from selfsight.training.plan import prepare
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import Pretrain

CPU = torch.device("cpu")


def images() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 16, 16, 3)).astype(np.uint8)
    ids = np.array([f"{i}.png" for i in range(32)])
    return ImageSet("made", pixels, ids, np.full(32, "train"))


def settings(tmp_path: Path, **changes: object) -> Pretrain:
    base = Pretrain.model_validate({"method": "simclr", "data": "made"})
    tiny = {"out": str(tmp_path / "run"), "batch_size": 16, "epochs": 1, "monitor_images": 0}
    return base.updated({**tiny, "device": "cpu", **changes})


@pytest.mark.parametrize(("fast", "picked"), [(True, "bf16"), (False, "fp32")])
def test_precision_follows_the_processor(
    fast: bool, picked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "fast_bf16", lambda device: fast)
    speed = choose_speed(CPU)
    assert speed.precision == picked
    assert picked in speed.said and "not compiled" in speed.said
    assert ("no bf16 products" in speed.said) == (not fast)


def test_all_of_it_can_be_overridden(tmp_path: Path) -> None:
    asked = {"precision": "fp32", "memory_format": "contiguous", "compile": "off"}
    plan = prepare(settings(tmp_path, **asked), images())
    plain = plan.settings.plain()
    assert {name: plain[name] for name in asked} == asked
    (said,) = [note for note in plan.notes if note.startswith("On cpu")]
    assert "fp32 (asked for)" in said and "contiguous" in said and "not compiled" in said


def test_the_memory_format_reaches_the_weights(tmp_path: Path) -> None:
    from selfsight.training.pretrain import build

    for form, last in (("auto", True), ("contiguous", False)):
        method = build(prepare(settings(tmp_path, memory_format=form), images()))
        weight = next(p for p in method.backbone.parameters() if p.ndim == 4 and p.shape[2] > 1)
        assert weight.is_contiguous(memory_format=torch.channels_last) == last
        assert method.backbone.channels_last == last


def test_without_a_compiler_nothing_is_compiled_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler" in missing_compiler(CPU)
    run = pretrain(settings(tmp_path, compile="on"), images())
    assert run.folder.read_settings()["compile"] == "off"
    assert capsys.readouterr().err.count("no-such-compiler") == 1


def test_with_one_it_compiles_where_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert choose_speed(CPU, compiled="on").compile == "on"
    assert choose_speed(CPU).compile == "off"


def test_a_vit_has_no_memory_format_to_choose() -> None:
    speed = choose_speed(CPU, convolutions=False)
    assert speed.memory_format == "contiguous" and "contiguous" not in speed.said


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("auto", "cuda"),
        ("gpu", "cuda"),
        ("GPU", "cuda"),
        (" cuda ", "cuda"),
        ("cuda:1", "cuda:1"),
        ("gpu:0", "cuda:0"),
        ("cpu", "cpu"),
    ],
)
def test_a_name_means_one_device(name: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device(name) == torch.device(device)


@pytest.mark.parametrize("name", ["tpu", "mps", "cuda:", "cuda:x", "gpu1", "", "cuda:-1"])
def test_what_is_no_device_is_one_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=f"^device {name!r}: choose auto, cpu, cuda"):
        choose_device(name)


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="no such GPU here, only cuda:0 to cuda:1"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == CPU
    with pytest.raises(ValueError, match="torch finds no CUDA GPU here; leave --device out"):
        choose_device("gpu")
