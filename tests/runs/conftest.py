"""Small image files and runs of one epoch on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import selfsight
from selfsight.runs.run import Run

TrainRun = Callable[..., Run]
MakeFile = Callable[..., Path]
NETWORK = {"backbone": "resnet20", "network.widths": (4, 8), "network.depths": (1, 1)}


@pytest.fixture
def quick() -> dict[str, Any]:
    """An evaluation by one probe on all labels, beside one control."""
    return {
        "fractions": (1.0,),
        "probes": ("knn",),
        "controls": ("untrained",),
        "clusters": False,
        "device": "cpu",
    }


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    """``make_file("a", rows, test=rows)``: images 0 to 199 by number; every third is of a class."""
    pixels = np.random.default_rng(0).integers(0, 255, (200, 8, 8, 1)).astype(np.uint8)

    def make(
        name: str, train: Sequence[int], test: Sequence[int] = (), *, labels: bool = True
    ) -> Path:
        arrays: dict[str, Any] = {}
        for split, rows in (("train", list(train)), ("test", list(test))):
            if rows:
                arrays[f"{split}_images"] = pixels[rows]
            if rows and labels:
                arrays[f"{split}_labels"] = np.array(rows) % 3
        np.savez(tmp_path / f"{name}.npz", **arrays)
        return tmp_path / f"{name}.npz"

    return make


@pytest.fixture
def train_run(tmp_path: Path) -> TrainRun:
    """``train_run("a", data, method="supervised", weights=...)``: a training of one epoch."""

    def make(name: str, data: Path, method: str = "simclr", **changes: Any) -> Run:
        network = {} if "weights" in changes else NETWORK
        tiny = {"epochs": 1, "batch_size": 16, "monitor_images": 0, "device": "cpu"}
        settings = {**tiny, **network, **changes}
        return selfsight.pretrain(method, data, out=str(tmp_path / name), settings=settings)

    return make
