"""A finished run without a training: a small network with weights of a seed, on the digits."""

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

MakeRun = Callable[..., Path]
SETTINGS = """data: digits
seed: 0
method:
  name: simclr
views:
- {size: 8.0, flip: 0.0}
- {size: 8.0, flip: 0.0, rotation: 15.0}
"""


@pytest.fixture(scope="session")
def all_digits() -> ImageSet:
    return open_images("digits")


@pytest.fixture(scope="session")
def digits(all_digits: ImageSet) -> ImageSet:
    """The first 500, in their splits."""
    return all_digits.take(np.arange(500))


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """``make_run(images, path=None, seed=100) -> Path``: a run folder, a new one without path."""

    def make(images: ImageSet, path: Path | None = None, seed: int = 100) -> Path:
        folder = RunFolder(path or tmp_path_factory.mktemp("run"))
        statistics = channel_statistics(images, images.pool)
        network = Network(widths=(8, 16), depths=(1, 1))
        spec = choose_backbone("resnet20", network, images.channels, images.height)
        extra = {"statistics": {"mean": list(statistics.mean), "std": list(statistics.std)}}
        folder.path.mkdir(parents=True, exist_ok=True)
        save_backbone(folder.backbone, build_backbone(spec, seed=seed), extra)
        write_text(folder.settings, SETTINGS)
        write_splits(folder.splits, images, next(iter(images.targets.values()), None))
        write_environment(folder, images, torch.device("cpu"), [])
        return folder.path

    return make
