"""Few of the digits, for tests that evaluate them again and again."""

from __future__ import annotations

import numpy as np
import pytest

from selfsight.data.imageset import ImageSet
from selfsight.data.request import open_images


@pytest.fixture(scope="session")
def all_digits() -> ImageSet:
    return open_images("digits")


@pytest.fixture(scope="session")
def digits(all_digits: ImageSet) -> ImageSet:
    """The first 500, in their splits."""
    return all_digits.take(np.arange(500))
