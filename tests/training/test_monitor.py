"""What the monitor warns of: collapsed backbones, embeddings and losses; false alarms."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import selfsight
from selfsight.data.imageset import ImageSet, class_target
from selfsight.methods import METHODS
from selfsight.training.monitor import Monitor

SMALL: dict[str, Any] = {
    "backbone": "resnet20",
    "network.widths": (4, 8),
    "network.depths": (1, 1),
}


def images(count: int = 240) -> ImageSet:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(count) % 3
    pixels[labels == 1, :4] //= 4
    pixels[labels == 2, :, :4] //= 4
    splits = np.array((["train"] * 4 + ["validation", "test"]) * (count // 6))
    ids = np.array([f"{i}" for i in range(count)])
    return ImageSet("made", pixels, ids, splits, {"kind": class_target("kind", labels, "abc")})


def train(method: str, out: Path, made: ImageSet | None = None, **options: Any) -> None:
    own = options.pop("settings", {})
    selfsight.pretrain(
        method,
        made or images(),
        out=str(out),
        device="cpu",
        settings={**SMALL, **own},
        **{"epochs": 8, "batch_size": 40, **options},
    )


def test_vicreg_without_variance_and_covariance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The embeddings shrink to a point, whatever the backbone still shows."""
    weights = {"method.variance_weight": 0.0, "method.covariance_weight": 0.0}
    train(
        "vicreg",
        tmp_path / "run",
        epochs=30,
        settings={**weights, "method.projector": (16, 16), "optimizer.lr": 2e-2},
    )
    err = capsys.readouterr().err
    assert "Warning: the embeddings have collapsed" in err
    assert err.count("Warning:") == 1


@pytest.mark.parametrize("method", ["vicreg", "barlow_twins", "simclr"])
def test_a_healthy_training_is_not_warned_of(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(method, tmp_path / "run", settings={"method.projector": (32, 32)})
    err = capsys.readouterr().err
    assert "collapsed" not in err and "look alike" not in err
    assert "before training   kNN on validation" in err


def module(method: str, **state: Any) -> Any:
    kind = METHODS[method]
    made = SimpleNamespace(
        method=SimpleNamespace(
            chance_loss=lambda size: kind.chance_loss(
                SimpleNamespace(settings=kind.example()),  # type: ignore[arg-type]
                size,
            )
        ),
        embeddings=None,
        loader=SimpleNamespace(batch_size=64),
        step=50,
        total_steps=100,
    )
    vars(made).update(state)
    return made


def monitor(start_knn: float | None = None, queries: int = 400) -> Monitor:
    made = Monitor.__new__(Monitor)
    made.start_knn, made.queries = start_knn, np.arange(queries)
    made.start_deviation, made.epochs_at_chance = None, 2
    return made


CHANCE = {"dino": math.log(40), "simclr": math.log(127)}


@pytest.mark.parametrize("method", CHANCE)
def test_a_loss_at_chance(method: str) -> None:
    chance = CHANCE[method]
    warning = monitor().warning(module(method), chance * 1.003, {})
    assert warning is not None and "when all images look alike" in warning
    assert f"{chance:.4g}" in warning and "\n" not in warning
    assert monitor().warning(module(method), chance * 0.9, {}) is None
    assert monitor().warning(module(method, step=10), chance, {}) is None  # it may still begin
    passing = monitor()
    passing.epochs_at_chance = 0
    found = [passing.warning(module(method), loss, {}) for loss in (chance, chance, 1, chance)]
    assert found == [None] * 4  # on its way, not for three epochs in a row
    # Labels show that it learns all the same.
    assert monitor(0.4).warning(module(method), chance, {"knn": 0.7}) is None
    assert monitor(0.4).warning(module(method), chance, {"knn": 0.4}) is not None


@pytest.mark.parametrize("method", ["barlow_twins", "vicreg"])
def test_methods_without_such_a_value_are_not_warned_of_it(method: str) -> None:
    assert monitor().warning(module(method), 3.0, {}) is None


def test_knn_below_that_of_the_start() -> None:
    end = {"step": 100}
    warning = monitor(0.8).warning(module("vicreg", **end), 1.0, {"knn": 0.6})
    assert warning is not None and "60.0 %, below the 80.0 % of before the training" in warning
    assert monitor(0.8).warning(module("vicreg", **end), 1.0, {"knn": 0.78}) is None  # by chance
    assert monitor(0.8).warning(module("vicreg", step=90), 1.0, {"knn": 0.6}) is None
    assert monitor(0.8, queries=6).warning(module("vicreg", **end), 1.0, {"knn": 0.6}) is None


@pytest.mark.parametrize("count", [3, 15])
def test_a_few_images_say_nothing(count: int) -> None:
    alike = torch.ones(count, 8) + 1e-3 * torch.randn(count, 8)
    assert monitor().warning(module("vicreg", embeddings=alike), 1.0, {}) is None
    many = torch.ones(64, 8) + 1e-3 * torch.randn(64, 8)
    warning = monitor().warning(module("vicreg", embeddings=many), 1.0, {})
    assert warning is not None and "embeddings have collapsed" in warning


def test_a_run_on_three_images_is_not_called_collapsed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    splits = np.array(["train", "train", "train", "validation"])
    few = ImageSet("few", pixels, np.array(list("abcd")), splits, {})
    train("simclr", tmp_path / "run", few, batch_size=3, epochs=2)
    err = capsys.readouterr().err
    assert "collapsed" not in err and "epoch 2/2" in err


def test_the_start_is_measured_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that goes on compares with its own start, which the checkpoint holds."""
    train("simclr", tmp_path / "run", epochs=1)
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    (start,) = [
        value["start_knn"] for name, value in state["callbacks"].items() if "Monitor" in name
    ]
    assert f"before training   kNN on validation {100 * start:.1f} %" in capsys.readouterr().err
    again = monitor()
    again.load_state_dict({"start_knn": start, "start_deviation": 0.5})
    assert again.state_dict() == {"start_knn": start, "start_deviation": 0.5}


def test_embeddings_that_shrink_to_a_point() -> None:
    made = monitor()
    made.start_deviation = torch.tensor(1.0)
    for scale, warned in ((0.5, False), (0.05, True)):
        few = module("vicreg", embeddings=scale * torch.randn(64, 8))
        assert (made.warning(few, 1.0, {}) is not None) == warned
