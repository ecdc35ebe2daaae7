"""A published network teaches a small one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from selfsight.draws import keys_of
from selfsight.method import Batch
from selfsight.methods.distill import Distill, find_teacher
from selfsight.networks.architectures import build_backbone
from selfsight.networks.backbone_files import save_backbone
from selfsight.networks.published.find import is_installed
from selfsight.networks.specs import Network, choose_backbone
from selfsight.runs.run import load_run
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import Pretrain

SMALL = Network(widths=(8, 16), depths=(1, 1), block="basic", stem="cifar")


def pictures(folder: Path, count: int = 24, side: int = 48) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    np.save(folder / "pictures.npy", values)
    return folder / "pictures.npy"


def teacher_file(folder: Path) -> Path:
    spec = choose_backbone("resnet18", SMALL, 3, 48)
    path = folder / "teacher" / "backbone.safetensors"
    path.parent.mkdir()
    own = {"statistics": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}
    save_backbone(path, build_backbone(spec, seed=3), own)
    return path


def test_a_student_learns_what_its_teacher_gives(tmp_path: Path) -> None:
    path = teacher_file(tmp_path)
    student = build_backbone(choose_backbone("resnet18", SMALL, 3, 48), seed=0)
    torch.manual_seed(0)
    method = Distill(Distill.Settings(teacher=str(path.parent), projector=()), student)
    before = {key: value.clone() for key, value in method.teacher.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=3e-3)
    view = torch.randn(32, 3, 24, 24)
    batch = Batch([view], torch.zeros(32), keys_of(0, 0, torch.arange(32)), torch.tensor(0.0))
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = method(batch).losses["loss"]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 0.9 and losses[-1] < 0.5 < method.chance_loss(32)
    # The teacher moved in nothing, its statistics included.
    after = method.teacher.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert not any(part.training for part in method.teacher.network.modules())


@pytest.mark.parametrize("kind", ["run", "file"])
def test_views_are_normalised_as_the_teacher_was_trained(kind: str, tmp_path: Path) -> None:
    path = teacher_file(tmp_path)
    settings = Pretrain(
        data=str(pictures(tmp_path)),
        method={"name": "distill", "teacher": str(path.parent if kind == "run" else path)},
        backbone="resnet20",
        weights="none",
        steps=2,
        batch_size=8,
        out=str(tmp_path / "run"),
    )
    run = pretrain(settings)
    assert run.statistics.mean == (0.1, 0.2, 0.3)
    assert any("Normalised as the weights of" in note for note in run.environment["notes"])
    assert run.spec.name == "resnet20"
    # The same command again finds it finished; the settings that were kept plan the same.
    assert pretrain(settings).statistics == run.statistics
    again = pretrain(settings.updated({"out": str(tmp_path / "other"), "normalise": "half"}))
    assert again.statistics.mean == (0.5, 0.5, 0.5)
    assert load_run(tmp_path / "run").method == "distill"


def test_the_installed_weights_teach(tmp_path: Path) -> None:
    if not is_installed():
        pytest.skip("the package of the published start is not installed")
    for channels, mean in ((3, (0.5, 0.5, 0.5)), (1, (0.5,))):
        teacher = find_teacher("efficientnet_lite0", channels, 48)
        assert teacher.statistics is not None and teacher.statistics.mean == mean
        assert teacher.backbone.spec.channels == channels
    student = find_teacher("efficientnet_lite0", 3, 48).backbone
    with pytest.raises(ValueError, match=r"same weights; give a smaller --backbone"):
        Distill(Distill.Settings(), student)


def test_a_teacher_that_is_not_there(tmp_path: Path) -> None:
    options = {"data": str(pictures(tmp_path)), "out": str(tmp_path / "run"), "weights": "none"}
    for name, sentence in (
        ("resnet1000", r"no such file or run; give efficientnet_lite0.*finished run"),
        (str(tmp_path), r"no such file or run"),
    ):
        settings = Pretrain(**options, method={"name": "distill", "teacher": name})
        with pytest.raises(ValueError, match=sentence):
            pretrain(settings)
    assert not (tmp_path / "run").exists()
    grey = pictures(tmp_path)
    np.save(grey, np.load(grey)[..., :1])
    path = teacher_file(tmp_path)
    settings = Pretrain(**options, method={"name": "distill", "teacher": str(path.parent)})
    with pytest.raises(ValueError, match=r"takes 3 channels and the images have 1"):
        pretrain(settings)
