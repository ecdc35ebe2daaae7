"""Same or different? Accuracy, ROC and thresholds of pairs of images, by their cosine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FALSE_ACCEPT_RATES = (1e-1, 1e-2, 1e-3)
FOLDS = 10
Cosines = NDArray[np.float64]
Truth = NDArray[np.bool_]


@dataclass(frozen=True)
class OperatingPoint:
    """The share of same pairs that are accepted at a rate of false acceptance.

    Attributes:
        rate: of false acceptance that is allowed.
        threshold: cosine from which pairs are accepted.
        accepted: same pairs accepted.
        same: same pairs.
        falsely_accepted: different pairs accepted; at most ``rate`` of them.
        different: different pairs.
    """

    rate: float
    threshold: float
    accepted: int
    same: int
    falsely_accepted: int
    different: int


@dataclass(frozen=True)
class Verification:
    """What cosines say of pairs that are known to be same or different.

    Attributes:
        pairs: how many.
        same: same pairs among them.
        accuracy: mean over the folds; each fold is scored at the threshold of the others.
        standard_error: of that mean: the deviation between folds over the root of their number.
        thresholds: of each fold.
        majority: accuracy of the answer that is right more often.
        auc: area under the ROC curve.
        equal_error: the rate at which as many same pairs are refused as different are accepted.
        points: true acceptance at some rates of false acceptance.
        curve: false and true acceptance ``(2, P)``.
    """

    pairs: int
    same: int
    accuracy: float
    standard_error: float
    thresholds: tuple[float, ...]
    majority: float
    auc: float
    equal_error: float
    points: tuple[OperatingPoint, ...]
    curve: NDArray[np.float64]


def verify(cosines: Cosines, same: Truth, folds: NDArray[np.int64]) -> Verification:
    """Scores pairs; thresholds never see the fold that they are used on.

    Args:
        cosines: ``(P,)``.
        same: ``(P,)``, both kinds.
        folds: ``(P,)``; at least two.

    Raises:
        ValueError: pairs of one kind only, or one fold.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    if same.all() or not same.any():
        kind = "same" if same.all() else "different"
        raise ValueError(f"pairs: all {len(same):,} are {kind!r}; both kinds are needed.")
    names = np.unique(folds)
    if len(names) < 2:
        raise ValueError("pairs: they are all in one fold; give at least two, or no fold column.")
    thresholds = [best_threshold(cosines[folds != f], same[folds != f]) for f in names]
    scores = [
        float(((cosines[folds == f] >= t) == same[folds == f]).mean())
        for f, t in zip(names, thresholds, strict=True)
    ]
    accepted_falsely, accepted, levels = roc_curve(same, cosines, drop_intermediate=False)
    crossing = accepted_falsely - (1.0 - accepted)
    at = int(np.searchsorted(crossing, 0.0))
    before = max(at - 1, 0)
    span = crossing[at] - crossing[before]
    share = 0.0 if span <= 0 else -crossing[before] / span
    equal = accepted_falsely[before] + share * (accepted_falsely[at] - accepted_falsely[before])
    return Verification(
        pairs=len(same),
        same=int(same.sum()),
        accuracy=float(np.mean(scores)),
        standard_error=float(np.std(scores, ddof=1) / np.sqrt(len(scores))),
        thresholds=tuple(thresholds),
        majority=float(max(same.mean(), 1.0 - same.mean())),
        auc=float(roc_auc_score(same, cosines)),
        equal_error=float(equal),
        points=tuple(
            _point(rate, accepted_falsely, levels, cosines, same) for rate in FALSE_ACCEPT_RATES
        ),
        curve=np.stack([accepted_falsely, accepted]),
    )


def _point(
    rate: float,
    falsely: NDArray[np.float64],
    levels: NDArray[np.float64],
    cosines: Cosines,
    same: Truth,
) -> OperatingPoint:
    threshold = float(levels[int(np.flatnonzero(falsely <= rate)[-1])])
    taken = cosines >= threshold
    return OperatingPoint(
        rate=rate,
        # The curve begins with a level that no pair reaches.
        threshold=threshold if np.isfinite(threshold) else float(cosines.max()) + 1e-6,
        accepted=int((taken & same).sum()),
        same=int(same.sum()),
        falsely_accepted=int((taken & ~same).sum()),
        different=int((~same).sum()),
    )


def best_threshold(cosines: Cosines, same: Truth) -> float:
    """The cosine from which pairs are called same, with the most right answers.

    Between two neighbouring cosines; of several that are as good the middle one.
    """
    order = np.argsort(cosines, kind="stable")
    values, truth = cosines[order], same[order]
    # Right answers where the first i pairs are called different, for i = 0 ... P.
    right = np.concatenate([[0], np.cumsum(~truth)]) + np.concatenate(
        [np.cumsum(truth[::-1])[::-1], [0]]
    )
    cut = np.ones(len(right), np.bool_)
    cut[1:-1] = values[1:] > values[:-1]  # equal cosines cannot be told apart
    best = np.flatnonzero(cut & (right == right[cut].max()))
    place = int(best[(len(best) - 1) // 2])
    if place == 0:
        return float(values[0])
    if place == len(values):
        return float(np.nextafter(values[-1], np.inf))
    return float((values[place - 1] + values[place]) / 2)


def drawn_folds(same: Truth, seed: int = 0) -> NDArray[np.int64]:
    """Ten folds (fewer of few pairs) with the same share of same pairs, drawn by seed."""
    random = np.random.default_rng([seed, 13])
    count = min(FOLDS, int(min(same.sum(), (~same).sum())))
    folds = np.zeros(len(same), np.int64)
    for kind in (same, ~same):
        places = random.permutation(np.flatnonzero(kind))
        folds[places] = np.arange(len(places)) % max(count, 1)
    return folds


def different_threshold(cosines: Cosines, same: Truth, deviations: float = 3.3) -> float:
    """The cosine above which hardly any two different images lie: mean + 3.3 deviations.

    For grouping: of all pairs in a set a percent or less is the same, so a threshold that balances
    the errors of as many same as different pairs would join far too much.

    Raises:
        ValueError: fewer than ten different pairs.
    """
    others = cosines[~same]
    if len(others) < 10:
        raise ValueError(
            f"pairs: a threshold needs at least 10 different pairs (got {len(others)})."
        )
    return float(others.mean() + deviations * others.std(ddof=1))


def chunked(count: int, size: int) -> Sequence[slice]:
    """Slices of a length that cover ``count`` rows."""
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]
