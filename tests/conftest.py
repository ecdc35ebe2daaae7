"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selfsight.data.imageset import ImageSet

os.environ.setdefault("HF_HUB_OFFLINE", "1")
RUN = """data: digits
seed: 0
method:
  name: simclr
views:
- {size: 8.0, flip: 0.0}
- {size: 8.0, flip: 0.0, rotation: 15.0}
"""


def pytest_collection_finish() -> None:
    """What was imported so far stays: each training collects garbage when it ends, and need not
    look through the modules of torch again (0.4 s each time).
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def heard_signals() -> Iterator[None]:
    """No signal is ignored, here and in processes that are started: under ``nohup`` and ``&`` some
    are, and what the parent ignores a command ignores, too.
    """
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    ignored = [n for n in usual if signal.getsignal(n) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, usual[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


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
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``make_run(images, path=None, seed=100) -> Path``: a finished run without a training.

    It has a small network with weights of the seed; without a path it lies in a new folder.
    """
    import torch

    from selfsight.data.statistics import channel_statistics
    from selfsight.files import write_text
    from selfsight.networks.architectures import build_backbone
    from selfsight.networks.backbone_files import save_backbone
    from selfsight.networks.specs import Network, choose_backbone
    from selfsight.runs.folder import RunFolder
    from selfsight.training.run_files import write_environment, write_splits

    def make(images: ImageSet, path: Path | None = None, seed: int = 100) -> Path:
        folder = RunFolder(path or tmp_path_factory.mktemp("run"))
        statistics = channel_statistics(images, images.pool)
        network = Network(widths=(8, 16), depths=(1, 1))
        spec = choose_backbone("resnet20", network, images.channels, images.height)
        extra = {"statistics": {"mean": list(statistics.mean), "std": list(statistics.std)}}
        folder.path.mkdir(parents=True, exist_ok=True)
        save_backbone(folder.backbone, build_backbone(spec, seed=seed), extra)
        write_text(folder.settings, RUN)
        write_splits(folder.splits, images, next(iter(images.targets.values()), None))
        write_environment(folder, images, torch.device("cpu"), [])
        return folder.path

    return make


@pytest.fixture(scope="session")
def digits_run(
    digits: ImageSet, make_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished run over the digits without a training."""
    return make_run(digits, tmp_path_factory.mktemp("runs") / "digits-simclr", 3)
