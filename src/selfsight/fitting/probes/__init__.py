"""Probes: small models on frozen representations.

Everything they choose is chosen inside the labelled subset they are given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.data.imageset import ImageSet, Target, TargetKind
from selfsight.fitting.folds import groups_of, held_out
from selfsight.fitting.probes import knn as neighbours
from selfsight.fitting.probes.logistic import Fit, fit_path
from selfsight.fitting.probes.ridge import ridge_path
from selfsight.fitting.representations import Representations
from selfsight.measures import knn_predict

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""C of the logistic probes, on representations centred and scaled by one number."""
ALPHAS = tuple(10.0**power for power in range(-2, 8))
"""Penalties of the ridge probe, on the same scale."""
DEFAULT_STRENGTH = 10.0
DEFAULT_ALPHA = 100.0
_FOLDS = 5
_PATIENCE = 2  # worse points of a path in a row before it is left


@dataclass(frozen=True)
class Subset:
    """A labelled subset as a probe sees it.

    Attributes:
        kind: of the target.
        features: ``(n, F)`` as the backbone gave them.
        mean: ``(F,)`` over the train rows, labelled or not.
        scale: 0-d, root of the mean variance over the same rows.
        values: classes ``(n,)`` int64; labels or numbers ``(n, K)`` float32, NaN unknown.
        groups: ``(n,)`` from 0; never cut by a fold.
        outputs: K: classes, labels or numbers.
        seed: of folds and of anything random.
        balanced: whether rare classes and labels count more, see `weights`.
    """

    kind: TargetKind
    features: Tensor
    mean: Tensor
    scale: Tensor
    values: NDArray[Any]
    groups: NDArray[np.int64]
    outputs: int
    seed: int
    balanced: bool = False

    @classmethod
    def of(
        cls,
        representations: Representations,
        images: ImageSet,
        target: Target,
        rows: NDArray[np.int64],
        seed: int,
        *,
        balanced: bool = False,
    ) -> Subset:
        """The labelled ``rows`` of an image set."""
        return cls(
            kind=target.kind,
            features=representations.at(rows),
            mean=representations.mean,
            scale=representations.scale,
            values=target.values[rows],
            groups=groups_of(images.groups, rows),
            outputs=len(target.names),
            seed=seed,
            balanced=balanced,
        )

    @property
    def standardised(self) -> Tensor:
        return (self.features - self.mean) / self.scale

    def targets(self) -> Tensor:
        return torch.from_numpy(self.values).to(self.features.device)

    def weights(self) -> Tensor | None:
        """The weight of each row ``(n,)`` or entry ``(n, K)`` in the loss; None: all 1.

        Rows of a class by the inverse of its frequency, of mean 1 (scikit-learn's "balanced");
        positives of a label by its negatives over its positives, at most 100.
        """
        if not self.balanced or self.kind not in ("class", "labels"):
            return None
        if self.kind == "class":
            counts = np.bincount(self.values, minlength=self.outputs)
            of_class = len(self.values) / (max((counts > 0).sum(), 1) * np.maximum(counts, 1))
            weights = of_class[self.values]
        else:
            positive, negative = (self.values > 0.5).sum(0), (self.values < 0.5).sum(0)
            of_label = np.clip(negative / np.maximum(positive, 1), 0.01, 100.0)
            weights = np.where(self.values > 0.5, of_label, 1.0)
        return torch.from_numpy(weights.astype(np.float32)).to(self.features.device)

    def enough(self) -> bool:
        """Whether there are two labels a class (or ten images with a label) to choose by."""
        least = 2 * self.outputs if self.kind == "class" else 10
        return len(self.values) >= least and len(np.unique(self.groups)) >= 2

    def folds(self) -> NDArray[np.int64]:
        most = _FOLDS if len(self.values) <= 10_000 else 3
        return held_out(self.values, self.groups, folds=most, seed=self.seed)


@dataclass(frozen=True)
class Fitted:
    """A probe after its fit.

    Attributes:
        predict: ``(M, F)`` representations to ``(M, K)`` probabilities or numbers.
        choice: what was chosen, by name; ``"chosen": False`` where the fixed default was used.
        thresholds: ``(K,)`` of the probabilities, for several labels.
        state: named tensors that a predictor is made of.
    """

    predict: Callable[[Tensor], Tensor]
    choice: dict[str, Any]
    thresholds: NDArray[np.float64] | None = None
    state: dict[str, Tensor] = field(default_factory=dict)


Probe = Callable[[Subset], Fitted]


def knn(subset: Subset) -> Fitted:
    """Weighted nearest neighbours by cosine; the number of neighbours by leave-one-group-out."""
    labels, bank = subset.targets(), subset.features
    enough = subset.enough()
    k = 1
    if enough:
        groups = torch.from_numpy(subset.groups).to(bank.device)
        k = neighbours.choose_neighbours(bank, labels, groups, subset.outputs, seed=subset.seed)

    def predict(features: Tensor) -> Tensor:
        return knn_predict(
            bank,
            labels,
            features,
            num_classes=subset.outputs,
            k=k,
            temperature=neighbours.TEMPERATURE,
        )

    choice = {"chosen": enough, "k": k, "temperature": neighbours.TEMPERATURE}
    return Fitted(predict, choice, state={"bank": bank, "labels": labels})


def linear(subset: Subset) -> Fitted:
    """Logistic regression for classes and labels, ridge for numbers."""
    return _ridge(subset) if subset.kind == "number" else _logistic(subset)


def _logistic(subset: Subset) -> Fitted:
    features = subset.standardised
    targets, outputs = subset.targets(), subset.outputs
    two = subset.kind == "class" and outputs == 2
    if two:
        targets, outputs = targets[:, None].to(features.dtype), 1
    enough = subset.enough()
    fold = subset.folds() if enough else np.zeros(len(features), np.int64)
    enough = enough and int(fold.max()) > 0
    inside = np.ones((len(features), int(fold.max()) + 2 if enough else 1), np.bool_)
    if enough:
        inside[np.arange(len(fold)), fold] = False  # the last problem is the fit on all rows
    used = torch.from_numpy(inside).to(features.device)
    weights = subset.weights()
    of_entries = weights if subset.kind == "labels" else None
    if weights is not None and of_entries is None:
        used = used * weights[:, None]
    strengths = STRENGTHS if enough else (DEFAULT_STRENGTH,)
    best: Fit | None = None
    lowest, worse = np.inf, 0
    outside = torch.zeros(len(features), outputs, dtype=features.dtype, device=features.device)
    path = fit_path(features, targets, strengths, used, outputs=outputs, entry_weights=of_entries)
    for fit in path:
        if not enough:
            best = fit
            break
        logits = _held_out_logits(fit, features, fold)
        loss = _mean_loss(logits, targets, weights)
        worse = 0 if loss < lowest else worse + 1
        if loss < lowest:
            best, lowest, outside = fit, loss, logits
        if worse >= _PATIENCE:
            break
    assert best is not None
    weight, bias = best.weight[-1].float(), best.bias[-1].float()
    mean, scale = subset.mean, subset.scale

    def predict(fresh: Tensor) -> Tensor:
        logits = torch.nn.functional.linear((fresh - mean) / scale, weight, bias)
        if two:
            likely = torch.sigmoid(logits)
            return torch.cat([1 - likely, likely], 1)
        return logits.softmax(1) if subset.kind == "class" else torch.sigmoid(logits)

    thresholds = None
    if subset.kind == "labels":
        thresholds = np.full(outputs, 0.5)
        if enough:
            thresholds = best_thresholds(torch.sigmoid(outside).cpu().numpy(), subset.values)
    choice = {"chosen": enough, "C": best.strength}
    state = {"weight": weight, "bias": bias, "mean": mean, "scale": scale}
    return Fitted(predict, choice, thresholds, state)


def _held_out_logits(fit: Fit, features: Tensor, fold: NDArray[np.int64]) -> Tensor:
    """``(n, K)``: each row by the problem that did not use it."""
    logits = torch.zeros(
        len(features), fit.bias.shape[1], dtype=features.dtype, device=features.device
    )
    for number in range(int(fold.max()) + 1):
        rows = torch.from_numpy(np.flatnonzero(fold == number)).to(features.device)
        logits[rows] = fit.logits(features[rows], number)
    return logits


def _mean_loss(logits: Tensor, targets: Tensor, weights: Tensor | None) -> float:
    """Over the known entries, each with its weight; the scale of the weights does not matter."""
    if targets.ndim == 1:
        each = torch.nn.functional.cross_entropy(logits.double(), targets, reduction="none")
        return float(each.mean() if weights is None else (each * weights).mean())
    known = torch.isfinite(targets)
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        logits.double(), torch.nan_to_num(targets).double(), reduction="none"
    )
    if weights is not None:
        each = each * (weights if weights.ndim == 2 else weights[:, None])
    return float(each[known].mean())


def best_thresholds(
    probabilities: NDArray[np.float32], values: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The threshold of each label with the best F1; 0.5 where a label has no positive.

    Args:
        probabilities: ``(n, K)``, of rows that were held out.
        values: ``(n, K)`` 0 / 1, NaN unknown.
    """
    thresholds = np.full(values.shape[1], 0.5)
    for label in range(values.shape[1]):
        known = ~np.isnan(values[:, label])
        score, true = probabilities[known, label], values[known, label] > 0.5
        if not true.any():
            continue
        order = np.argsort(-score, kind="stable")
        score, hits = score[order], np.cumsum(true[order])
        f1 = 2 * hits / (np.arange(1, len(hits) + 1) + true.sum())
        ends = np.append(score[1:] != score[:-1], True)  # a threshold cannot part equal scores
        best = int(np.argmax(np.where(ends, f1, -1.0)))
        below = score[best + 1] if best + 1 < len(score) else 0.0
        thresholds[label] = (float(score[best]) + float(below)) / 2
    return thresholds


def _ridge(subset: Subset) -> Fitted:
    features = subset.standardised.double()
    enough = subset.enough()
    fold = subset.folds() if enough else np.zeros(len(features), np.int64)
    enough = enough and int(fold.max()) > 0
    weights, biases, chosen = [], [], []
    for output in range(subset.outputs):
        values = subset.values[:, output]
        known = np.flatnonzero(~np.isnan(values))
        if not len(known):
            raise ValueError("a number is unknown in all of the labelled images.")
        target = torch.from_numpy(values).double().to(features.device)
        alpha = DEFAULT_ALPHA
        if enough:
            alpha = _choose_alpha(features, target, known, fold)
        index = torch.from_numpy(known).to(features.device)
        weight, bias = ridge_path(features[index], target[index], [alpha])
        weights.append(weight[0])
        biases.append(bias[0])
        chosen.append(alpha)
    weight, bias = torch.stack(weights), torch.stack(biases)
    mean, scale = subset.mean, subset.scale

    def predict(fresh: Tensor) -> Tensor:
        return torch.nn.functional.linear(((fresh - mean) / scale).double(), weight, bias).float()

    state = {"weight": weight.float(), "bias": bias.float(), "mean": mean, "scale": scale}
    return Fitted(predict, {"chosen": enough, "alpha": chosen}, state=state)


def _choose_alpha(
    features: Tensor, target: Tensor, known: NDArray[np.int64], fold: NDArray[np.int64]
) -> float:
    """The penalty with the least squared error on the rows held out."""
    error = torch.zeros(len(ALPHAS), dtype=torch.float64, device=features.device)
    for number in range(int(fold.max()) + 1):
        inside = torch.from_numpy(known[fold[known] != number]).to(features.device)
        outside = torch.from_numpy(known[fold[known] == number]).to(features.device)
        if not len(inside) or not len(outside):
            continue
        weight, bias = ridge_path(features[inside], target[inside], ALPHAS)
        predicted = features[outside] @ weight.T + bias
        error += (predicted - target[outside, None]).square().sum(0)
    return ALPHAS[int(error.argmin())]


def mlp(subset: Subset) -> Fitted:
    """A small network; its length is chosen on a validation cut from the labelled subset."""
    from selfsight.fitting.probes.mlp import fit_mlp

    return fit_mlp(subset)


PROBES: dict[str, Probe] = {"knn": knn, "linear": linear, "mlp": mlp}
