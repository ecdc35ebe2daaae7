"""Batch size and epochs of a training for which the user gives none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import selfsight
from selfsight.training.presets import with_length
from selfsight.training.settings import Pretrain


def length(count: int, **given: Any) -> tuple[int | None, int | None, list[str]]:
    settings = Pretrain.model_validate({"data": "digits", "method": "simclr", **given})
    resolved, notes = with_length(settings, count)
    return resolved.batch_size, resolved.epochs, notes


@pytest.mark.parametrize(
    ("count", "batch"),
    [(2, 2), (7, 2), (8, 2), (15, 2), (16, 4), (100, 16), (256, 64), (1023, 128), (1024, 256)],
)
def test_a_small_set_has_several_steps_an_epoch(count: int, batch: int) -> None:
    found, epochs, notes = length(count)
    assert found == batch and epochs is not None
    assert epochs * (count // batch) >= 1000 or count // batch == 0
    assert bool(notes)


def test_a_large_set_is_left_alone() -> None:
    assert length(50_000) == (256, 100, [])


def test_what_is_given_stays() -> None:
    assert length(100, batch_size=50, epochs=3) == (50, 3, [])
    assert length(100, epochs=3)[:2] == (16, 3)
    assert length(100, batch_size=50)[:2] == (50, 500)


def test_the_paper_never_adapts() -> None:
    assert length(100, preset="paper") == (256, 100, [])


def test_batches_divide_by_the_processes() -> None:
    assert length(100, devices=3)[0] == 15
    assert length(5, devices=2, nodes=2)[0] == 4


def test_twelve_images_train(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (12, 16, 16, 3), np.uint8)
    run = selfsight.pretrain(
        "simclr",
        images,
        out=tmp_path / "run",
        epochs=1,
        settings={"network": {"widths": (4, 8), "depths": (1, 1)}, "backbone": "resnet20"},
    )
    assert run.plain["batch_size"] == 2 and run.plain["epochs"] == 1
