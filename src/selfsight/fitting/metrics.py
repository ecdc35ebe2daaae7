"""Metrics of predictions: each is one entry here, a function with its words.

A function of `Scored` under the decorator `metric` is all that a metric takes: it is then in
results.json, in the tables and on the pages, with its title, unit and direction. It returns
``(B,)`` values, or ``(B, K)`` of the single labels or numbers; the metric is then their mean.

All weightings of the test rows go through at once: the bootstrap of
`selfsight.evaluation.resampling` needs them. With weights of one each metric equals scikit-learn's
of the same name (the calibration error torchmetrics').
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from selfsight import vocabulary
from selfsight.fitting.scored import Floats, Scored, mean_of_known, ratio

_BINS = 15
_CLASSES = 200  # above which the area under the curve of each class takes too long


Function = Callable[[Scored], Floats]
FUNCTIONS: dict[str, Function] = {}
"""The function of each metric, by its name."""


def metric(
    title: str,
    *,
    kinds: tuple[str, ...],
    unit: Literal["share", "plain", "target"] = "share",
    higher_is_better: bool = True,
    by_label: tuple[str, str] | None = None,
    meaning: str = "",
    of_images: bool = False,
    least: float | None = None,
    most: float | None = None,
) -> Callable[[Function], Function]:
    """Makes a metric of a function; the words are those of `selfsight.vocabulary.Metric`.

    They must be literals: pages read them from this file without running it.
    """
    words = vocabulary.Metric(
        title, kinds, unit, higher_is_better, by_label, meaning, of_images, least, most
    )

    def entered(function: Function) -> Function:
        FUNCTIONS[function.__name__] = function
        vocabulary.enter(function.__name__, words)
        return function

    return entered


@metric("accuracy", kinds=("class",), of_images=True)
def accuracy(scored: Scored) -> Floats:
    return np.asarray(scored.weights @ scored.right / scored.weights.sum(1))


@metric("balanced accuracy", kinds=("class",))
def balanced_accuracy(scored: Scored) -> Floats:
    true, _, hits = scored.counts
    return mean_of_known(ratio(hits, true))


@metric(
    "mean average precision", kinds=("labels",), by_label=("average_precision", "average precision")
)
def mAP(scored: Scored) -> Floats:  # noqa: N802 (the field writes it so)
    """The sum over thresholds of precision times the rise of recall; NaN without positives."""

    def of_label(output: NDArray[Any], true: NDArray[np.bool_], weights: Floats) -> Floats:
        order, ends = _ranked(output)
        hits = np.cumsum(weights[:, order] * true[order], 1)[:, ends]
        predicted = np.cumsum(weights[:, order], 1)[:, ends]
        rise = np.diff(hits, axis=1, prepend=0.0)
        return ratio((rise * np.nan_to_num(ratio(hits, predicted))).sum(1), hits[:, -1])

    return np.stack([of_label(o, t > 0.5, w) for _, o, t, w in scored.columns()], 1)


@metric("micro F1", kinds=("labels",))
def micro_f1(scored: Scored) -> Floats:
    true, predicted, hits = scored.counts
    return ratio(2 * hits.sum(1), (true + predicted).sum(1))


@metric("macro F1", kinds=("class", "labels"), by_label=("f1", "F1"))
def macro_f1(scored: Scored) -> Floats:
    """Of a class the mean over the classes that are there, as balanced accuracy is."""
    true, predicted, hits = scored.counts
    f1 = ratio(2 * hits, true + predicted)
    if scored.kind == "class":  # a class that no row is known to be of counts nowhere
        return mean_of_known(np.where(true > 0, f1, np.nan))
    known = (~np.isnan(scored.truth)).any(0)  # a label that is nowhere known counts nowhere
    return np.where(np.isnan(f1) & known, 0.0, f1)  # none true, none predicted: as scikit-learn


@metric("calibration error", kinds=("class",), higher_is_better=False)
def calibration_error(scored: Scored) -> Floats:
    """Expected calibration error (arXiv:1706.04599, equation 3) of the top class, 15 bins."""
    confidence = scored.output.max(1).astype(np.float64)
    bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    member = (bins[:, None] == np.arange(_BINS)).astype(np.float64)
    gap = scored.weights @ (member * (confidence - scored.right)[:, None])
    return np.asarray(np.abs(gap).sum(1) / scored.weights.sum(1))


@metric("Hamming loss", kinds=("labels",), higher_is_better=False)
def hamming(scored: Scored) -> Floats:
    true, predicted, hits = scored.counts
    known = (~np.isnan(scored.truth)).sum(1).astype(np.float64)
    return np.asarray((true + predicted - 2 * hits).sum(1) / (scored.weights @ known))


@metric("ROC AUC", kinds=("class", "labels"), by_label=("roc_auc", "ROC AUC"))
def roc_auc(scored: Scored) -> Floats:
    """The area under the ROC curve: the share of pairs of a positive and a negative that the output
    orders rightly, a tie counting half (Hanley and McNeil, Radiology 143, 1982).

    Of a class the mean of one class against the rest, over the classes with both.
    """

    def of_label(output: NDArray[Any], true: NDArray[np.bool_], weights: Floats) -> Floats:
        order, ends = _ranked(output)
        weights, true = weights[:, order], true[order]
        positive = np.diff(np.cumsum(weights * true, 1)[:, ends], axis=1, prepend=0.0)
        negative = np.diff(np.cumsum(weights * ~true, 1)[:, ends], axis=1, prepend=0.0)
        below = negative.sum(1, keepdims=True) - np.cumsum(negative, 1)
        area = (positive * (below + negative / 2)).sum(1)
        return ratio(area, positive.sum(1) * negative.sum(1))

    if scored.kind == "labels":
        return np.stack([of_label(o, t > 0.5, w) for _, o, t, w in scored.columns()], 1)
    classes = np.unique(scored.truth)
    if len(classes) > _CLASSES:
        return np.full(len(scored.weights), np.nan)
    each = [of_label(scored.output[:, c], scored.truth == c, scored.weights) for c in classes]
    return mean_of_known(np.stack(each, 1))


@metric("R²", kinds=("number",), unit="plain", by_label=("r2", "R²"), most=1.0)
def r2(scored: Scored) -> Floats:
    def of_number(output: NDArray[Any], true: NDArray[Any], weights: Floats) -> Floats:
        shifted = true - true.mean() if len(true) else true  # digits survive the subtraction
        spread = weights @ shifted**2 - ratio((weights @ shifted) ** 2, weights.sum(1))
        return 1.0 - ratio(weights @ (output - true) ** 2, spread)

    return _of_numbers(scored, of_number)


@metric(
    "mean absolute error",
    kinds=("number",),
    unit="target",
    higher_is_better=False,
    by_label=("mae", "mean absolute error"),
)
def mae(scored: Scored) -> Floats:
    return _of_numbers(scored, lambda o, t, w: ratio(w @ np.abs(o - t), w.sum(1)))


@metric(
    "root mean squared error",
    kinds=("number",),
    unit="target",
    higher_is_better=False,
    by_label=("rmse", "root mean squared error"),
)
def rmse(scored: Scored) -> Floats:
    return _of_numbers(scored, lambda o, t, w: np.sqrt(ratio(w @ (o - t) ** 2, w.sum(1))))


def _ranked(output: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The order of falling output, and whether each place of it is the last of equal outputs."""
    order = np.argsort(-output, kind="stable")
    output = output[order]
    return order, np.append(output[1:] != output[:-1], True)[: len(output)]


def _of_numbers(
    scored: Scored, of_number: Callable[[NDArray[Any], NDArray[Any], Floats], Floats]
) -> Floats:
    """``(B, D)`` from each number's outputs and truth in float64."""
    each = [
        of_number(o.astype(np.float64), t.astype(np.float64), w) for _, o, t, w in scored.columns()
    ]
    return np.stack(each, 1)
