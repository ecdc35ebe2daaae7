"""The verb `pretrain`: what it resolves, writes, warns of and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import selfsight
from selfsight.data.imageset import ImageSet, class_target
from selfsight.methods import METHODS
from selfsight.networks.backbone_files import load_backbone, save_backbone
from selfsight.records.collapse import collapsed
from selfsight.runs.request import own_images
from selfsight.runs.run import load_run
from selfsight.training.plan import prepare
from selfsight.training.settings import Pretrain

TINY: dict[str, Any] = {"batch_size": 16, "epochs": 1, "monitor_images": 30, "device": "cpu"}


def images(count: int = 48, channels: int = 1, dtype: str = "uint8") -> ImageSet:
    generator = np.random.default_rng(0)
    labels = np.arange(count) % 3
    pixels = generator.integers(0, 200, (count, 8, 8, channels)).astype(dtype)
    splits = np.array(["train", "train", "train", "train", "validation", "test"] * (count // 6))
    ids = np.array([f"{i}.png" for i in range(count)])
    return ImageSet("made", pixels, ids, splits, {"kind": class_target("kind", labels, "abc")})


def settings(method: str = "simclr", **changes: Any) -> Pretrain:
    base = Pretrain.model_validate({"method": method, "data": "made"})
    return base.updated({**TINY, **changes})


def test_a_run_folder_is_complete(tmp_path: Path) -> None:
    run = selfsight.pretrain("simclr", images(), out=str(tmp_path / "run"), **TINY)
    names = {path.name for path in run.folder.path.iterdir()}
    assert names == {
        ".lock",
        "settings.yaml",
        "environment.json",
        "splits.parquet",
        "metrics.csv",
        "checkpoints",
        "samples.npz",
        "backbone.safetensors",
    }
    environment = json.loads(run.folder.environment.read_text())
    assert environment["data"]["images"] == 48
    assert environment["data"]["splits"] == {"test": 8, "train": 32, "validation": 8}
    rows = run.folder.read_metrics()
    assert rows["step"] == [2.0]
    assert rows["knn"][0] is not None and 0 <= rows["knn"][0] <= 1
    samples = np.load(run.folder.samples)
    assert {"images", "view_0", "view_1"} == set(samples.files)
    backbone = selfsight.load(tmp_path / "run")
    untrained = run.untrained(0)
    x = torch.randn(2, 1, 8, 8)
    assert backbone(x).shape == (2, backbone.features)
    assert not torch.equal(backbone(x), untrained(x))


def test_pretraining_never_sees_test_or_validation(tmp_path: Path) -> None:
    """Other pixels and labels there leave the weights bit-identical."""
    plain = images()
    held = np.isin(plain.splits, ["validation", "test"])
    pixels = plain.pixels.copy()
    pixels[held] = 255 - pixels[held]
    target = plain.targets["kind"].without(held)
    other = ImageSet("made", pixels, plain.row_ids, plain.splits, {"kind": target})
    runs = [
        selfsight.pretrain("vicreg", one, out=str(tmp_path / str(i)), **TINY)
        for i, one in enumerate([plain, other])
    ]
    a, b = (run.backbone().state_dict() for run in runs)
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_more_pools(tmp_path: Path) -> None:
    np.save(tmp_path / "more.npy", 255 - images(60).pixels)
    plan = prepare(settings(pool=(str(tmp_path / "more.npy"),)), images())
    assert len(plan.parts) == 2
    assert plan.rows > 32 + 40
    assert any("Pretraining also sees" in note for note in plan.notes)


def test_a_pool_with_test_images_stops(tmp_path: Path) -> None:
    np.save(tmp_path / "more.npy", images().pixels)
    with pytest.raises(ValueError, match="validation or test images of made"):
        prepare(settings(pool=(str(tmp_path / "more.npy"),)), images())


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("method", METHODS)
def test_any_channels_with_every_method(method: str, channels: int) -> None:
    plan = prepare(settings(method), images(channels=channels, dtype="float32"))
    assert plan.spec.channels == channels
    assert all(view.size > 1 for view in plan.settings.views or ())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 64}, "batch size 64 is larger than the 32 images"),
        ({"target": "kid"}, "did you mean 'kind'"),
        ({"device": "tpu"}, "device 'tpu'"),
        ({"devices": 3}, "does not divide by 3 processes"),
        ({"backbone": "vit_tiny", "network.widths": (3, 4)}, "width"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_used(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        prepare(settings(**changes), images())


def test_a_setting_that_came_later_had_its_default(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    run = selfsight.pretrain("simclr", images(), out=out, **TINY)
    written = run.folder.settings.read_text()
    older = "".join(
        line for line in written.splitlines(keepends=True) if "backbone_lr_factor" not in line
    )
    assert older != written
    run.folder.settings.write_text(older)
    backbone, extra = load_backbone(run.folder.backbone)
    save_backbone(run.folder.backbone, backbone, {**extra, "files": run.folder.digests()})
    weights = run.folder.backbone.read_bytes()
    assert selfsight.pretrain("simclr", images(), out=out, **TINY).folder.path == run.folder.path
    assert run.folder.backbone.read_bytes() == weights
    run.folder.settings.write_text(older.replace("\nseed: 0", "\nseed: 1"))
    with pytest.raises(ValueError, match=r"other settings \(seed\)"):
        selfsight.pretrain("simclr", images(), out=out, **TINY)


def test_another_training_is_not_overwritten(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    selfsight.pretrain("simclr", images(), out=out, **TINY)
    with pytest.raises(ValueError, match=r"a training of 1 epoch,.*--weights .*run --out ANOTHER"):
        selfsight.pretrain("simclr", images(), out=out, **{**TINY, "epochs": 2})


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path) -> None:
    wild = {**TINY, "epochs": 6, "settings": {"optimizer.lr": 1e30, "optimizer.name": "sgd"}}
    with pytest.raises(ValueError, match="not finite at step"):
        selfsight.pretrain("vicreg", images(), out=str(tmp_path / "run"), **wild)


def test_collapse_is_a_plain_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = images()
    flat = ImageSet("flat", flat.pixels * 0 + 7, flat.row_ids, flat.splits, flat.targets)
    selfsight.pretrain("simclr", flat, out=str(tmp_path / "run"), **TINY)
    assert "have collapsed" in capsys.readouterr().err
    assert not collapsed({})
    assert collapsed({"effective_rank": 1.2, "spread": 0.9})
    assert not collapsed({"effective_rank": 30.0, "spread": 0.9})


def test_changed_data_is_noticed(tmp_path: Path) -> None:
    made = images()
    file = tmp_path / "images.npz"
    np.savez(file, images=made.pixels, kind=made.targets["kind"].values)
    run = selfsight.pretrain("simclr", file, out=str(tmp_path / "run"), **TINY)
    again = own_images(load_run(run.folder.path))
    assert set(again.splits) >= {"train", "test"}
    np.savez(file, images=made.pixels + 1, kind=made.targets["kind"].values)
    with pytest.raises(ValueError, match="not those that"):
        own_images(load_run(run.folder.path))


def test_a_strangers_run_imports_no_code(tmp_path: Path) -> None:
    run = selfsight.pretrain("simclr", images(), out=str(tmp_path / "run"), **TINY)
    mark = tmp_path / "ran"
    method = tmp_path / "bad.py"
    method.write_text(f"open({str(mark)!r}, 'w').write('x')\n")
    text = run.folder.settings.read_text().replace("name: simclr", f"name: {method}")
    run.folder.settings.write_text(text)
    # A stranger signs their own files.
    backbone, extra = load_backbone(run.folder.backbone)
    save_backbone(run.folder.backbone, backbone, {**extra, "files": run.folder.digests()})
    assert load_run(run.folder.path).method == str(method)
    assert not mark.exists()
