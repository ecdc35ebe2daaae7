"""Weightings of the test images that stand for other test splits.

A delete-one jackknife over groups (over images where there are no groups) up to `JACKKNIFE` of
them, and a bootstrap above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REPLICATES = 200
"""Bootstrap replicates of the test split."""
JACKKNIFE = 200
"""Groups up to which each is left out in turn instead."""
LEAST_UNITS = 3
"""Below this many groups (or images) there is no variance."""
_MOST_UNDEFINED = 0.05  # share of bootstrap replicates


@dataclass(frozen=True)
class Resampling:
    """Weightings of the test rows that stand for other test splits.

    Attributes:
        weights: ``(1 + B, M)``; the first row is ones, each other one a resampled split.
        units: G, groups that were resampled; images where they are in no group.
        rows: M.
        jackknife: whether each unit is left out in turn; otherwise units are drawn with
            replacement.
    """

    weights: Floats
    units: int
    rows: int
    jackknife: bool

    @classmethod
    def of(cls, groups: NDArray[np.int64], *, seed: int = 0) -> Resampling:
        """The weightings of ``(M,)`` test rows by their group numbers."""
        index = np.unique(groups, return_inverse=True)[1]
        units = int(index.max(initial=-1)) + 1
        ones = np.ones((1, len(groups)))
        if units < LEAST_UNITS:
            others = np.ones((max(units, 1), len(groups)))  # no variance is taken from these
        elif units <= JACKKNIFE:
            others = (index[None] != np.arange(units)[:, None]).astype(np.float64)
        else:
            share = np.full(units, 1 / units)
            drawn = np.random.default_rng(seed).multinomial(units, share, REPLICATES)
            others = drawn[:, index].astype(np.float64)
        return cls(np.concatenate([ones, others]), units, len(groups), units <= JACKKNIFE)

    @classmethod
    def counted(cls, units: int, rows: int) -> Resampling:
        """Of so many units and rows, for replicates that were stored; without the weights."""
        return cls(np.zeros((0, rows)), units, rows, units <= JACKKNIFE)

    @property
    def grouped(self) -> bool:
        return self.units < self.rows

    def variance(self, replicates: Floats) -> Floats:
        """Variance over test splits from ``(..., B)`` replicates; NaN where it is undefined."""
        finite = np.isfinite(replicates)
        undefined = 1.0 - finite.mean(-1)
        allowed = undefined <= (0.0 if self.jackknife else _MOST_UNDEFINED)
        safe = np.where(finite, replicates, 0.0)
        count = np.maximum(finite.sum(-1), 1)
        mean = safe.sum(-1) / count
        squares = np.where(finite, (replicates - mean[..., None]) ** 2, 0.0).sum(-1)
        ratio = self.units / max(self.units - 1, 1)
        variance = squares / ratio if self.jackknife else ratio * squares / np.maximum(count - 1, 1)
        return np.where(allowed & (self.units >= LEAST_UNITS), variance, np.nan)
