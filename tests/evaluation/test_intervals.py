from __future__ import annotations

import numpy as np
import pytest

from selfsight.evaluation.intervals import Interval, bootstrap_weights, interval


def _covered(
    runs: int, *, draws: int, groups: int, of_draw: float, of_group: float, of_both: float
) -> float:
    """How often the interval holds the true difference 0.3, of a crossed random model.

    A score is the mean over test rows of ``0.3 + draw + group + noise of both``.
    """
    random = np.random.default_rng(0)
    hits = 0
    for run in range(runs):
        row_groups = np.repeat(np.arange(groups), 2)
        weights = bootstrap_weights(row_groups, replicates=100, seed=run)
        effect = of_draw * random.normal(size=(draws, 1)) + of_group * random.normal(size=groups)
        effect = effect + of_both * random.normal(size=(draws, groups))
        rows = 0.3 + np.repeat(effect, 2, axis=1) + 0.1 * random.normal(size=(draws, 2 * groups))
        scores = rows @ weights.T / weights.sum(1)
        found = interval(scores, groups)
        hits += found.low <= 0.3 <= found.high
    return hits / runs


CASES = [
    {"draws": 5, "groups": 100, "of_draw": 0.3, "of_group": 0.0, "of_both": 0.5},
    {"draws": 5, "groups": 100, "of_draw": 0.1, "of_group": 1.0, "of_both": 0.5},
    {"draws": 5, "groups": 100, "of_draw": 0.05, "of_group": 0.5, "of_both": 1.0},
    {"draws": 1, "groups": 60, "of_draw": 0.0, "of_group": 1.0, "of_both": 0.0},
    {"draws": 10, "groups": 40, "of_draw": 0.2, "of_group": 1.0, "of_both": 0.5},
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_intervals_cover(case: dict[str, float]) -> None:
    assert 0.93 <= _covered(1000, **case) <= 0.97  # type: ignore[arg-type]


def test_intervals_cover_roughly() -> None:
    assert 0.90 <= _covered(150, **CASES[1]) <= 0.99  # type: ignore[arg-type]


def test_a_percentile_bootstrap_of_five_draws_would_not_cover() -> None:
    """The control: what the interval is for."""
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(500):
        values = random.normal(size=5)
        means = values[random.integers(0, 5, (500, 5))].mean(1)
        low, high = np.quantile(means, [0.025, 0.975])
        hits += low <= 0 <= high
    assert hits / 500 < 0.88


def test_weights_keep_groups_whole() -> None:
    weights = bootstrap_weights(np.array([3, 3, 7, 7, 9]), replicates=50)
    assert weights.shape == (51, 5)
    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 3]).all()
    assert (weights[1:, [0, 2, 4]].sum(1) == 3).all()


def test_verdicts() -> None:
    assert Interval(0.2, 0.1, 0.3).verdict() == "better"
    assert Interval(-0.2, -0.3, -0.1).verdict() == "worse"
    assert Interval(0.1, -0.1, 0.3).verdict() == "no better than the control"
    assert Interval(-0.2, -0.3, -0.1).verdict(higher_is_better=False) == "better"


def test_without_any_spread_the_interval_is_the_mean() -> None:
    found = interval(np.full((5, 11), 0.5), 30)
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)
