"""Intervals: coverage against simulated test splits, edges, and what gets no verdict."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta
from sklearn.metrics import r2_score

from selfsight.evaluation.intervals import Interval, difference, interval
from selfsight.evaluation.resampling import Resampling

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def coverage() -> object:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import coverage as module  # benchmarks/coverage.py
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


def scored(right: np.ndarray, resampling: Resampling) -> np.ndarray:
    """``(D, 1 + B)`` accuracies of ``(D, M)`` right answers."""
    return right @ resampling.weights.T / resampling.weights.sum(1)


def alone(count: int) -> Resampling:
    return Resampling.of(np.arange(count))


CELLS = [
    (0.5, 1000, 1, 0.0, None, 0.0, None),
    (0.9, 1000, 3, 0.03, None, 0.0, None),
    (0.9, 100, 5, 0.01, None, 0.0, None),
    (0.99, 1000, 1, 0.0, None, 0.0, None),
    (0.99, 10_000, 5, 0.03, None, 0.0, None),
    (0.5, 1000, 3, 0.03, 5, 0.1, None),
    (0.9, 1000, 5, 0.01, 30, 0.5, None),
    (0.9, 1000, 3, 0.03, None, 0.0, 0.0),
    (0.99, 1000, 5, 0.03, None, 0.0, 0.04),
    (0.9, 1000, 3, 0.03, 30, 0.1, 0.04),
    (0.5, 100, 5, 0.01, 10, 0.5, 0.04),
]


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_intervals_cover(cell: tuple[object, ...], coverage: object) -> None:
    found = coverage.measured(coverage.Cell(*cell), 4000, seed=1)  # type: ignore[attr-defined]
    assert found.given > 0.95
    assert 0.93 <= found.covered <= 0.975
    assert found.width <= 1.4


@pytest.mark.parametrize("cell", CELLS[:2] + CELLS[6:8])
def test_intervals_cover_roughly(cell: tuple[object, ...], coverage: object) -> None:
    found = coverage.measured(coverage.Cell(*cell), 400, seed=1)  # type: ignore[attr-defined]
    assert found.covered >= 0.91


def test_errors_that_cluster_in_unseen_groups_get_no_interval(coverage: object) -> None:
    """99 % right in ten groups: one bad group that was not drawn would change everything."""
    cell = coverage.Cell(0.99, 1000, 1, 0.0, 10, 0.5, None)  # type: ignore[attr-defined]
    found = coverage.measured(cell, 400, seed=1)  # type: ignore[attr-defined]
    assert found.given < 0.05 and found.wrong < 0.05


def test_the_simulation_finds_an_interval_that_does_not_cover(
    coverage: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: with the normal quantile, three draws cover far less."""
    from selfsight.evaluation import interval_ends

    monkeypatch.setattr(interval_ends, "quantile", lambda freedom: 1.96)
    cell = coverage.Cell(0.5, 10_000, 3, 0.03, None, 0.0, None)  # type: ignore[attr-defined]
    assert coverage.measured(cell, 1000, seed=1).covered < 0.86  # type: ignore[attr-defined]


@pytest.mark.parametrize("groups", [1, 2])
def test_one_or_two_groups_give_no_interval_and_no_verdict(groups: int) -> None:
    resampling = Resampling.of(np.arange(40) % groups)
    random = np.random.default_rng(0)
    right = (random.random((5, 40)) < 0.8).astype(float)
    scores = scored(right, resampling)
    found = interval(scores, resampling, of_images=True)
    assert found.low is None and found.high is None and found.half is None
    assert found.reason == f"{groups} test group{'s' * (groups > 1)}"
    apart = difference(scores, scored(1 - right, resampling), resampling, of_images=True)
    assert apart.verdict() == "no verdict"


@pytest.mark.parametrize(("right", "what"), [(0.0, "right answers"), (1.0, "errors")])
def test_what_there_is_too_little_of_is_said(right: float, what: str) -> None:
    resampling = Resampling.of(np.arange(40) % 4)
    found = interval(scored(np.full((1, 40), right), resampling), resampling, of_images=True)
    assert found.low is None and found.reason == f"too few {what} for 4 test groups"


def test_few_groups_are_said() -> None:
    resampling = Resampling.of(np.arange(60) % 4)
    right = (np.random.default_rng(0).random((1, 60)) < 0.5).astype(float)
    found = interval(scored(right, resampling), resampling, of_images=True)
    assert found.low is not None and found.reason == "there are only 4 test groups"


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_at_the_ends_a_share_of_images_keeps_inside_and_has_a_width(value: float) -> None:
    resampling = alone(30)
    found = interval(scored(np.full((3, 30), value), resampling), resampling, of_images=True)
    assert found.low is not None and found.high is not None
    assert 0.0 <= found.low <= value <= found.high <= 1.0
    expected = beta.ppf(0.025, 30.5, 0.5)
    assert (found.low if value == 1.0 else 1 - found.high) == pytest.approx(expected)


def test_what_does_not_vary_has_no_interval() -> None:
    resampling = alone(30)
    same = scored(np.ones((3, 30)), resampling)
    assert difference(same, same, resampling, of_images=True).low is None
    assert difference(same, same, resampling).reason == "nothing varies over the test split"
    assert interval(np.full((2, 31), 3.0), resampling).low is None


def test_one_draw_without_groups_is_jeffreys_interval() -> None:
    resampling = alone(100)
    right = np.zeros((1, 100))
    right[0, :37] = 1
    found = interval(scored(right, resampling), resampling, of_images=True)
    # Student's quantile with 99 degrees of freedom and n - 1 make it slightly wider.
    assert found.low == pytest.approx(beta.ppf(0.025, 37.5, 63.5), abs=2e-3)
    assert found.high == pytest.approx(beta.ppf(0.975, 37.5, 63.5), abs=2e-3)


def test_a_metric_that_is_undefined_on_a_resampled_split_has_no_interval() -> None:
    """R2 where one group holds the only other value: without it nothing is left to explain."""
    groups = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    truth = np.array([1.0] * 6 + [2.0] * 3)
    guess = truth + 0.1 * np.arange(9)
    resampling = Resampling.of(groups)
    scores = []
    for weights in resampling.weights:
        kept = weights > 0
        spread = np.ptp(truth[kept])
        scores.append(r2_score(truth[kept], guess[kept]) if spread else np.nan)
    found = interval(np.array([scores]), resampling, bounds=(-np.inf, 1.0))
    assert found.low is None
    assert found.reason == "the metric is undefined on parts of the test split"


def test_the_difference_of_two_shares_is_newcombes_hybrid() -> None:
    """80 images that both have right, 10 and 4 that one has, 6 that none has."""
    pairs = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [80, 10, 4, 6], axis=0).astype(float)
    resampling = alone(100)
    ours, other = (scored(pairs[None, :, side], resampling) for side in (0, 1))
    found = difference(ours, other, resampling, of_images=True)
    parts = []
    for right in (90, 84):
        ends = beta.ppf([0.025, 0.975], right + 0.5, 100 - right + 0.5)
        parts.append((right / 100 - ends[0], ends[1] - right / 100))
    r = np.corrcoef(pairs.T)[0, 1]
    for end, a, b, sign in (
        (found.low, parts[0][0], parts[1][1], -1),
        (found.high, parts[0][1], parts[1][0], 1),
    ):
        assert end == pytest.approx(0.06 + sign * np.sqrt(a**2 + b**2 - 2 * r * a * b), abs=1.5e-3)


@pytest.mark.parametrize(("images", "draws"), [(20, 1), (60, 3), (400, 3)])
def test_a_p_value_is_below_five_percent_where_the_interval_leaves_out_zero(
    images: int, draws: int
) -> None:
    random, resampling = np.random.default_rng(0), alone(images)
    both = set()
    for _ in range(200):
        chance = np.clip(0.93 + 0.05 * random.standard_normal((2, draws, 1)), 0, 1)
        right = (random.random((2, draws, images)) < chance).astype(float)
        ours, other = (scored(each, resampling) for each in right)
        found = difference(ours, other, resampling, of_images=True)
        if found.low is not None and found.high is not None and found.p is not None:
            assert -1 <= found.low <= found.mean <= found.high <= 1
            left_out = not found.low <= 0 <= found.high
            assert (found.p < 0.05) == left_out
            both.add(left_out)
    assert len(both) > (images > 20)


def test_a_few_undefined_bootstrap_replicates_are_left_out() -> None:
    resampling = Resampling.of(np.arange(500))
    assert not resampling.jackknife
    values = np.random.default_rng(0).normal(1.0, 0.1, (1, 201))
    whole = interval(values, resampling)
    values[0, 5] = np.nan
    part = interval(values, resampling)
    assert part.half == pytest.approx(whole.half, rel=0.02)
    values[0, 5:40] = np.nan
    assert interval(values, resampling).low is None


def test_bounds_are_kept() -> None:
    resampling = alone(6)
    values = np.concatenate([[0.9], 0.9 + 0.3 * np.random.default_rng(0).normal(size=6)])[None]
    found = interval(values, resampling, bounds=(-np.inf, 1.0))
    assert found.high == 1.0


def test_training_seeds_are_a_factor() -> None:
    """Seeds that differ widen the interval; with one seed it is conditional on it."""
    resampling = alone(2000)
    random = np.random.default_rng(0)
    accuracy = np.array([0.6, 0.7, 0.8])[:, None, None]
    right = (random.random((3, 5, 2000)) < accuracy).astype(float)
    scores = np.einsum("sdm,bm->sdb", right, resampling.weights) / resampling.weights.sum(1)
    three = interval(scores, resampling, of_images=True)
    one = interval(scores[1], resampling, of_images=True)
    assert three.mean == pytest.approx(0.7, abs=0.02)
    assert three.half is not None and one.half is not None
    # Three seeds with a deviation of 0.1: 4.30 * 0.1 / sqrt(3), pulled inside by the share's form.
    assert 0.15 < three.half < 0.3 and one.half < 0.02


def test_a_control_with_one_seed_is_compared_with_each_of_ours() -> None:
    resampling = alone(400)
    random = np.random.default_rng(0)
    ours = np.einsum(
        "sdm,bm->sdb", (random.random((3, 5, 400)) < 0.8).astype(float), resampling.weights
    ) / resampling.weights.sum(1)
    other = scored((random.random((5, 400)) < 0.6).astype(float), resampling)
    found = difference(ours, other, resampling, of_images=True)
    assert found.mean == pytest.approx(0.2, abs=0.03) and found.verdict() == "better"


@pytest.mark.parametrize(("images", "spread"), [(100, 0.03), (1000, 0.03), (150, 0.0)])
def test_a_lucky_initialisation_is_no_better_than_the_others(images: int, spread: float) -> None:
    """One network of a kind beside five others of it: "better" is as rare as an interval says."""
    random, better, worse = np.random.default_rng(0), 0, 0
    resampling = alone(images)
    for _ in range(400):
        chance = 0.6 + spread * random.standard_normal((6, 1, 1))
        hard = random.random((1, 1, images))  # half of the images are as hard for each network
        own = random.random((6, 1, images))
        shared = np.arange(images) % 2 == 0
        right = (np.where(shared, hard, own) < chance).astype(float)
        scores = right @ resampling.weights.T / resampling.weights.sum(1)
        verdict = difference(scores[:1], scores[1:], resampling, of_images=True).verdict()
        better, worse = better + (verdict == "better"), worse + (verdict == "worse")
    assert better + worse <= 28  # 20 of 400 expected at most, and two standard deviations


def test_verdicts() -> None:
    assert Interval(0.2, 0.1, 0.3).verdict() == "better"
    assert Interval(-0.2, -0.3, -0.1).verdict() == "worse"
    assert Interval(0.1, -0.1, 0.3).verdict() == "no better than the control"
    assert Interval(-0.2, -0.3, -0.1).verdict(higher_is_better=False) == "better"
    assert Interval(0.2, None, None).verdict() == "no verdict"
