"""95 % intervals over label draws, training seeds and test images, and the verdicts they allow.

The formulas are in `selfsight.evaluation.interval_ends`.

**No interval, and so no verdict,** where the test split cannot tell: one or two groups; nothing
that varies; a metric that is undefined on the resampled split; or, with groups, so few errors (or
hits) that a single unseen group could hold more of them: below a share of ``min(0.15, 1.5 / G)``.
The last rule keeps the coverage where errors cluster; docs/honesty.md has the table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from selfsight.evaluation.interval_ends import (
    LEVEL,
    ends_of_differences,
    ends_of_share_differences,
    ends_of_shares,
    too_few,
)
from selfsight.evaluation.resampling import LEAST_UNITS, Floats, Resampling

FEW_GROUPS = 5
"""Below this many test groups an interval is given with a warning."""

NO_BETTER = "no better than the control"
"""The verdict of a difference that may be none."""


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval.

    Attributes:
        mean: over draws and seeds, on the whole test split.
        low, high: ends of the interval; None where there is none.
        reason: why there is none, or why to take care; empty otherwise.
        p: two-sided p-value of a difference; None where there is no interval. It is below 0.05
            exactly where the interval leaves out 0.
    """

    mean: float
    low: float | None
    high: float | None
    reason: str = ""
    p: float | None = None

    @property
    def half(self) -> float | None:
        """Half of the width."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def verdict(self, *, higher_is_better: bool = True, p: float | None = None) -> str:
        """What a difference trained - control allows to say.

        Args:
            higher_is_better: the direction of the metric.
            p: the adjusted p-value (see `verdicts.holm`) to go by; None: the interval's own.
        """
        if self.low is None or self.high is None:
            return "no verdict"
        if self.low <= 0 <= self.high or (p is not None and p >= LEVEL):
            return NO_BETTER
        return "better" if (self.low > 0) == higher_is_better else "worse"


def interval(
    scores: Floats,
    resampling: Resampling,
    *,
    share: bool = False,
    of_images: bool = False,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """The 95 % interval of the mean of a score.

    Args:
        scores: ``(S, D, 1 + B)``: each training seed and label draw, on the test split and on its
            resampled ones; ``(D, 1 + B)`` for one seed.
        resampling: of the test split.
        share: the score lies in [0, 1].
        of_images: it is a share of the test images.
        bounds: of the score, where it is no share.
    """
    values, replicates = _split(scores)
    if share or of_images:
        ends = ends_of_shares(values, replicates, resampling, of_images=of_images)
    else:
        ends = ends_of_differences(values, replicates, resampling, bounds=bounds)[:2]
    errors = float(values.mean()) if of_images else None
    return _interval(float(values.mean()), (*ends, None), resampling, errors, replicates)


def difference(
    ours: Floats,
    other: Floats,
    resampling: Resampling,
    *,
    of_images: bool = False,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """The 95 % interval of the mean difference of two scores on the same images, ours - other.

    Args:
        ours, other: see `interval`; the same draws in the same order. One seed of `other` is
            compared with each of ours, and one of ours with each of its, where the luck of ours
            counts. Several seeds on both sides, which takes a single draw, are crossed: each of
            ours with each of the other's, two factors that are apart.
        resampling: of the test split.
        of_images: both are shares of the test images.
        bounds: of the score.
    """
    ours, other = _wide(ours), _wide(other)
    luck = len(ours) == 1 < len(other)
    if len(ours) > 1 and len(other) > 1:
        assert ours.shape[1] == other.shape[1] == 1, "seeds on both sides take a single draw"
        other = other.swapaxes(0, 1)
    values, replicates = _split(ours - other)
    errors = None
    if of_images:
        errors = float(ours[..., 0].mean() + other[..., 0].mean()) / 2
        ends = ends_of_share_differences(
            values,
            replicates,
            resampling,
            subjects=(_split(ours), _split(other)),
            luck=luck,
        )
    else:
        width = bounds[1] - bounds[0]
        ends = ends_of_differences(
            values, replicates, resampling, bounds=(-width, width), luck=luck
        )
    return _interval(float(values.mean()), ends, resampling, errors, replicates)


def _wide(scores: Floats) -> Floats:
    return scores if scores.ndim == 3 else scores[None]


def _split(scores: Floats) -> tuple[Floats, Floats]:
    scores = _wide(scores)
    return scores[..., 0], scores[..., 1:]


def _interval(
    mean: float,
    ends: tuple[Floats, Floats, Floats | None],
    resampling: Resampling,
    errors: float | None,
    replicates: Floats,
) -> Interval:
    low, high = (float(end) for end in ends[:2])
    if math.isfinite(low) and math.isfinite(high):
        few = resampling.grouped and resampling.units < FEW_GROUPS
        care = f"there are only {resampling.units} test groups" if few else ""
        p = None if ends[2] is None else float(ends[2])
        return Interval(mean, low, high, care, p)
    return Interval(mean, None, None, _reason(resampling, errors, replicates))


def _reason(resampling: Resampling, errors: float | None, replicates: Floats) -> str:
    if resampling.units < LEAST_UNITS:
        what = "group" if resampling.grouped else "image"
        return f"{resampling.units} test {what}{'s' * (resampling.units != 1)}"
    if not np.isfinite(replicates).all():
        return "the metric is undefined on parts of the test split"
    if errors is not None and too_few(np.asarray(min(errors, 1 - errors)), resampling):
        what = "errors" if errors > 0.5 else "right answers"
        return f"too few {what} for {resampling.units} test groups"
    return "nothing varies over the test split"
