"""95 % intervals over label draws and test images, and what they allow to be said.

A score depends on which labels were drawn (D draws) and on which images are in the test split (G
groups of them). Both are taken as random samples, crossed: each draw is scored on the same
images. With ``s2`` the variance over draws, ``b`` the bootstrap variance over test groups of the
mean over draws and ``a`` the mean over draws of each draw's own, the variance of the mean is

    v = s2 / D + b - (a - b) / (D - 1)

(the last term removes what the first two both contain, the interaction of draws and images), and
its degrees of freedom are Satterthwaite's (Biometrics Bulletin 2, 1946): with five draws that
vary, the quantile is near Student's t with four, where a percentile bootstrap of five numbers
would cover 83 %. With one draw only ``b`` is left: the interval then says nothing of another
draw of labels. A seed of pretraining is one draw of what it draws: no interval here covers it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REPLICATES = 200


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2

    def verdict(self, *, higher_is_better: bool = True) -> str:
        """What may be said of a difference trained - control."""
        low, high = (self.low, self.high) if higher_is_better else (-self.high, -self.low)
        if low > 0:
            return "better"
        return "worse" if high < 0 else "no better than the control"


def bootstrap_weights(
    groups: NDArray[np.int64], *, replicates: int = REPLICATES, seed: int = 0
) -> Floats:
    """``(1 + replicates, M)`` weights of the test rows; the first row is ones.

    Args:
        groups: ``(M,)``; whole groups are drawn, with replacement.
        replicates: how many draws.
        seed: of the draws.
    """
    index = np.unique(groups, return_inverse=True)[1]
    count = int(index.max(initial=-1)) + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), replicates)
    return np.concatenate([np.ones((1, len(groups))), draws[:, index].astype(np.float64)])


def interval(scores: Floats, groups: int) -> Interval:
    """The 95 % interval of the mean score.

    Args:
        scores: ``(D, 1 + B)``: each draw of labels, on the test split and on B bootstrap
            replicates of it, the same for each draw.
        groups: G, how many test groups the replicates were drawn from.
    """
    from scipy.stats import t

    values, replicates = scores[:, 0], scores[:, 1:]
    draws = len(values)
    mean = float(values.mean())
    unbias = groups / max(groups - 1, 1)
    of_mean = _variance(replicates.mean(0)) * unbias
    of_draws = float(values.var(ddof=1)) / draws if draws > 1 else 0.0
    shared = 0.0
    if draws > 1:
        of_each = float(np.mean([_variance(row) for row in replicates])) * unbias
        shared = max(of_each - of_mean, 0.0) / (draws - 1)
    variance = max(of_draws + of_mean - shared, of_draws, of_mean)
    if variance <= 0.0:
        return Interval(mean, mean, mean)
    spread = of_mean**2 / max(groups - 1, 1) + of_draws**2 / max(draws - 1, 1)
    freedom = (of_draws + of_mean) ** 2 / spread
    half = float(t.ppf(0.975, freedom)) * variance**0.5
    return Interval(mean, mean - half, mean + half)


def _variance(values: Floats) -> float:
    """Of what is defined: a replicate may lack every positive of a rare label."""
    fine = values[np.isfinite(values)]
    return float(fine.var(ddof=1)) if len(fine) > 1 else 0.0
