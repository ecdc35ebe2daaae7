"""The metrics of a target on some rows: all of them, one, or the headline to choose by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfsight import vocabulary
from selfsight.fitting.metrics import FUNCTIONS
from selfsight.fitting.scored import Floats, Scored, mean_of_known

if TYPE_CHECKING:
    from torch import Tensor

    from selfsight.data.imageset import Target

Values = dict[tuple[str, str | None], Floats]
"""``(metric, label)`` to ``(B,)``; label None for the whole target; NaN where undefined."""


def score(
    target: Target,
    output: NDArray[np.float32],
    rows: NDArray[np.int64],
    weights: Floats | None = None,
    thresholds: Floats | None = None,
) -> Values:
    """Every metric of the target's kind on some rows; the plain one before those of its labels.

    Args:
        target: of the whole image set.
        output: ``(M, K)`` of a probe on `rows`.
        rows: ``(M,)``.
        weights: ``(B, M)``, one weighting a row; None: one of ones.
        thresholds: ``(K,)`` for several labels; None: 0.5.
    """
    scored = _scored(target, output, rows, weights, thresholds)
    values: Values = {}
    single: Values = {}
    for name in vocabulary.metrics_of(target.kind):
        each = FUNCTIONS[name](scored)
        values[name, None] = each if each.ndim == 1 else mean_of_known(each)
        by_label = vocabulary.metric(name).by_label
        repeats = len(target.names) == 1 and by_label is not None and by_label[0] == name
        if each.ndim == 2 and by_label is not None and not repeats:
            single |= {(by_label[0], t): each[:, k] for k, t in enumerate(target.names)}
    return values | single


def value_of(
    name: str,
    target: Target,
    output: NDArray[np.float32],
    rows: NDArray[np.int64],
    thresholds: Floats | None = None,
) -> float:
    """One metric of the target's kind on some rows; NaN where it is not defined. See `score`."""
    return _first(name, _scored(target, output, rows, None, thresholds))


def headline_of(
    kind: str, output: NDArray[Any], truth: NDArray[Any], weights: Tensor | None = None
) -> float:
    """The headline metric of a kind, to choose by; the lowest there is where it is undefined.

    Args:
        kind: of the target.
        output: ``(n, K)``.
        truth: ``(n,)`` or ``(n, K)``.
        weights: ``(n,)`` of rows; those of single entries play no part.
    """
    ones = np.ones((1, len(output)))
    if weights is not None and weights.ndim == 1:
        ones = weights.double().cpu().numpy()[None]
    value = _first(vocabulary.headline(kind), Scored(kind, output, truth, ones))
    return value if np.isfinite(value) else -np.inf


def _first(name: str, scored: Scored) -> float:
    """A metric under the first weighting."""
    each = FUNCTIONS[name](scored)
    return float((each if each.ndim == 1 else mean_of_known(each))[0])


def _scored(
    target: Target,
    output: NDArray[np.float32],
    rows: NDArray[np.int64],
    weights: Floats | None,
    thresholds: Floats | None,
) -> Scored:
    weights = np.ones((1, len(rows))) if weights is None else weights
    if target.kind == "labels" and thresholds is None:
        thresholds = np.full(len(target.names), 0.5)
    return Scored(target.kind, output, target.values[rows], weights, thresholds)
