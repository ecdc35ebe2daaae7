"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selfsight.data.imageset import ImageSet

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the repository; the test is skipped where it is absent."""
    folder = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real images of ../shared/data are not here")
    return folder.resolve()


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    """The digits of scikit-learn in their splits."""
    from selfsight.data.request import open_images

    return open_images("digits")


@pytest.fixture(scope="session")
def digits_run(digits: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over the digits without a training: a small network, weights of a seed."""
    import torch

    from selfsight.data.statistics import channel_statistics
    from selfsight.files import write_text
    from selfsight.networks.backbones import Network, build_backbone, choose_backbone, save_backbone
    from selfsight.runs.folder import RunFolder
    from selfsight.training.run_files import write_environment, write_splits

    folder = RunFolder(tmp_path_factory.mktemp("runs") / "digits-simclr")
    statistics = channel_statistics(digits, digits.pool)
    network = Network(widths=(8, 16), depths=(1, 1))
    backbone = build_backbone(choose_backbone("resnet20", network, 1, 8), seed=3)
    folder.path.mkdir()
    extra = {"statistics": {"mean": list(statistics.mean), "std": list(statistics.std)}}
    save_backbone(folder.backbone, backbone, extra)
    write_text(folder.settings, "data: digits\nseed: 0\nmethod:\n  name: simclr\n")
    write_splits(folder.splits, digits, digits.targets["digit"])
    write_environment(folder, digits, torch.device("cpu"), [])
    return folder.path
