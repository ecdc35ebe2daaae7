"""Ends of 95 % intervals over label draws, training seeds and test images: the formulas.

A score depends on the images (or groups of images) in the test split, on the labels that were drawn
and on the seed of the training. The three are taken as crossed random samples: every draw and
every seed is scored on the same test images. `half_width` adds the squared half-widths of the
factors, each with Student's quantile for its own degrees of freedom (the modified large-sample
method of Graybill and Wang, JASA 75, 1980, which holds its level where Satterthwaite's single
quantile does not, with three draws for example)::

    h^2 = [ t(G-1)^2 (V_images - o) + t(D-1)^2 V_draws ] (1 - c r (1 - r) / D)

and so on for the seeds. ``V_images`` is the resampling variance of the overall mean, ``V_draws``
the variance of the D draw means divided by D. What the images add to each draw alone is in both:
``o = (a - V_images) / (D - 1)`` with ``a`` the mean resampling variance of one draw. The last
factor, with r the share of the draws in the variance and c = 2.5 (less below eleven groups), takes
back what the sum of squares gives too much where both parts are large. A factor with one level
adds nothing: the interval is then conditional on that level.

Draws whose scores lie near 0 or 1 are skewed, and Student's interval of skewed values covers too
little (Johnson, JASA 73, 1978): ``V_draws`` of shares counts ``1 + 0.3 min(s / e, 1)^2`` times,
with s the deviation between draws and e the distance of the mean to the nearer end.

One network that is compared with S initialisations (or seeds) of another began somewhere, too, and
may have been lucky: a difference counts where it is larger than that. Its own luck is one more draw
of the same kind, so ``V_seeds`` becomes ``V_seeds + (S V_seeds - i)+``, where ``i``, what the
images add to each seed alone, is ``(a - V_images) S / (S - 1)``.

``V_images`` and ``a`` come from `Resampling.variance`.

Scores between 0 and 1 get Jeffreys' interval of a share ``p`` of ``n`` images with the effective
number ``n = 1.96^2 p (1 - p) / h^2`` (Korn and Graubard, Survey Methodology 24, 1998), which stays
inside and covers near the ends. The difference of two shares of images gets Newcombe's hybrid of
the two intervals (`ends_of_share_differences`), every other difference and metric ``mean +- h``,
cut at the bounds of the metric.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selfsight.evaluation.resampling import Floats, Resampling

LEVEL = 0.05
_Z = 1.959963984540054
_FEW_ERRORS = 3.0
_EXCESS = 2.5  # c of the formula; the next is what skewed draws add
_SKEW = 0.3
_SMALLEST = 1e-9


def quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, max(freedom, 1)))


def half_width(
    values: Floats,
    replicates: Floats,
    resampling: Resampling,
    *,
    luck: bool = False,
    edge: Floats | float = math.inf,
) -> tuple[Floats, Floats]:
    """``h`` of the module's formula, and its degrees of freedom.

    Args:
        values: ``(..., S, D)`` scores of S training seeds and D label draws on the test split.
        replicates: ``(..., S, D, B)`` the same on the resampled splits.
        resampling: how these were made.
        luck: the seeds are those of a control, and what it stands beside is one seed's.
        edge: ``(...,)`` the distance of the mean (of a difference: of the two) to 0 or 1.

    Returns:
        ``(...,)`` each; h is NaN where a variance is undefined. The degrees of freedom are
        Satterthwaite's, of the sum of the parts; p-values other than 0.05 rest on them.
    """
    seeds, draws = values.shape[-2:]
    of_images = resampling.variance(replicates.mean((-3, -2)))
    factors = []
    rest = of_images
    for levels, axis in ((draws, -2), (seeds, -1)):
        if levels > 1:
            spread = values.mean(axis).var(-1, ddof=1) / levels  # over the other factor's mean
            of_each = resampling.variance(replicates.mean(axis - 1)).mean(-1)
            alone = np.maximum(of_each - of_images, 0.0) / (levels - 1)
            rest = rest - alone
            if luck and axis == -1:
                spread = spread + np.maximum(levels * (spread - alone), 0.0)
            skewed = np.minimum(levels * spread / np.square(np.maximum(edge, _SMALLEST)), 1.0)
            factors.append((levels, spread * (1.0 + _SKEW * skewed)))
    variance = np.maximum(rest, 0.0)
    squared = quantile(resampling.units - 1) ** 2 * variance
    fourth = variance**2 / max(resampling.units - 1, 1)
    excess = _EXCESS * min(1.0, (resampling.units - 1) / 10)
    for levels, spread in factors:
        total = variance + spread
        fourth = fourth + spread**2 / (levels - 1)
        share = spread / np.where(total > 0, total, 1.0)
        squared = squared + quantile(levels - 1) ** 2 * spread
        squared = squared * (1.0 - excess / max(levels, 3) * share * (1.0 - share))
        variance = total
    some = fourth > 0
    freedom = np.where(some, variance**2 / np.where(some, fourth, 1.0), 1.0)
    return np.sqrt(squared), freedom


def share_ends(mean: Floats, half: Floats, images: int) -> tuple[Floats, Floats]:
    """Jeffreys' interval of shares with the effective number of images of a half-width.

    Args:
        mean: ``(...,)`` in [0, 1].
        half: ``(...,)`` of a symmetric interval.
        images: the number where nothing varies.
    """
    from scipy.stats import beta

    spread = mean * (1.0 - mean)
    varies = (half > 0) & (spread > 0)
    number = np.where(varies, _Z**2 * spread / np.where(varies, half, 1.0) ** 2, images)
    # The mean of draws with few errors each varies too little to be worth more than its images.
    few = _edge(mean) * images < _FEW_ERRORS
    number = np.where(few, np.minimum(number, images), number)
    hits, misses = mean * number, (1.0 - mean) * number
    low = np.where(mean <= 0.0, 0.0, beta.ppf(0.025, hits + 0.5, misses + 0.5))
    high = np.where(mean >= 1.0, 1.0, beta.ppf(0.975, hits + 0.5, misses + 0.5))
    return np.minimum(low, mean), np.maximum(high, mean)


def too_few(errors: Floats, resampling: Resampling) -> NDArray[np.bool_]:
    """Whether a single unseen group could hold more errors than all that were seen.

    Args:
        errors: ``(...,)`` share of errors, or of hits where these are fewer.
        resampling: of the test split.
    """
    return np.asarray(resampling.grouped & (errors < min(0.15, 1.5 / resampling.units)))


def ends_of_shares(
    values: Floats, replicates: Floats, resampling: Resampling, *, of_images: bool
) -> tuple[Floats, Floats]:
    """Ends of the intervals of scores in [0, 1]; NaN where there is none.

    Args:
        values, replicates, resampling: see `half_width`.
        of_images: the score is a share of the test images (accuracy, recall at 1): without groups
            it has an interval at 0 and at 1 too, and with groups too few errors have none.
    """
    mean = values.mean((-2, -1))
    half, _ = half_width(values, replicates, resampling, edge=_edge(mean))
    low, high = share_ends(mean, half, resampling.rows)
    flat = (half == 0) | (mean <= 0) | (mean >= 1)
    none = np.isnan(half) | (flat & (resampling.grouped or not of_images))
    if of_images:
        none = none | too_few(_edge(mean), resampling)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def _edge(mean: Floats) -> Floats:
    """The distance of shares to 0 or to 1."""
    return np.asarray(np.minimum(mean, 1.0 - mean))


def ends_of_differences(
    values: Floats,
    replicates: Floats,
    resampling: Resampling,
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    luck: bool = False,
) -> tuple[Floats, Floats, Floats]:
    """Ends of the intervals of paired differences and unbounded scores, and p-values of zero.

    NaN where there is no interval.

    Args:
        values, replicates, resampling: see `half_width`.
        bounds: of what the metric can be.
        luck: see `half_width`.
    """
    mean = values.mean((-2, -1))
    half, freedom = half_width(values, replicates, resampling, luck=luck)
    return _ends(mean, half, half, freedom, np.isnan(half) | (half == 0), bounds)


def ends_of_share_differences(
    values: Floats,
    replicates: Floats,
    resampling: Resampling,
    *,
    subjects: Sequence[tuple[Floats, Floats]],
    luck: bool = False,
) -> tuple[Floats, Floats, Floats]:
    """The same for the difference of two shares of the test images.

    Without groups it is made of the interval of each: Newcombe's hybrid of two intervals
    (Statistics in Medicine 17, 1998), for correlated ones by Zou and Donner (Statistics in Medicine
    27, 2008)::

        low = d - sqrt((p - l)^2 + (u' - p')^2 - 2 r (p - l) (u' - p'))

    with r the correlation that the half-widths of the two and of their difference imply. Near 0 and
    1 it leans as the two intervals do, and covers where ``d +- h`` does not. With groups it is
    ``d +- h``: Student's quantile for few of them is no sign of few images.

    Args:
        values, replicates, resampling: of the differences; see `half_width`.
        subjects: values and replicates of each of the two.
        luck: see `half_width`.
    """
    means = [own.mean((-2, -1)) for own, _ in subjects]
    edge = _edge((means[0] + means[1]) / 2)
    half, freedom = half_width(values, replicates, resampling, luck=luck, edge=edge)
    none = np.isnan(half) | (half == 0) | too_few(edge, resampling)
    mean = values.mean((-2, -1))
    if resampling.grouped:
        return _ends(mean, half, half, freedom, none, (-1.0, 1.0))
    halves, parts = [], []
    for center, subject in zip(means, subjects, strict=True):
        halves.append(half_width(*subject, resampling, edge=_edge(center))[0])
        low, high = share_ends(center, halves[-1], resampling.rows)
        parts.append((center - low, high - center))
    product, squares = halves[0] * halves[1], halves[0] ** 2 + halves[1] ** 2
    varies = product > 0
    correlation = (squares - half**2) / np.where(varies, 2 * product, 1.0)
    correlation = np.where(varies, np.clip(correlation, -1.0, 1.0), 0.0)
    # What no correlation explains is the luck of one of the two.
    explained = squares - 2 * correlation * product
    more = np.where(explained > 0, half**2 / np.where(explained > 0, explained, 1.0), 1.0)
    below, above = (
        np.sqrt(np.maximum(more, 1.0) * np.maximum(a**2 + b**2 - 2 * correlation * a * b, 0.0))
        for a, b in ((parts[0][0], parts[1][1]), (parts[0][1], parts[1][0]))
    )
    return _ends(mean, below, above, freedom, none, (-1.0, 1.0))


def _ends(
    mean: Floats,
    below: Floats,
    above: Floats,
    freedom: Floats,
    none: NDArray[np.bool_],
    bounds: tuple[float, float],
) -> tuple[Floats, Floats, Floats]:
    """Ends of a mean with so much below and above it, and its two-sided p-value by Student's t."""
    from scipy.stats import t

    low, high = np.clip(mean - below, *bounds), np.clip(mean + above, *bounds)
    half = np.where(mean > 0, below, above)
    ratio = np.abs(mean) / np.where(half > 0, half, 1.0)
    p = 2 * t.sf(ratio * t.ppf(1 - LEVEL / 2, freedom), freedom)
    return np.where(none, np.nan, low), np.where(none, np.nan, high), np.where(none, np.nan, p)
