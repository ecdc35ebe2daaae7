"""The linear probe: logistic regression for classes and labels, ridge regression for numbers.

Both have scikit-learn's objectives: ``C * sum of losses + ||W||^2 / 2``, multinomial for classes (a
single sigmoid for two), one sigmoid a label for several labels, and ``||y - X w - b||^2 + alpha
||w||^2`` for numbers, each with a free intercept. At the same C (alpha) the coefficients are those
of `LogisticRegression` (`Ridge`). C and alpha are chosen by cross-validation inside the subset.

What makes the path of the logistic regression fast:

* L-BFGS runs in a whitened space. With ``A = c X'X + D / C`` (D is 1 but for the intercept) and
  ``A = L L'``, the variable is ``u`` with ``theta = u L^-1``: the Hessian is then near the
  identity and about twenty evaluations are enough. Only ``theta`` is whitened, never the data.
* Problems that differ only in which rows they hold out share each pass over the data: the folds
  and the fit on all rows are further columns of the same two products.
* On a CPU the gradient follows the logits part by part, while the features are in the cache.
* Each C starts from the solution of the one before; with fewer rows than features the fit is made
  in the space the rows span, which holds the solution.

The ridge path is one eigendecomposition.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from selfsight.fitting.head import Fitted, Head
from selfsight.fitting.labelled import Rows, Subset
from selfsight.fitting.metrics import headline_of
from selfsight.fitting.representations import Representations
from selfsight.kernels.gram import STRIP, product_for

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
_CHUNK = 65_536  # rows at once: bounds what is made for them
_CACHED = 1 << 22  # bytes of features at once on a CPU: the gradient finds them in the cache


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


@dataclass(frozen=True)
class Point:
    """One point of the path, for J problems of K outputs.

    Attributes:
        strength: C.
        weight: ``(J, K, F)``.
        bias: ``(J, K)``.
    """

    strength: float
    weight: Tensor
    bias: Tensor

    def logits(self, features: Tensor, problem: int) -> Tensor:
        """``(M, K)`` float32 or float64, as `features` are."""
        kind = features.dtype
        return F.linear(features, self.weight[problem].to(kind), self.bias[problem].to(kind))


def fit_path(
    features: Tensor,
    targets: Tensor,
    strengths: Sequence[float],
    used: Tensor | None = None,
    *,
    outputs: int,
    entry_weights: Tensor | None = None,
    tolerance: float = 1e-4,
    max_iterations: int = 200,
) -> Iterator[Point]:
    """Fits every problem at each C of the path; lazily, so that a caller may stop early.

    Args:
        features: ``(n, F)``, standardised.
        targets: ``(n,)`` int64 classes for the multinomial form, or ``(n, K)`` float 0 / 1 with
            NaN for unknown for sigmoids.
        strengths: C, from strong to weak regularisation (rising).
        used: ``(n, J)``, True where a row belongs to a problem, or its weight in it; None: one
            problem of all rows.
        outputs: K.
        entry_weights: ``(n, K)`` weight of each entry (sigmoids), None: 1.
        tolerance: largest entry of the gradient of the mean loss in the whitened space.
        max_iterations: of L-BFGS at each C.
    """
    if used is None:
        used = torch.ones(len(features), 1, dtype=torch.bool, device=features.device)
    small = features.numel() <= 4_000_000
    reduced, back = _span(features.double() if small else features)
    loss = _Logistic(reduced, targets, used, outputs, entry_weights)
    gram = _gram(reduced)
    theta = torch.zeros(used.shape[1] * outputs, reduced.shape[1] + 1, dtype=torch.float64)
    curvature = 0.25 if targets.ndim == 2 else (outputs - 1) / outputs**2
    for strength in strengths:
        theta = _minimise(loss, theta, gram, curvature, strength, tolerance, max_iterations)
        weight = theta[:, :-1].to(features.device)
        weight = weight @ back.double().T if back is not None else weight
        yield Point(
            strength,
            weight.reshape(used.shape[1], outputs, features.shape[1]),
            theta[:, -1].to(features.device).reshape(used.shape[1], outputs),
        )


def _span(features: Tensor) -> tuple[Tensor, Tensor | None]:
    """Coordinates in the space the rows span, and its orthonormal basis ``(F, r)``.

    With an L2 penalty the solution is a combination of the rows, and the norm is the same there.
    """
    count, width = features.shape
    if count >= width:
        return features, None
    double = features.double()
    values, vectors = torch.linalg.eigh(double @ double.T)
    keep = values > 1e-10 * values[-1].clamp_min(1e-300)
    roots = values[keep].sqrt()
    basis = double.T @ (vectors[:, keep] / roots)
    return (vectors[:, keep] * roots).to(features.dtype), basis


def _gram(features: Tensor) -> Tensor:
    """``(F + 1, F + 1)`` float64 second moments of the features and a constant, on the CPU.

    Of every so many rows where there are many: it is a metric, not part of the objective.
    """
    features = features[:: max(1, len(features) // (32 * features.shape[1]))]
    count = len(features)
    width = features.shape[1]
    gram = torch.zeros(width + 1, width + 1, dtype=torch.float64)
    for first in range(0, width, STRIP):
        last = min(first + STRIP, width)
        strip = (features[:, first:last].T @ features[:, first:]).double().cpu() / count
        gram[first:last, first:-1] = strip
        gram[first:-1, first:last] = strip.T
    gram[:-1, -1] = gram[-1, :-1] = features.sum(0).double().cpu() / count
    gram[-1, -1] = 1.0
    return gram


def _minimise(
    loss: _Logistic,
    theta: Tensor,
    gram: Tensor,
    curvature: float,
    strength: float,
    tolerance: float,
    max_iterations: int,
) -> Tensor:
    from scipy.optimize import minimize

    penalty = torch.full((len(gram),), 1.0 / (strength * loss.count), dtype=torch.float64)
    penalty[-1] = 0.0
    metric = curvature * gram + torch.diag(penalty)
    metric += 1e-9 * metric.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    factor = torch.linalg.cholesky(metric)
    inverse = torch.linalg.solve_triangular(
        factor, torch.eye(len(gram), dtype=torch.float64), upper=False
    )

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        point = torch.from_numpy(flat).reshape(theta.shape) @ inverse
        value, gradient = loss(point)
        value += 0.5 * float((point.square() * penalty).sum())
        gradient = (gradient + point * penalty) @ inverse.T
        return value, gradient.reshape(-1).numpy()

    exact = loss.features.dtype == torch.float64
    options: dict[str, Any] = {"maxiter": max_iterations, "maxcor": 10, "gtol": tolerance}
    options["ftol"] = 1e-15 if exact else 1e-9
    start = (theta @ factor).reshape(-1).numpy()
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
    solution: Tensor = torch.from_numpy(found).reshape(theta.shape) @ inverse
    return solution


class _Logistic:
    """Sum over problems of the losses of their rows, over the number of rows; with its gradient.

    The logits of the right answers enter the loss as they are: their sum is linear in the
    coefficients, and so is made once.

    Rows of the data are the last dimension of all that is made here: a softmax over ten classes
    is several times faster across rows than along them.
    """

    def __init__(
        self,
        features: Tensor,
        targets: Tensor,
        used: Tensor,
        outputs: int,
        entry_weights: Tensor | None,
    ) -> None:
        self.features = features
        self.count = len(features)
        self.outputs = outputs
        self.multiclass = targets.ndim == 1
        self.multiply = product_for(features, ours=True)
        size = _CHUNK
        if features.device.type == "cpu":
            size = max(256, _CACHED // (features.shape[1] * features.element_size()))
        self.parts = [
            (slice(first, first + size), features[first : first + size])
            for first in range(0, self.count, size)
        ]
        self.used = used.T.to(features.dtype)[:, None].contiguous()
        self.entries: Tensor | None = None
        if not self.multiclass:
            known = torch.isfinite(targets)
            weights = known if entry_weights is None else known * entry_weights
            self.entries = weights.T.to(features.dtype).contiguous()
            targets = torch.nan_to_num(targets).T.to(features.dtype).contiguous()
        width = features.shape[1] + 1
        self.linear = torch.zeros(used.shape[1] * outputs, width, dtype=torch.float64)
        for rows, part in self.parts:
            right = targets[..., rows]
            if self.multiclass:
                right = F.one_hot(right, outputs).T.to(features.dtype)
            self._add(self.linear, right * self._weights(rows), part)

    def _weights(self, rows: slice) -> Tensor:
        """Of entries, ``(J, K, B)``, or ``(J, 1, B)`` where those of a row are the same."""
        used = self.used[..., rows]
        return used if self.entries is None else used * self.entries[:, rows]

    def __call__(self, theta: Tensor) -> tuple[float, Tensor]:
        """Value and gradient ``(J * K, F + 1)`` float64 on the CPU, at theta of that shape."""
        gradient = -self.linear
        if self.multiclass and not bool(theta.any()):
            return self._at_zero(gradient)
        point = theta.to(self.features)
        weight, bias = point[:, :-1].contiguous(), point[:, -1:]
        value = (point.double().cpu() * gradient).sum()
        for rows, features in self.parts:
            logits = self._logits(weight, features).add_(bias)
            part, slope = self._of(logits.view(-1, self.outputs, logits.shape[1]), rows)
            value += part.cpu()
            self._add(gradient, slope, features)
        return float(value) / self.count, gradient / self.count

    def _logits(self, weight: Tensor, features: Tensor) -> Tensor:
        """``(J * K, B)`` products; with some ten outputs oneDNN is faster at their transpose."""
        if self.multiply is F.linear or not 4 <= len(weight) <= 12:
            return self.multiply(weight, features)
        return self.multiply(features, weight).T.contiguous()

    def _at_zero(self, gradient: Tensor) -> tuple[float, Tensor]:
        """Where a path begins: all classes are as likely, and each row belongs to one of them."""
        of_problem = gradient.view(len(self.used), self.outputs, -1)
        mean = of_problem - of_problem.mean(1, keepdim=True)
        value = math.log(self.outputs) * float(self.used.sum(dtype=torch.float64))
        return value / self.count, mean.flatten(0, 1) / self.count

    def _add(self, total: Tensor, slope: Tensor, features: Tensor) -> None:
        """Adds to ``(J * K, F + 1)`` the sum of rows ``(B, F)`` and a constant by ``(J, K, B)``."""
        slope = slope.flatten(0, 1)
        total[:, :-1] += self.multiply(slope, features.T).cpu()
        total[:, -1] += slope.sum(1).cpu()

    def _of(self, logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """The part of the loss that is not linear, and its derivative ``(J, K, B)``, at logits."""
        used = self._weights(rows)
        if not self.multiclass:
            value = (F.softplus(logits) * used).sum(dtype=torch.float64)
            return value, logits.sigmoid_().mul_(used)
        log_probability = logits.log_softmax(1)
        value = ((logits[:, :1] - log_probability[:, :1]) * used).sum(dtype=torch.float64)
        return value, log_probability.exp_().mul_(used)
