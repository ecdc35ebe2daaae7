"""Training a `Classifier` on labelled representations, with rows held out by group or without."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.data.imageset import Target
from selfsight.fitting.metrics import score
from selfsight.fitting.stopping import StoppingRule
from selfsight.tuning.classifier import (
    Classifier,
    Stack,
    class_loss,
    labels_loss,
    number_loss,
)

Rows = NDArray[np.int64]


class DivergedError(ValueError):
    """The training gave numbers that are not finite."""


@dataclass(frozen=True)
class Labelled:
    """What a classifier is fitted to.

    Attributes:
        target: of the whole image set.
        rows: ``(n,)`` labelled rows of it.
        features: ``(n, F)`` their representations, standardised.
        folds: ``(n,)`` which fold holds each of them out; -1: none does.
    """

    target: Target
    rows: Rows
    features: Tensor
    folds: Rows

    @property
    def inside(self) -> list[Rows]:
        """For each fold, the places (of ``rows``) that it is trained on."""
        return [np.flatnonzero(self.folds != k) for k in range(int(self.folds.max()) + 1)]

    @property
    def outside(self) -> list[Rows]:
        return [np.flatnonzero(self.folds == k) for k in range(int(self.folds.max()) + 1)]


@dataclass
class Fit:
    """A trained classifier.

    Attributes:
        stack: the networks, at their best epoch where rows were held out.
        centre: ``(K, 1, O)`` of the numbers; zero for other targets.
        spread: ``(K, 1, O)``.
        epochs: passes over the rows.
        best_epoch: the one that counts, from 1.
        value: the metric of the rows held out, at that epoch.
        curve: the metric after each epoch.
        losses: the loss of the rows held out after each epoch.
        output: ``(m, O)`` predictions of the rows held out at that epoch, ascending by row.
        stopped: whether the stopping rule ended it.
    """

    stack: Stack
    centre: Tensor
    spread: Tensor
    epochs: int = 0
    best_epoch: int = 0
    value: float = math.nan
    curve: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    output: NDArray[np.float32] | None = None
    stopped: bool = False

    def predict(self, features: Tensor, kind: str) -> Tensor:
        """``(M, F)`` standardised representations to ``(M, O)``, the mean of the K networks."""
        self.stack.eval()
        with torch.no_grad():
            raw = self.stack(features.expand(len(self.centre), *features.shape))
        return _activated(raw, kind, self.centre, self.spread).mean(0)


def fit(
    labelled: Labelled,
    settings: Classifier,
    *,
    metric: str,
    epochs: int,
    rule: StoppingRule | None,
    watch: str = "metric",
    seed: int = 0,
    look: Callable[[int, float], None] | None = None,
) -> Fit:
    """Trains one network for each fold, in step; scores what they hold out after each epoch.

    Args:
        labelled: representations and folds; without any fold one network sees all rows and
            nothing is held out.
        settings: of the classifier.
        metric: of the target's kind, or ``loss``.
        epochs: at most; exactly that many without folds.
        rule: ends the training early.
        watch: what the rule sees: ``metric`` or ``loss``.
        seed: of weights, order and dropout.
        look: called after each epoch with its number and the best metric so far; may raise.

    Raises:
        DivergedError: the outputs are not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout
        return _fit(labelled, settings, metric, epochs, rule, watch, seed, look)


def _fit(
    labelled: Labelled,
    settings: Classifier,
    metric: str,
    epochs: int,
    rule: StoppingRule | None,
    watch: str,
    seed: int,
    look: Callable[[int, float], None] | None,
) -> Fit:
    generator = torch.Generator().manual_seed(seed)
    target, features = labelled.target, labelled.features
    device = features.device
    held = bool((labelled.folds >= 0).any())
    inside = labelled.inside if held else [np.arange(len(labelled.rows))]
    outputs = len(target.names)
    stack = Stack(settings, features.shape[1], outputs, len(inside), generator).to(device)
    centre, spread = _scales(target, labelled.rows, inside)
    found = Fit(stack, centre.to(device), spread.to(device))
    loss = _loss(target, labelled.rows, inside, settings, device)
    truth = _truth(target, labelled.rows).to(device)
    optimizer = stack.build_optimizer()
    best: tuple[float, dict[str, Tensor]] | None = None
    for epoch in range(1, epochs + 1):
        stack.train()
        for index in _batches(inside, settings.batch_size, generator):
            places = index.to(device)
            optimizer.zero_grad(set_to_none=True)
            loss(stack(features[places]), _scaled(truth[places], found)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        found.epochs = epoch
        if not held:
            continue
        output, lost = _held_out(labelled, found, loss, truth)
        value = _value(labelled, output, metric, lost)
        found.curve.append(value)
        found.losses.append(lost)
        watched = value if watch == "metric" else lost
        over = rule.step(watched) if rule is not None else False
        if rule is None or rule.is_best:
            best = value, copy.deepcopy(stack.state_dict())
            found.value, found.best_epoch, found.output = value, epoch, output
        if look is not None:
            look(epoch, found.value)
        if over:
            found.stopped = True
            break
    if best is not None:
        stack.load_state_dict(best[1])
    if not held:
        found.best_epoch = found.epochs
    stack.eval()
    return found


def _batches(inside: list[Rows], size: int, generator: torch.Generator) -> list[Tensor]:
    """``(K, B)`` places for each step of an epoch; what does not fill a batch is left out."""
    least = min(len(rows) for rows in inside)
    size = min(size, least)
    orders = [
        torch.from_numpy(rows)[torch.randperm(len(rows), generator=generator)] for rows in inside
    ]
    stacked = torch.stack([order[: least // size * size] for order in orders])
    return list(torch.split(stacked, size, dim=1))


def _truth(target: Target, rows: Rows) -> Tensor:
    return torch.from_numpy(target.values[rows])


def _scales(target: Target, rows: Rows, inside: list[Rows]) -> tuple[Tensor, Tensor]:
    """``(K, 1, O)`` mean and deviation of the numbers over the rows that each fold trains on."""
    shape = (len(inside), 1, len(target.names))
    centre, spread = torch.zeros(shape), torch.ones(shape)
    if target.kind != "number":
        return centre, spread
    for k, places in enumerate(inside):
        values = target.values[rows[places]]
        known = np.isfinite(values)
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, values, 0.0).sum(0) / count
        square = (np.where(known, values - mean, 0.0) ** 2).sum(0) / count
        centre[k, 0] = torch.from_numpy(mean.astype(np.float32))
        spread[k, 0] = torch.from_numpy(np.where(square > 0, square**0.5, 1.0).astype(np.float32))
    return centre, spread


def _scaled(truth: Tensor, found: Fit) -> Tensor:
    return truth if truth.ndim == 2 else (truth - found.centre) / found.spread


Loss = Callable[[Tensor, Tensor], Tensor]


def _loss(
    target: Target, rows: Rows, inside: list[Rows], settings: Classifier, device: torch.device
) -> Loss:
    smoothing = settings.label_smoothing
    if target.kind == "number":
        return number_loss
    weights = None
    if settings.class_weights is not None:
        counts = torch.stack([_frequencies(target, rows[places]) for places in inside])
        weights = counts if settings.class_weights == "balanced" else counts.sqrt()
        weights = weights.to(device)
    loss = class_loss if target.kind == "class" else labels_loss
    return lambda raw, truth: loss(raw, truth, weights, smoothing)


def _frequencies(target: Target, rows: Rows) -> Tensor:
    """``(O,)``: images over (classes x images of the class); negatives over positives of labels."""
    values = target.values[rows]
    if target.kind == "class":
        count = np.bincount(values, minlength=len(target.names))
        weights = len(values) / (len(target.names) * np.maximum(count, 1))
    else:
        weights = (values == 0).sum(0) / np.maximum((values == 1).sum(0), 1)
    return torch.from_numpy(np.asarray(weights, np.float32)).clamp(1e-2, 1e2)


def _held_out(
    labelled: Labelled, found: Fit, loss: Loss, truth: Tensor
) -> tuple[NDArray[np.float32], float]:
    """Predictions of all rows held out, ascending, and their mean loss."""
    outside = labelled.outside
    features, device = labelled.features, labelled.features.device
    most = max(len(rows) for rows in outside)
    padded = np.stack([np.resize(rows, most) for rows in outside])  # repeats fill the short ones
    found.stack.eval()
    with torch.no_grad():
        raw = found.stack(features[torch.from_numpy(padded).to(device)])
        if not bool(torch.isfinite(raw).all()):
            raise DivergedError("its outputs are not finite")
        places = torch.from_numpy(padded).to(device)
        lost = float(loss(raw, _scaled(truth[places], found))) / len(outside)
        output = _activated(raw, labelled.target.kind, found.centre, found.spread)
    rows = np.concatenate([padded[k, : len(places)] for k, places in enumerate(outside)])
    values = torch.cat([output[k, : len(places)] for k, places in enumerate(outside)])
    return values.float().cpu().numpy()[np.argsort(rows)], lost


def _activated(raw: Tensor, kind: str, centre: Tensor, spread: Tensor) -> Tensor:
    if kind == "class":
        return raw.softmax(-1)
    return raw.sigmoid() if kind == "labels" else raw * spread + centre


def _value(labelled: Labelled, output: NDArray[np.float32], metric: str, lost: float) -> float:
    if metric == "loss":
        return lost
    places = np.sort(np.concatenate(labelled.outside))
    rows = labelled.rows[places]
    thresholds = np.full(len(labelled.target.names), 0.5)
    values = score(labelled.target, output, rows, np.ones((1, len(rows))), thresholds)
    return float(values[metric, None][0])
