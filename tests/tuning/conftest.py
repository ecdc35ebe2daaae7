"""Finished runs without a training: a small network with weights of a seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from selfsight.data.imageset import ImageSet
from selfsight.data.request import open_images
from selfsight.data.statistics import channel_statistics
from selfsight.files import write_text
from selfsight.networks.backbones import Network, build_backbone, choose_backbone, save_backbone
from selfsight.runs.folder import RunFolder
from selfsight.training.run_files import write_environment, write_splits

MakeRun = Callable[[ImageSet, Path], Path]


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    """The first 400, in their splits."""
    return open_images("digits").take(np.arange(400))


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    def make(images: ImageSet, path: Path) -> Path:
        folder = RunFolder(path)
        statistics = channel_statistics(images, images.pool)
        network = Network(widths=(8, 16), depths=(1, 1))
        spec = choose_backbone("resnet20", network, images.channels, images.height)
        extra = {"statistics": {"mean": list(statistics.mean), "std": list(statistics.std)}}
        folder.path.mkdir(parents=True, exist_ok=True)
        save_backbone(folder.backbone, build_backbone(spec, seed=100), extra)
        write_text(folder.settings, "data: digits\nseed: 0\nmethod:\n  name: simclr\n")
        write_splits(folder.splits, images, next(iter(images.targets.values()), None))
        write_environment(folder, images, torch.device("cpu"), [])
        return folder.path

    return make


@pytest.fixture(scope="session")
def run(make_run: MakeRun, digits: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(digits, tmp_path_factory.mktemp("run") / "run")
