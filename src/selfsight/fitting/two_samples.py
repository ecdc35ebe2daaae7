"""Are two sets of images from one distribution, and how far are they apart? A classifier's answer.

The classifier two-sample test of Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests"
(ICLR 2017): a classifier that tells one set from the other better than chance, on images that it
was not fitted to, shows that the sets differ. Here it is ridge regression of the side on the
standardised features, in five folds, and the statistic is the area under the ROC curve (AUC) of
the predictions out of fold, as in Chakravarti et al. (2023): the chance that an image of the first
set scores higher than one of the second. The p-value comes from permutations of the sides (Phipson
and Smyth, 2010), so the error rate is exact whatever the features are; ridge regression refits all
permutations by one factorisation. The interval of the AUC is DeLong's (1988) with Obuchowski's
(1997) sums over clusters, on the logit scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST = 1000
"""Images of each set that the classifier is fitted to and scored on."""
PERMUTATIONS = 399
FOLDS = 5
RIDGE = 1.0
"""Penalty, where the mean squared length of an image's features is 1."""
MIN_UNITS = 10
"""Images (or groups) that a set must have."""
LEVEL = 0.05
"""Error rate of the test, and 1 - coverage of the interval."""
Array = NDArray[np.float64]
Units = NDArray[np.int64]


@dataclass(frozen=True)
class TwoSamples:
    """How well a classifier tells two sets of images apart.

    Attributes:
        auc: out of fold; 0.5: not at all, 1: always.
        low, high: its 95 % interval, for this classifier and further images.
        p: share of permutations of the sides with an AUC at least as large, from
            ``1 / (permutations + 1)``.
        counts: images of each set that were compared.
        permutations: how many.
    """

    auc: float
    low: float
    high: float
    p: float
    counts: tuple[int, int]
    permutations: int

    @property
    def differ(self) -> bool:
        """Whether the sets differ at the error rate of 5 %."""
        return self.p <= LEVEL


def compare(
    first: Array,
    second: Array,
    first_units: Units | None = None,
    second_units: Units | None = None,
    *,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> TwoSamples:
    """The classifier two-sample test of two sets of features.

    Args:
        first: ``(N, F)``, finite.
        second: ``(M, F)``, finite.
        first_units: ``(N,)`` what belongs together, such as a patient; permutations, folds and the
            interval never cut a unit. None: each image is its own.
        second_units: ``(M,)``; a unit may be in both sets.
        seed: of folds and permutations.
        permutations: how many.

    Raises:
        ValueError: fewer than ten units in a set.
    """
    x = np.concatenate([first, second]).astype(np.float64)
    side = np.repeat([True, False], [len(first), len(second)])
    units = _units(first_units, second_units, len(first), len(second))
    # What is permuted: the images of one unit in one set.
    items = np.unique(2 * units + side, return_inverse=True)[1]
    item_side = np.zeros(items.max(initial=-1) + 1, np.bool_)
    item_side[items] = side
    for count, words in ((item_side.sum(), "first"), ((~item_side).sum(), "second")):
        if count < MIN_UNITS:
            raise ValueError(
                f"the {words} set has {count} independent images (or groups); the comparison needs "
                f"at least {MIN_UNITS} in each."
            )
    random = np.random.default_rng([seed, 23])
    sides = np.stack([item_side] + [random.permutation(item_side) for _ in range(permutations)], 1)
    sides = sides[items]
    scores = _out_of_fold(_kernel(x), sides, _folds(units, random))
    aucs = _areas(scores, sides)
    p = (1 + int((aucs[1:] >= aucs[0] - 1e-12).sum())) / (1 + permutations)
    low, high = _interval(scores[:, 0], side, items)
    return TwoSamples(float(aucs[0]), low, high, p, (len(first), len(second)), permutations)


def _units(first: Units | None, second: Units | None, count: int, other: int) -> Units:
    """``(N + M,)`` codes from 0; an image of no unit (-1, or None) has its own."""
    given = np.concatenate(
        [
            np.full(n, -1) if units is None else units
            for units, n in ((first, count), (second, other))
        ]
    )
    alone = -1 - np.arange(len(given))
    return np.unique(np.where(given < 0, alone, given), return_inverse=True)[1].astype(np.int64)


def _kernel(x: Array) -> Array:
    """``(N, N)`` products of the standardised features, with a mean of 1 on the diagonal."""
    deviation = x.std(0)
    used = deviation > 1e-9 * max(float(deviation.max(initial=0.0)), 1e-30)
    if not used.any():
        return np.zeros((len(x), len(x)))
    z = (x[:, used] - x[:, used].mean(0)) / deviation[used]
    kernel: Array = z @ z.T / z.shape[1]
    return kernel


def _folds(units: Units, random: np.random.Generator) -> NDArray[np.int64]:
    """``(N,)`` fold of each image; drawn without a look at the sides."""
    count = int(units.max()) + 1
    fold_of: NDArray[np.int64] = random.permutation(np.arange(count) % min(FOLDS, count))
    return fold_of[units]


def _out_of_fold(kernel: Array, sides: NDArray[np.bool_], folds: NDArray[np.int64]) -> Array:
    """``(N, P)`` predictions of each column of sides, by ridge regression on the other folds."""
    from scipy.linalg import cho_factor, cho_solve

    scores = np.zeros(sides.shape)
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        known = sides[~held].astype(np.float64)
        inside = kernel[np.ix_(~held, ~held)] + RIDGE * np.eye(int((~held).sum()))
        weights = cho_solve(cho_factor(inside, lower=True), known - known.mean(0))
        scores[held] = kernel[np.ix_(held, ~held)] @ weights
    return scores


def _areas(scores: Array, sides: NDArray[np.bool_]) -> Array:
    """``(P,)`` area under the ROC curve of each column (Mann and Whitney's statistic)."""
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=0)
    first = sides.sum(0)
    area: Array = ((ranks * sides).sum(0) - first * (first + 1) / 2) / (
        first * (len(sides) - first)
    )
    return area


def _interval(scores: Array, side: NDArray[np.bool_], items: Units) -> tuple[float, float]:
    """The 95 % interval of the AUC of predictions ``(N,)``."""
    from scipy.stats import norm, rankdata

    first, second = scores[side], scores[~side]
    n, m = len(first), len(second)
    ranks = rankdata(scores)
    # Share of the other set that an image of the first exceeds, or of the second is exceeded by.
    above = (ranks[side] - rankdata(first)) / m
    below = 1.0 - (ranks[~side] - rankdata(second)) / n
    area = float(above.mean())
    variance = 0.0
    for values, members in ((above, items[side]), (below, items[~side])):
        codes = np.unique(members, return_inverse=True)[1]
        sums = np.bincount(codes, values - area)
        variance += len(sums) / (len(sums) - 1) * float((sums**2).sum()) / len(values) ** 2
    # With perfect scores the variance is 0; the AUC is kept half a pair away from the ends.
    inside = min(max(area, 0.5 / (n * m)), 1 - 0.5 / (n * m))
    error = max(np.sqrt(variance) / (inside * (1 - inside)), 1.0 / np.sqrt(min(n, m)))
    half = float(norm.ppf(1 - LEVEL / 2)) * error
    logit = np.log(inside / (1 - inside))
    low, high = (1 / (1 + np.exp(-(logit + sign * half))) for sign in (-1, 1))
    return float(min(low, area)), float(max(high, area))
