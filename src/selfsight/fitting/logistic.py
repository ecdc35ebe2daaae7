"""Logistic regression along a path of C, of several problems at once: scikit-learn's objective.

What makes it fast:

* L-BFGS runs in a whitened space. With ``A = c X'X + D / C`` (D is 1 but for the intercept) and
  ``A = L L'``, the variable is ``u`` with ``theta = u L^-1``: the Hessian is then near the
  identity and about twenty evaluations are enough. Only ``theta`` is whitened, never the data.
* Problems that differ only in which rows they hold out share each pass over the data: the folds
  and the fit on all rows are further columns of the same two products.
* On a CPU the gradient follows the logits part by part, while the features are in the cache.
* Each C starts from the solution of the one before; with fewer rows than features the fit is made
  in the space the rows span, which holds the solution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy import float64
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from selfsight.kernels.gram import STRIP, product_for
from selfsight.kernels.threads import beside_scipy

_ITERATIONS = 200  # of L-BFGS at each C, at most
_CHUNK = 65_536  # rows at once: bounds what is made for them
_CACHED = 1 << 22  # bytes of features at once on a CPU: the gradient finds them in the cache


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
        theta = _minimise(loss, theta, gram, curvature, strength, tolerance)
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

    def objective(flat: NDArray[float64]) -> tuple[float, NDArray[float64]]:
        point = torch.from_numpy(flat).reshape(theta.shape) @ inverse
        value, gradient = loss(point)
        value += 0.5 * float((point.square() * penalty).sum())
        gradient = (gradient + point * penalty) @ inverse.T
        return value, gradient.reshape(-1).numpy()

    on_cpu = loss.features.device.type == "cpu"
    work = 4.0 * loss.features.numel() * len(theta) if on_cpu else 0.0
    exact = loss.features.dtype == torch.float64
    options: dict[str, Any] = {"maxiter": _ITERATIONS, "maxcor": 10, "gtol": tolerance}
    options["ftol"] = 1e-15 if exact else 1e-9
    start = (theta @ factor).reshape(-1).numpy()
    with beside_scipy(work):
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
