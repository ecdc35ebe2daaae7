"""Scores of pairs beside scikit-learn and beside plain searches for thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from selfsight.neighbours.verification import (
    best_threshold,
    different_threshold,
    drawn_folds,
    verify,
)


def pairs(count: int = 400, seed: int = 0, apart: float = 1.0) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    same = random.permutation(np.arange(count) % 2 == 0)
    cosines = random.normal(size=count) + apart * same
    return cosines.round(2), same, np.arange(count) % 10  # rounded: some are equal


def test_the_threshold_is_the_best_of_all() -> None:
    cosines, same, _ = pairs()
    chosen = best_threshold(cosines, same)
    every = [((cosines >= t) == same).mean() for t in np.unique(cosines)]
    assert ((cosines >= chosen) == same).mean() == pytest.approx(max(every))


@pytest.mark.parametrize(
    ("cosines", "same", "right"),
    [
        ([0.1, 0.2, 0.3], [True, True, True], 1.0),
        ([0.1, 0.2, 0.3], [False, False, False], 1.0),
        ([0.1, 0.9], [False, True], 1.0),
        ([0.5, 0.5, 0.5], [True, False, True], 2 / 3),  # equal cosines cannot be told apart
    ],
)
def test_thresholds_at_the_edges(cosines: list[float], same: list[bool], right: float) -> None:
    values, truth = np.array(cosines), np.array(same)
    assert ((values >= best_threshold(values, truth)) == truth).mean() == pytest.approx(right)


def test_each_fold_is_scored_at_the_threshold_of_the_others() -> None:
    cosines, same, folds = pairs()
    scores = verify(cosines, same, folds)
    own = []
    for fold in range(10):
        threshold = best_threshold(cosines[folds != fold], same[folds != fold])
        own.append(((cosines[folds == fold] >= threshold) == same[folds == fold]).mean())
    assert scores.accuracy == pytest.approx(np.mean(own))
    assert scores.standard_error == pytest.approx(np.std(own, ddof=1) / np.sqrt(10))
    best = best_threshold(cosines, same)
    assert scores.accuracy <= ((cosines >= best) == same).mean()
    assert scores.auc == pytest.approx(roc_auc_score(same, cosines))
    for point in scores.points:
        taken = cosines >= point.threshold
        assert point.accepted == (taken & same).sum()
        assert point.falsely_accepted == (taken & ~same).sum() <= point.rate * point.different
        lower = cosines >= np.max(cosines[cosines < point.threshold])
        assert (lower & ~same).sum() > point.rate * point.different


def test_a_fold_of_its_own_kind_does_not_help_itself() -> None:
    """Cosines of one fold are shifted: with the threshold of the others it fails."""
    cosines, same, folds = pairs(apart=8.0)
    cosines = np.where(folds == 3, cosines + 20.0, cosines)
    scores = verify(cosines, same, folds)
    assert scores.accuracy == pytest.approx(0.95, abs=0.02)
    shifted = folds == 3
    assert (
        (cosines[shifted] >= best_threshold(cosines[shifted], same[shifted])) == same[shifted]
    ).mean() == 1.0


def test_equal_error_of_two_normal_distributions() -> None:
    from scipy.stats import norm

    random = np.random.default_rng(0)
    same = np.arange(40_000) % 2 == 0
    cosines = random.normal(size=40_000) + 2.0 * same
    scores = verify(cosines, same, np.arange(40_000) // 2 % 10)
    assert scores.equal_error == pytest.approx(norm.cdf(-1.0), abs=0.005)
    assert scores.accuracy == pytest.approx(norm.cdf(1.0), abs=0.01)
    right = verify(same.astype(float), same, np.arange(40_000) // 2 % 10)
    assert right.equal_error == pytest.approx(0.0) and right.accuracy == 1.0


def test_drawn_folds_have_both_kinds() -> None:
    same = np.arange(103) % 3 == 0
    folds = drawn_folds(same, 1)
    assert set(folds) == set(range(10))
    for fold in range(10):
        assert abs(same[folds == fold].mean() - same.mean()) < 0.1
    assert (folds == drawn_folds(same, 1)).all() and (folds != drawn_folds(same, 2)).any()


def test_mistakes() -> None:
    cosines, same, folds = pairs()
    with pytest.raises(ValueError, match="all 400 are 'same'"):
        verify(cosines, np.ones_like(same), folds)
    with pytest.raises(ValueError, match="all in one fold"):
        verify(cosines, same, np.zeros_like(folds))
    with pytest.raises(ValueError, match="at least 10 different"):
        different_threshold(cosines, np.ones_like(same))
