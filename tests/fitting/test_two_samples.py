"""The classifier two-sample test: its error rate, its power, and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from selfsight.fitting.two_samples import _areas, _folds, _kernel, _out_of_fold, compare


def normal(count: int, width: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)) + shift


def test_random_halves_differ_as_rarely_as_is_stated() -> None:
    # Skewed features with a few clusters, and more features than images.
    trials = 200
    called = 0
    for seed in range(trials):
        random = np.random.default_rng(seed)
        x = np.exp(random.normal(size=(60, 80))) + 3 * random.integers(0, 3, (60, 1))
        half = random.permutation(60)
        called += compare(x[half[:25]], x[half[25:]], seed=seed, permutations=99).differ
    assert called <= binom.ppf(0.999, trials, 0.05)
    assert called >= binom.ppf(0.001, trials, 0.05)


def test_units_keep_the_error_rate_where_images_come_in_series() -> None:
    # Twelve images of each of 24 patients, far more alike than those of others.
    trials = 120
    with_units = without = 0
    for seed in range(trials):
        random = np.random.default_rng(seed)
        patients = random.normal(size=(24, 1, 6)) + 0.1 * random.normal(size=(24, 12, 6))
        first, second = patients[:12].reshape(-1, 6), patients[12:].reshape(-1, 6)
        codes = np.repeat(np.arange(24), 12)
        result = compare(first, second, codes[:144], codes[144:], seed=seed, permutations=99)
        with_units += result.differ
        without += compare(first, second, seed=seed, permutations=99).differ
    assert with_units <= binom.ppf(0.999, trials, 0.05)
    assert without > 0.9 * trials  # the control: images as if they were independent


@pytest.mark.parametrize(("shift", "expected"), [(0.3, 0.66), (1.0, 0.92)])
def test_sets_that_differ_are_found_and_measured(shift: float, expected: float) -> None:
    # The best classifier of two normal sets whose means are d apart has an AUC of Phi(d / sqrt 2).
    direction = np.zeros(5)
    direction[0] = 2 * shift
    result = compare(normal(900, 5, 0) + direction, normal(900, 5, 1))
    assert result.differ and result.p == pytest.approx(1 / 400)
    assert result.low < expected < result.high
    assert result.auc == pytest.approx(expected, abs=0.03)
    assert result.high - result.low < 0.06


def test_the_interval_covers_the_area_of_further_images() -> None:
    covered = 0
    for seed in range(60):
        first, second = normal(80, 3, 2 * seed, 0.4), normal(80, 3, 2 * seed + 1)
        result = compare(first, second, seed=seed, permutations=1)
        covered += result.low <= 0.688 <= result.high  # Phi(0.4 sqrt(3) / sqrt 2)
    assert covered >= 50


def test_predictions_are_those_of_ridge_regression() -> None:
    x = np.concatenate([normal(40, 6, 0, 0.4), normal(50, 6, 1)])
    sides = np.repeat([True, False], [40, 50])[:, None]
    folds = _folds(np.arange(90), np.random.default_rng(0))
    scores = _out_of_fold(_kernel(x), sides, folds)[:, 0]
    z = (x - x.mean(0)) / x.std(0) / np.sqrt(6)
    for fold in range(5):
        inside = folds != fold
        y = sides[inside, 0].astype(float)
        model = Ridge(alpha=1.0, fit_intercept=False).fit(z[inside], y - y.mean())
        np.testing.assert_allclose(scores[~inside], model.predict(z[~inside]), atol=1e-9)
    area = roc_auc_score(sides[:, 0], scores)
    assert _areas(scores[:, None], sides)[0] == pytest.approx(area)


def test_edges() -> None:
    x = normal(30, 4, 0)
    for few in (x[:9], x[:0]):
        with pytest.raises(ValueError, match="needs at least 10 in each"):
            compare(few, x)
    with pytest.raises(ValueError, match="second set has 3 independent"):
        compare(x, x, None, np.arange(30) % 3)
    same = compare(np.ones((20, 3)), np.ones((20, 3)), permutations=19)
    assert same.auc == 0.5 and not same.differ  # nothing differs between any two images
    apart = compare(np.zeros((20, 3)), np.ones((20, 3)))
    assert apart.auc == 1.0 and apart.differ and 0.7 < apart.low < apart.high == 1.0
    # The same images on both sides: a copy across folds must not make them seem to differ.
    copies = compare(x, x, np.arange(30), np.arange(30))
    assert not copies.differ
    assert compare(x, x + 1, seed=3) == compare(x, x + 1, seed=3)
