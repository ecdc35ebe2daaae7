"""Weightings of the test images: the jackknife of a mean, and groups that stay whole."""

from __future__ import annotations

import numpy as np
import pytest

from selfsight.evaluation.resampling import Resampling


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=50)
    resampling = Resampling.of(np.arange(50))
    scores = resampling.weights @ values / resampling.weights.sum(1)
    assert resampling.variance(scores[1:]) == pytest.approx(values.var(ddof=1) / 50)


def test_weights_keep_groups_whole() -> None:
    small = Resampling.of(np.array([3, 3, 7, 7, 9]))
    assert small.weights.tolist() == [
        [1, 1, 1, 1, 1],
        [0, 0, 1, 1, 1],
        [1, 1, 0, 0, 1],
        [1, 1, 1, 1, 0],
    ]
    large = Resampling.of(np.repeat(np.arange(300), 2))
    assert large.weights.shape == (201, 600) and not large.jackknife
    assert (large.weights[:, ::2] == large.weights[:, 1::2]).all()
    assert (large.weights[:, ::2].sum(1) == 300).all()
