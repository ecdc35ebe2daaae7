"""The linear probe: logistic regression for classes and labels, ridge regression for numbers.

Both have scikit-learn's objectives: ``C * sum of losses + ||W||^2 / 2``, multinomial for classes (a
single sigmoid for two), one sigmoid a label for several labels, and ``||y - X w - b||^2 + alpha
||w||^2`` for numbers, each with a free intercept. At the same C (alpha) the coefficients are those
of `LogisticRegression` (`Ridge`). C and alpha are chosen by cross-validation inside the subset.

The path of the logistic regression is `selfsight.fitting.logistic`; that of the ridge regression is
one eigendecomposition.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from selfsight.fitting.head import Fitted, Head
from selfsight.fitting.labelled import Rows, Subset
from selfsight.fitting.logistic import Point, fit_path
from selfsight.fitting.representations import Representations
from selfsight.fitting.scores import headline_of

TITLE = "linear probe"
PHRASE = "a linear probe"
ORDER = 10
KINDS = ("class", "labels", "number")

STRENGTHS = tuple(10.0**power for power in range(-5, 5))
"""C of the logistic regression, on representations centred and scaled by one number. C is chosen by
the metric that is shown; among equals, and to end the path, by the log-loss."""
ALPHAS = tuple(10.0**power for power in range(-2, 8))
"""Penalties of the ridge regression, on the same scale."""
DEFAULT_STRENGTH, DEFAULT_ALPHA = 10.0, 100.0
_MANY = 10_000  # rows above which three folds are enough
_PATIENCE = 2  # worse points of a path in a row before it is left


def fit(subset: Subset, representations: Representations) -> Fitted:
    features = representations.standardised(subset.rows)
    fold = subset.folds(5 if len(subset) <= _MANY else 3)
    likely = None
    if subset.kind == "number":
        weight, bias, choice, score = _ridge(subset, features.double(), fold)
    else:
        weight, bias, choice, likely, score = _logistic(subset, features, fold)
    mean, scale = representations.mean, representations.scale
    head = Head.of_linear(subset.kind, weight, bias, mean, scale)
    chosen = bool(fold.max() >= 0)
    thresholds = subset.thresholds(likely, fold >= 0)
    return Fitted(head, {"chosen": chosen, **choice}, thresholds, score if chosen else None)


Score = tuple[float, float]


def _logistic(
    subset: Subset, features: Tensor, fold: Rows
) -> tuple[Tensor, Tensor, dict[str, Any], NDArray[np.float32] | None, Score]:
    """Weight, bias, choice, the probabilities of the rows held out, metric and minus the loss."""
    targets, outputs = subset.truth(features.device), subset.outputs
    two = subset.kind == "class" and outputs == 2
    if two:
        targets, outputs = targets[:, None].to(features.dtype), 1
    chosen = bool(fold.max() >= 0)
    inside = np.ones((len(features), int(fold.max()) + 2), np.bool_)
    if chosen:
        inside[np.arange(len(fold)), fold] = False  # the last problem is the fit on all rows
    used = torch.from_numpy(inside).to(features.device)
    weights = subset.weights(features.device)
    of_entries = weights if subset.kind == "labels" else None
    if weights is not None and of_entries is None:
        used = used * weights[:, None]
    strengths = STRENGTHS if chosen else (DEFAULT_STRENGTH,)
    path = fit_path(features, targets, strengths, used, outputs=outputs, entry_weights=of_entries)
    best, likely, worse = next(path), None, 0
    lowest, highest, of_best = np.inf, -np.inf, np.inf
    for point in itertools.chain([best], path) if chosen else ():
        logits = _held_out_logits(point, features, fold)
        loss = _mean_loss(logits, targets, weights)
        output = torch.sigmoid(logits).cpu().numpy()
        shown = output if subset.kind == "labels" else _as_classes(logits)
        value = headline_of(subset.kind, shown, subset.values, weights)
        worse = 0 if loss < lowest or value > highest else worse + 1
        if (value, -loss) > (highest, -of_best):
            best, likely, highest, of_best = point, output, value, loss
        lowest = min(lowest, loss)
        if worse >= _PATIENCE:
            break
    weight, bias = best.weight[-1], best.bias[-1]
    if two:  # one sigmoid is a softmax beside a constant
        weight, bias = (torch.cat([torch.zeros_like(each), each]) for each in (weight, bias))
    return weight, bias, {"C": best.strength}, likely, (highest, -of_best)


def _as_classes(logits: Tensor) -> NDArray[np.float32]:
    """``(n, K)`` scores of classes, also where two are one sigmoid."""
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    return np.asarray(logits.float().cpu().numpy())


def _held_out_logits(point: Point, features: Tensor, fold: Rows) -> Tensor:
    """``(n, K)``: each row by the problem that did not use it."""
    logits = features.new_zeros(len(features), point.bias.shape[1])
    for number in range(int(fold.max()) + 1):
        rows = torch.from_numpy(np.flatnonzero(fold == number)).to(features.device)
        logits[rows] = point.logits(features[rows], number)
    return logits


def _mean_loss(logits: Tensor, targets: Tensor, weights: Tensor | None) -> float:
    """Over the known entries, each with its weight; the scale of the weights does not matter."""
    if targets.ndim == 1:
        each = F.cross_entropy(logits.double(), targets, reduction="none")
        return float(each.mean() if weights is None else (each * weights).mean())
    known = torch.isfinite(targets)
    each = F.binary_cross_entropy_with_logits(
        logits.double(), torch.nan_to_num(targets).double(), reduction="none"
    )
    if weights is not None:
        each = each * (weights if weights.ndim == 2 else weights[:, None])
    return float(each[known].mean())


def _ridge(
    subset: Subset, features: Tensor, fold: Rows
) -> tuple[Tensor, Tensor, dict[str, Any], Score]:
    """Weight, bias and the penalty of each number, chosen by the squared error held out.

    The score is the mean over the numbers of 1 - error / variance, both of the rows held out.
    """
    subset.check()
    weights, biases, chosen, explained = [], [], [], []
    for values in subset.truth(features.device).double().T:
        known = torch.isfinite(values)
        alpha = DEFAULT_ALPHA
        if fold.max() >= 0:
            of_row = torch.from_numpy(fold).to(features.device)
            error = torch.zeros(len(ALPHAS), dtype=torch.float64, device=features.device)
            spread = 0.0
            for number in range(int(fold.max()) + 1):
                inside, outside = known & (of_row != number), known & (of_row == number)
                if inside.any() and outside.any():
                    weight, bias = ridge_path(features[inside], values[inside], ALPHAS)
                    predicted = features[outside] @ weight.T + bias
                    error += (predicted - values[outside, None]).square().sum(0)
                    spread += float((values[outside] - values[known].mean()).square().sum())
            alpha = ALPHAS[int(error.argmin())]
            explained.append(1.0 - float(error.min()) / spread if spread > 0 else 0.0)
        weight, bias = ridge_path(features[known], values[known], [alpha])
        weights.append(weight[0])
        biases.append(bias[0])
        chosen.append(alpha)
    score = (float(np.mean(explained)) if explained else 0.0, 0.0)
    return torch.stack(weights), torch.stack(biases), {"alpha": chosen}, score


def ridge_path(features: Tensor, values: Tensor, alphas: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Solutions for each alpha.

    Args:
        features: ``(n, F)``.
        values: ``(n,)``, all known.
        alphas: strengths of the penalty, each positive.

    Returns:
        Weights ``(len(alphas), F)`` and intercepts ``(len(alphas),)``, float64.
    """
    features, values = features.double(), values.double()
    strengths = torch.tensor(list(alphas), dtype=torch.float64, device=features.device)
    centre, level = features.mean(0), values.mean()
    features, values = features - centre, values - level
    if len(features) < features.shape[1]:  # the solution is a combination of the rows
        roots, axes = torch.linalg.eigh(features @ features.T)
        shrunk = (axes.T @ values) / (roots.clamp_min(0.0) + strengths[:, None])
        weight = (shrunk @ axes.T) @ features
    else:
        roots, axes = torch.linalg.eigh(features.T @ features)
        shrunk = (axes.T @ (features.T @ values)) / (roots.clamp_min(0.0) + strengths[:, None])
        weight = shrunk @ axes.T
    return weight, level - weight @ centre
