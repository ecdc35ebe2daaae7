"""Few of the digits, and a finished run over them without a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selfsight.data.imageset import ImageSet
from selfsight.data.request import open_images


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    """The first 400, in their splits."""
    return open_images("digits").take(np.arange(400))


@pytest.fixture(scope="session")
def run(
    make_run: Callable[..., Path], digits: ImageSet, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return make_run(digits, tmp_path_factory.mktemp("run") / "run")
