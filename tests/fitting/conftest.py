"""Few of the digits, for tests that train on them."""

from __future__ import annotations

import numpy as np
import pytest

from selfsight.data.imageset import ImageSet
from selfsight.data.request import open_images


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    """The first 500, in their splits."""
    return open_images("digits").take(np.arange(500))
