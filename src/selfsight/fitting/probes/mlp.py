"""The MLP probe, and the classifier that `tune probe` searches: networks trained side by side.

One network for each fold is trained in step with the others; what they hold out is scored
together. The number of steps and the thresholds are chosen on it, then one network is trained on
all rows for as many steps.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.fitting.head import Fitted, Head
from selfsight.fitting.labelled import Rows, Subset, batches
from selfsight.fitting.loop import take_steps
from selfsight.fitting.representations import Representations
from selfsight.fitting.scores import headline_of
from selfsight.fitting.stack import Classifier, Stack
from selfsight.fitting.stopping import DivergedError, Look, Looks, Stopping
from selfsight.fitting.tasks import activated, fit_loss

TITLE = "MLP probe"
PHRASE = "an MLP probe"
ORDER = 30
KINDS = ("class", "labels", "number")

LOOKS = 100
"""At the rows held out, over the longest training."""


@dataclass
class TrainedStack:
    """Networks after their training.

    Attributes:
        stack: at the best look where rows were held out.
        centre, spread: ``(J, 1, K)`` of standardised numbers.
        steps: of the training, to the best look.
        looks: at the rows held out.
    """

    stack: Stack
    centre: Tensor
    spread: Tensor
    steps: int
    looks: Looks

    def head(self, kind: Any, representations: Representations) -> Head:
        """The first network, on representations as the backbone gives them."""
        head = self.stack.head(kind)
        head.mean.copy_(representations.mean)
        head.scale.copy_(representations.scale)
        head.centre.copy_(self.centre[0, 0])
        head.spread.copy_(self.spread[0, 0])
        return head


def train(
    subset: Subset,
    representations: Representations,
    settings: Classifier,
    folds: Rows | None = None,
    *,
    metric: str,
    stopping: Stopping | None = None,
    watch: str = "metric",
    look: Look | None = None,
    stop_at: int | None = None,
) -> TrainedStack:
    """Trains one network for each fold, in step; looks at what they hold out `LOOKS` times.

    A function of its arguments on one machine and number of threads.

    Args:
        subset: what may be read.
        representations: of its rows at least.
        settings: of the networks and the training.
        folds: ``(n,)`` which fold holds each row out, -1: none; without any fold, or None, one
            network sees all rows and nothing is held out.
        metric: of the target's kind, or ``loss``.
        stopping: ends the training early; None: never.
        watch: ``metric`` or ``loss``: by which the best look is told and the training ended.
        look: called after each look with its number and the best metric so far; may raise.
        stop_at: the step at which the training ends.

    Raises:
        DivergedError: the outputs are not finite.
    """
    folds = np.full(len(subset), -1, np.int64) if folds is None else folds
    features, kind = representations.standardised(subset.rows), subset.kind
    device, truth = features.device, subset.truth(features.device)
    outside = [np.flatnonzero(folds == k) for k in range(int(folds.max()) + 1)]
    inside = [np.setdiff1d(np.arange(len(subset)), out) for out in outside or [folds[:0]]]
    parts = [subset.take(places) for places in inside]
    generator = torch.Generator().manual_seed(subset.seed)
    stack = Stack(settings, features.shape[1], subset.outputs, len(parts), generator).to(device)
    centre, spread = (
        torch.stack(each)[:, None].to(device)
        for each in zip(*(part.number_scale() for part in parts), strict=True)
    )
    weights = None
    if settings.class_weights is not None and kind != "number":
        weights = torch.from_numpy(np.stack([part.class_weights() for part in parts])).to(device)
        weights = weights.sqrt() if settings.class_weights == "root" else weights
    optimizer = stack.build_optimizer()
    size = min(settings.batch_size, min(map(len, inside)))
    orders = [batches(places, size, subset.seed) for places in inside]

    def loss_at(raw: Tensor, places: Tensor, k: slice = slice(None)) -> Tensor:
        here = truth[places]
        if kind == "number":
            here = (here - centre[k]) / spread[k]
        of_class = None if weights is None else weights[k]
        return fit_loss(raw, here, kind, of_class, settings.label_smoothing)

    def step(number: int) -> None:
        places = torch.from_numpy(np.stack([next(order) for order in orders])).to(device)
        optimizer.zero_grad(set_to_none=True)
        loss_at(stack(features[places]), places).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @torch.no_grad()
    def predicted() -> tuple[NDArray[np.float32], float]:
        """Of the rows held out, ascending; their loss is the mean over the folds."""
        stack.eval()
        output = torch.full((len(subset), subset.outputs), torch.nan, device=device)
        lost = 0.0
        for k, rows in enumerate(outside):
            places, one = torch.from_numpy(rows).to(device), slice(k, k + 1)
            raw = stack(features[places], one)
            lost += float(loss_at(raw, places[None], one)) / len(outside)
            output[places] = activated(raw[0] * spread[k] + centre[k], kind)
        found = output[torch.from_numpy(folds >= 0)].float().cpu().numpy()
        if not np.isfinite(found).all():
            raise DivergedError("its outputs are not finite")
        stack.train()
        return found, lost

    looks, total = Looks(metric, stopping, watch, look), settings.steps(len(subset))
    steps = take_steps(
        subset,
        folds >= 0,
        looks,
        step,
        predicted,
        lambda: copy.deepcopy(stack.state_dict()),
        metric=metric,
        steps=stop_at or total,
        every=max(1, total // LOOKS),
        device=device,
    )
    if looks.best:
        stack.load_state_dict(looks.state)
    stack.eval()
    return TrainedStack(stack, centre, spread, steps, looks)


def fit(
    subset: Subset, representations: Representations, settings: Classifier | None = None
) -> Fitted:
    """The number of steps and the thresholds are chosen by folds inside the subset.

    Args:
        subset: what may be read.
        representations: of its rows at least.
        settings: of the classifier; None: its defaults.
    """
    settings = settings or Classifier()
    if subset.balanced:
        settings = settings.updated({"class_weights": "balanced"})
    folds = subset.folds()
    held, output = folds >= 0, None
    chosen, steps, score = bool(held.any()), settings.min_steps, None
    if chosen:
        tried = train(subset, representations, settings, folds, metric="loss", stopping=Stopping())
        steps, output = tried.steps, tried.looks.output
        if output is not None:
            score = (headline_of(subset.kind, output, subset.values[held]), -tried.looks.loss)
    whole = train(subset, representations, settings, metric="loss", stop_at=steps)
    head, thresholds = whole.head(subset.kind, representations), subset.thresholds(output, held)
    return Fitted(head, {"chosen": chosen, "steps": steps}, thresholds, score)
