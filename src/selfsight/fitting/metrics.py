"""Metrics under weights of the test rows, many weightings at once.

With weights of one each equals scikit-learn's of the same name (torchmetrics' for the calibration
error). Many weightings at once are what the bootstrap of `selfsight.evaluation.intervals` needs:
thousands of calls to a library become a few matrix products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Values = dict[tuple[str, str | None], Floats]
"""``(metric, label)`` to ``(B,)``; label None for the whole target; NaN where undefined."""

LOWER_IS_BETTER = frozenset(
    {"calibration_error", "hamming", "mae", "rmse", "uniformity", "alignment"}
)
_BINS = 15


def class_metrics(output: NDArray[Any], truth: NDArray[np.int64], weights: Floats) -> Values:
    """Accuracy, balanced accuracy, macro F1 and calibration error.

    Args:
        output: ``(M, K)`` class probabilities.
        truth: ``(M,)`` classes.
        weights: ``(B, M)``.
    """
    guess = output.argmax(1)
    right = (guess == truth).astype(np.float64)
    seen = np.unique(np.concatenate([truth, guess]))
    is_true = (truth[:, None] == seen).astype(np.float64)
    is_guess = (guess[:, None] == seen).astype(np.float64)
    true, guessed = weights @ is_true, weights @ is_guess
    hits = weights @ (is_true * right[:, None])
    recall = _ratio(hits, true)
    return {
        ("accuracy", None): weights @ right / weights.sum(1),
        ("balanced_accuracy", None): _mean(recall),
        ("macro_f1", None): _mean(_ratio(2 * hits, true + guessed)),
        ("calibration_error", None): _calibration_error(output, right, weights),
    }


def _calibration_error(output: NDArray[Any], right: Floats, weights: Floats) -> Floats:
    """Expected calibration error (arXiv:1706.04599, equation 3) of the top class, 15 bins."""
    confidence = output.max(1).astype(np.float64)
    bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    member = (bins[:, None] == np.arange(_BINS)).astype(np.float64)
    gap = weights @ (member * (confidence - right)[:, None])
    return np.asarray(np.abs(gap).sum(1) / weights.sum(1))


def labels_metrics(
    output: NDArray[Any],
    truth: NDArray[np.float32],
    weights: Floats,
    *,
    thresholds: Floats,
    names: tuple[str, ...],
) -> Values:
    """mAP, micro and macro F1, Hamming loss; average precision and F1 of each label.

    Args:
        output: ``(M, K)`` probabilities.
        truth: ``(M, K)`` 0 / 1, NaN unknown: such an entry counts nowhere.
        weights: ``(B, M)``.
        thresholds: ``(K,)`` from which a label is said to be there.
        names: of the labels.
    """
    precision, hits, sizes, wrong, total = [], [], [], [], []
    for label in range(len(names)):
        known = ~np.isnan(truth[:, label])
        score, true = output[known, label], truth[known, label] > 0.5
        part = weights[:, known]
        said = score >= thresholds[label]
        precision.append(average_precision(score, true, part))
        hits.append(2 * part @ (true & said))
        sizes.append(part @ (true.astype(np.float64) + said))
        wrong.append(part @ (true != said))
        total.append(part.sum(1))
    f1 = _ratio(np.stack(hits), np.stack(sizes))
    f1 = np.where(np.isnan(f1), 0.0, f1)  # no positive, none said: 0, as scikit-learn has it
    values: Values = {
        ("mAP", None): _mean(np.stack(precision).T),
        ("micro_f1", None): _ratio(np.sum(hits, 0), np.sum(sizes, 0)),
        ("macro_f1", None): f1.mean(0),
        ("hamming", None): np.sum(wrong, 0) / np.sum(total, 0),
    }
    for label, name in enumerate(names):
        values["average_precision", name] = precision[label]
        values["f1", name] = f1[label]
    return values


def average_precision(score: NDArray[Any], true: NDArray[np.bool_], weights: Floats) -> Floats:
    """``(B,)``: sum over thresholds of precision times the rise of recall; NaN without positives.

    Args:
        score: ``(M,)``, higher for a likelier positive.
        true: ``(M,)``.
        weights: ``(B, M)``.
    """
    if not true.any():
        return np.full(len(weights), np.nan)
    order = np.argsort(-score, kind="stable")
    score, true, weights = score[order], true[order], weights[:, order]
    ends = np.append(score[1:] != score[:-1], True)
    hits = np.cumsum(weights * true, 1)[:, ends]
    said = np.cumsum(weights, 1)[:, ends]
    rise = np.diff(hits, axis=1, prepend=0.0)
    return _ratio((rise * np.nan_to_num(_ratio(hits, said))).sum(1), hits[:, -1])


def number_metrics(
    output: NDArray[Any], truth: NDArray[np.float32], weights: Floats, *, names: tuple[str, ...]
) -> Values:
    """R2, MAE and RMSE of each number, and their means over the numbers.

    Args:
        output: ``(M, D)``.
        truth: ``(M, D)``, NaN unknown: such an entry counts nowhere.
        weights: ``(B, M)``.
        names: of the numbers.
    """
    found: dict[str, list[Floats]] = {"r2": [], "mae": [], "rmse": []}
    for number in range(len(names)):
        known = ~np.isnan(truth[:, number])
        true = truth[known, number].astype(np.float64)
        error = output[known, number].astype(np.float64) - true
        part = weights[:, known]
        total = part.sum(1)
        squares = part @ error**2
        shifted = true - true.mean() if len(true) else true  # digits survive the subtraction
        spread = part @ shifted**2 - _ratio((part @ shifted) ** 2, total)
        found["r2"].append(1.0 - _ratio(squares, spread))
        found["mae"].append(_ratio(part @ np.abs(error), total))
        found["rmse"].append(np.sqrt(_ratio(squares, total)))
    values: Values = {(name, None): np.mean(each, 0) for name, each in found.items()}
    if len(names) > 1:
        for name, each in found.items():
            values |= {(name, names[i]): value for i, value in enumerate(each)}
    return values


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """``top / bottom``, NaN where the bottom is not positive."""
    fine = bottom > 0
    return np.where(fine, top / np.where(fine, bottom, 1.0), np.nan)


def _mean(values: Floats) -> Floats:
    """``(B, K)`` to ``(B,)``: the mean of what is defined; NaN where nothing is."""
    fine = ~np.isnan(values)
    return _ratio(np.where(fine, values, 0.0).sum(1), fine.sum(1).astype(np.float64))
