"""The fine-tuning that `tune finetune` searches, and one training with it.

Start, views, schedule and the head's first weights are those of
`selfsight.fitting.finetune`; here every other setting is one value that a search may choose.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from selfsight.draws import keys_of, permutation
from selfsight.fitting.finetune import (
    FineTuned,
    Labelled,
    first_head,
    in_training,
    layered_optimizer,
    number_scale,
    share_of_peak,
    standardised_targets,
)
from selfsight.fitting.folds import groups_of
from selfsight.fitting.metrics import score
from selfsight.fitting.stopping import StoppingRule
from selfsight.kernels.memory_pages import freed_pages_kept
from selfsight.losses.targets import known_entries, mean_over_known, target_losses
from selfsight.networks.backbones import Backbone
from selfsight.settings import Settings
from selfsight.tuning.fitting import DivergedError
from selfsight.views.apply import make_views

LOOKS = 20
"""At the held-out images, over the longest training."""
Rate = Annotated[float, Field(gt=0.0)]
Rows = NDArray[np.int64]


class Recipe(Settings):
    """How the weights of a backbone and of a linear head on it are trained on labels."""

    backbone_lr: Rate = 1e-3
    """Peak learning rate of the backbone (AdamW, warm-up and cosine)."""
    head_lr: Rate = 1e-2
    """Peak learning rate of the head, which starts from the linear probe."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.05
    """Weight decay; never on biases and normalisation."""
    frozen: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Share of the training, at its beginning, in which the head alone is trained."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the representation that is dropped in front of the head."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the target that is spread over all classes; labels move towards a half."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Images of a step; all of them where they are fewer."""
    epochs: Annotated[int, Field(ge=1)] = 30
    """Passes over the labelled images, at most ..."""
    min_steps: Annotated[int, Field(ge=1)] = 500
    """... but with few images so many steps."""

    def steps(self, images: int) -> int:
        """The longest training on so many images."""
        batch = min(self.batch_size, images)
        return max(self.epochs * math.ceil(images / batch), self.min_steps)


@dataclass
class Trained:
    """A fine-tuned pair at its best look; at its last one where nothing was held out.

    Attributes:
        found: the pair.
        steps: of the training until then.
        value: the metric of the rows held out, at that look.
        curve: the metric at each look.
        output: ``(m, K)`` predictions of the rows held out, at that look.
        stopped: whether the stopping rule ended it.
    """

    found: FineTuned
    steps: int
    value: float = math.nan
    curve: list[float] = field(default_factory=list)
    output: NDArray[np.float32] | None = None
    stopped: bool = False

    @property
    def epochs(self) -> int:
        """Looks that were made; a study counts them as epochs."""
        return len(self.curve)

    @property
    def best_epoch(self) -> int:
        """The look that counts, from 1."""
        return int(np.argmax(np.equal(self.curve, self.value))) + 1


@freed_pages_kept()
def train(
    start: Backbone,
    features: Tensor,
    labelled: Labelled,
    recipe: Recipe,
    held: NDArray[np.bool_],
    *,
    metric: str,
    rule: StoppingRule | None = None,
    look: Callable[[int, float], None] | None = None,
    stop_at: int | None = None,
) -> Trained:
    """One fine-tuning: a function of its arguments on one machine and number of threads.

    Args:
        start: weights to begin with; left as they are.
        features: ``(n, F)`` representations of the labelled rows by `start`.
        labelled: images, target and rows.
        recipe: how.
        held: ``(n,)`` rows that are not trained on; the metric is taken on them `LOOKS` times.
        metric: of the target's kind.
        rule: ends the training early.
        look: called after each look with its number and the best metric so far; may raise.
        stop_at: the step it ends at; the schedule stays that of the whole training.

    Raises:
        DivergedError: the predictions are not finite.
    """
    devices = [labelled.device] if labelled.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(labelled.seed)  # dropout
        return _train(start, features, labelled, recipe, held, metric, rule, look, stop_at)


def _train(
    start: Backbone,
    features: Tensor,
    labelled: Labelled,
    recipe: Recipe,
    held: NDArray[np.bool_],
    metric: str,
    rule: StoppingRule | None,
    look: Callable[[int, float], None] | None,
    stop_at: int | None,
) -> Trained:
    inside, outside = np.flatnonzero(~held), np.flatnonzero(held)
    groups = groups_of(labelled.images.groups, labelled.rows)
    backbone = in_training(start, labelled.device)
    head = first_head(features, labelled, inside, groups)
    rates = (recipe.backbone_lr, recipe.head_lr)
    optimizer = layered_optimizer(backbone, head, rates, recipe.weight_decay)
    total = recipe.steps(len(labelled.rows))
    made = Trained(_pair(backbone, head, labelled), 0)
    views, targets = labelled.views(), standardised_targets(labelled)
    batches, between = _Order(inside, recipe.batch_size, labelled.seed), max(1, total // LOOKS)
    for step in range(total if stop_at is None else stop_at):
        progress = (step + 1) / total
        frozen = step < recipe.frozen * total
        backbone.train(not frozen)
        places = batches.next()
        keys = keys_of(labelled.seed, step, torch.arange(len(places))).to(labelled.device)
        (view,) = make_views(
            labelled.batch(labelled.rows[places]), keys, views, labelled.statistics
        )
        here = targets[torch.from_numpy(places).to(targets.device)]
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share_of_peak(progress)
        optimizer.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(not frozen):
            represented = backbone(view)
        raw = head(F.dropout(represented, recipe.dropout))
        _loss(raw, here, labelled.target.kind, recipe.label_smoothing).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if not len(outside) or (step + 1) % between:
            continue
        now = _pair(backbone, head, labelled)
        output = now.predict(labelled.images, labelled.rows[outside], labelled.statistics).numpy()
        value = _value(labelled, output, outside, metric)
        made.curve.append(value)
        over = rule.step(value) if rule is not None else False
        if rule is None or rule.is_best:
            kept = copy.deepcopy(now.backbone), copy.deepcopy(now.head)
            made.found = _pair(*kept, labelled)
            made.value, made.output, made.steps = value, output, step + 1
        if look is not None:
            look(len(made.curve), made.value)
        if over:
            made.stopped = True
            break
    if not len(outside):
        made.steps = stop_at or total
    made.found.backbone.eval()
    return made


class _Order:
    """Places of the rows to train on, batch after batch, in another order each pass."""

    def __init__(self, inside: Rows, size: int, seed: int) -> None:
        self.inside, self.size, self.seed = inside, min(size, len(inside)), seed
        self.epoch, self.position = 0, 0
        self.order = permutation(seed, 0, len(inside)).numpy()

    def next(self) -> Rows:
        if self.position + self.size > len(self.order):
            self.epoch, self.position = self.epoch + 1, 0
            self.order = permutation(self.seed, self.epoch, len(self.inside)).numpy()
        chosen: Rows = self.inside[self.order[self.position : self.position + self.size]]
        self.position += self.size
        return chosen


def _pair(backbone: Backbone, head: nn.Linear, labelled: Labelled) -> FineTuned:
    centre, scale = (each.to(head.weight.device) for each in number_scale(labelled))
    return FineTuned(backbone, head, labelled.target.kind, centre, scale, None, {})


def _loss(raw: Tensor, targets: Tensor, kind: str, smoothing: float) -> Tensor:
    if kind == "class":
        return F.cross_entropy(raw, targets, label_smoothing=smoothing)
    if kind == "labels":
        targets = targets * (1 - smoothing) + smoothing / 2
    return mean_over_known(target_losses(raw, targets, kind), known_entries(targets))  # type: ignore[arg-type]


def _value(labelled: Labelled, output: NDArray[np.float32], outside: Rows, metric: str) -> float:
    if not np.isfinite(output).all():
        raise DivergedError("its predictions are not finite")
    target, rows = labelled.target, labelled.rows[outside]
    thresholds = np.full(len(target.names), 0.5)
    values = score(target, output, rows, np.ones((1, len(rows))), thresholds)
    return float(values[metric, None][0])
