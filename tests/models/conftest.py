"""Models of every kind, fitted on the digits by a small network with weights of a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import selfsight
from selfsight.data.imageset import ImageSet, Target
from selfsight.models.predictor import Predictor

Fit = Callable[..., Predictor]


@pytest.fixture(scope="session")
def described(digits: ImageSet) -> ImageSet:
    """The digits with several labels and two numbers beside the class, some unknown."""
    digit = digits.targets["digit"].values
    labels = np.stack([digit % 2 == 0, digit > 6], 1).astype(np.float32)
    labels[::9, 1] = np.nan
    numbers = np.stack([digits.pixels.mean((1, 2, 3)) * 100, digit], 1).astype(np.float32)
    numbers[::7, 0] = np.nan
    targets = {
        "digit": digits.targets["digit"],
        "marks": Target("marks", "labels", labels, ("even", "large")),
        "ink": Target("ink", "number", numbers, ("ink", "value")),
    }
    return replace(digits, targets=targets)


@pytest.fixture(scope="session")
def fit(described: ImageSet, digits_run: Path) -> Fit:
    """``fit(target, out, head_only=...)``."""

    def fitted(target: str, out: Path, **changes: object) -> Predictor:
        return selfsight.finetune(digits_run, described, out=out, target=target, **changes)

    return fitted
