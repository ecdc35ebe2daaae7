"""Fine-tuning: the weights of a backbone and of a head on it, trained on a labelled subset.

One training with given rates; `selfsight.fitting.search` chooses them.

The head starts from the linear probe of the starting weights, fitted to the same rows
(arXiv:2202.10054: a random head's first gradients damage a trained backbone). Where these weights
go back to published ones, the backbone first stays frozen, its early layers then learn more slowly
than its late ones, and the statistics of batch normalisation are held.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from selfsight.console import progress
from selfsight.data.imageset import ImageSet
from selfsight.data.statistics import Statistics
from selfsight.draws import keys_of
from selfsight.fitting.head import Head
from selfsight.fitting.labelled import Rows, Subset, batches
from selfsight.fitting.loop import take_steps
from selfsight.fitting.probes import PROBES
from selfsight.fitting.recipe import Recipe
from selfsight.fitting.representations import Representations, represent
from selfsight.fitting.stopping import DivergedError, Look, Looks, Stopping
from selfsight.fitting.tasks import fit_loss
from selfsight.kernels.memory_pages import freed_pages_kept
from selfsight.kernels.precision import fast_bf16
from selfsight.networks.backbones import Backbone
from selfsight.runs.run import Run
from selfsight.training.optimizers import add_pull, parameter_groups
from selfsight.views.apply import make_views
from selfsight.views.presets import resolve
from selfsight.views.settings import View

LOOKS = 20
"""At the rows held out, over the longest training."""
_WARMUP = 0.1  # share of the steps in which the rates rise


@dataclass(frozen=True)
class Start:
    """Weights that a training begins with; they are left as they are.

    Attributes:
        backbone: the weights.
        statistics: of the channels, that the backbone was trained with.
        device: where the training runs.
        published: whether the weights go back to published ones.
    """

    backbone: Backbone
    statistics: Statistics
    device: torch.device
    published: bool = False

    @classmethod
    def of_run(cls, run: Run, device: torch.device, *, allow_code: bool = False) -> Start:
        """The trained weights of a run."""
        backbone = run.backbone(allow_code=allow_code)
        return cls(backbone, run.statistics, device, run.started_published)

    def represent(self, subset: Subset) -> Tensor:
        """``(n, F)`` on the CPU: the representations of a subset's rows."""
        return represent(
            self.backbone, subset.images, subset.rows, self.statistics, device=self.device
        )


@dataclass
class FineTuned:
    """A backbone and its head after their training.

    Attributes:
        backbone: in eval mode.
        head: on its representations.
        statistics: of the channels.
        steps: of the training, to the best look.
        looks: at the rows held out.
        thresholds: ``(K,)`` for several labels.
        choice: rates and steps, and whether they could be chosen.
    """

    backbone: Backbone
    head: Head
    statistics: Statistics
    steps: int
    looks: Looks
    thresholds: NDArray[np.float64] | None = None
    choice: dict[str, Any] = field(default_factory=dict)

    def predict(self, images: ImageSet, rows: Rows) -> NDArray[np.float32]:
        """``(len(rows), K)`` probabilities or numbers."""
        device = self.head.mean.device
        features = represent(self.backbone, images, rows, self.statistics, device=device)
        with torch.no_grad():
            return np.asarray(self.head(features.to(device)).float().cpu().numpy())


@freed_pages_kept()
def train(
    start: Start,
    subset: Subset,
    recipe: Recipe,
    features: Tensor,
    held: NDArray[np.bool_] | None = None,
    *,
    metric: str,
    stopping: Stopping | None = None,
    look: Look | None = None,
    stop_at: int | None = None,
) -> FineTuned:
    """One training of backbone and head, with `LOOKS` looks at the rows held out.

    A function of its arguments on one machine and number of threads. The schedule is that of the
    longest training, whatever the step at which it stops.

    Args:
        start: the weights to begin with.
        subset: what may be read.
        recipe: how.
        features: ``(n, F)`` representations of the subset by the start.
        held: ``(n,)`` rows that are not trained on; None: all are.
        metric: of the target's kind, or ``loss``: taken of the rows held out.
        stopping: ends the training early; None: never.
        look: called after each look with its number and the best metric so far; may raise.
        stop_at: the step at which the training ends.

    Raises:
        DivergedError: the predictions are not finite.
    """
    recipe = recipe.resolved(published=start.published)
    held = np.zeros(len(subset), np.bool_) if held is None else held
    inside, outside = np.flatnonzero(~held), np.flatnonzero(held)
    kind, device, smoothing = subset.kind, start.device, recipe.label_smoothing
    backbone = _in_training(start, held=recipe.batch_norm == "held")
    anchored = list(backbone.parameters()) if recipe.anchor else []
    first = [weight.detach().clone() for weight in anchored]
    head = first_head(subset.take(inside), features[torch.from_numpy(inside)]).to(device)
    optimizer = _optimizer(backbone, head, recipe)
    total, order = recipe.steps(len(subset)), batches(inside, recipe.batch_size, subset.seed)
    views, truth, weights = _views(subset), subset.truth(device), None
    if kind == "number":
        truth = (truth - head.centre) / head.spread
    elif subset.balanced:
        weights = torch.from_numpy(subset.class_weights()).to(device)[None]

    def loss_at(raw: Tensor, places: Rows) -> Tensor:
        here = truth[torch.from_numpy(places).to(device)]
        return fit_loss(raw[None], here[None], kind, weights, smoothing)

    def step(number: int) -> None:
        assert recipe.frozen is not None
        frozen = number <= recipe.frozen * total
        backbone.train(not frozen)
        places = next(order)
        keys = keys_of(subset.seed, number - 1, torch.arange(len(places))).to(device)
        (view,) = make_views(_pixels(subset, places, device), keys, views, start.statistics)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share_of_peak(number / total)
        optimizer.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(not frozen):
            represented = backbone(view)
        raw = head.layers(F.dropout(represented, recipe.dropout))
        loss_at(raw, places).backward()  # type: ignore[no-untyped-call]
        add_pull(anchored, first, recipe.anchor)
        optimizer.step()
        shown.update()

    @torch.no_grad()
    def predicted() -> tuple[NDArray[np.float32], float]:
        represented = represent(
            backbone, subset.images, subset.rows[outside], start.statistics, device=device
        ).to(device)
        output = np.asarray(head(represented).float().cpu().numpy())
        lost = float(loss_at(head.layers(represented), outside))
        if not np.isfinite(output).all():
            raise DivergedError("its predictions are not finite")
        return output, lost

    looks, longest = Looks(metric, stopping, report=look), stop_at or total
    with progress("fine-tuning step", longest) as shown:
        steps = take_steps(
            subset,
            held,
            looks,
            step,
            predicted,
            lambda: copy.deepcopy((backbone, head)),
            metric=metric,
            steps=longest,
            every=max(1, total // LOOKS),
            device=device,
        )
    if looks.best:
        backbone, head = looks.state
    return FineTuned(backbone.eval(), head.finished(), start.statistics, steps, looks)


def first_head(subset: Subset, features: Tensor) -> Head:
    """The linear probe of the starting weights as a layer on their representations.

    Args:
        subset: what the probe may read.
        features: ``(n, F)`` representations of its rows.
    """
    representations = Representations.of(features, subset.rows, subset.rows)
    folded = PROBES["linear"](subset, representations).head.as_linear()
    assert folded is not None
    centre, spread = subset.number_scale()
    head = Head(subset.kind, features.shape[1], subset.outputs)
    weight, bias = folded[0] / spread[:, None], (folded[1] - centre) / spread
    head.layers.load_state_dict({"0.weight": weight, "0.bias": bias})
    head.centre.copy_(centre)
    head.spread.copy_(spread)
    return head


def share_of_peak(progress: float) -> float:
    """Share of the peak learning rate: linear warm-up, then half a cosine to 0."""
    if progress < _WARMUP:
        return progress / _WARMUP
    return 0.5 * (1.0 + math.cos(math.pi * (progress - _WARMUP) / (1.0 - _WARMUP)))


def _in_training(start: Start, *, held: bool) -> Backbone:
    """A copy to be trained: channels_last, in bf16 where the device multiplies it."""
    backbone = copy.deepcopy(start.backbone)
    backbone.held = held
    backbone.to(start.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    backbone.bf16 = fast_bf16(start.device)
    return backbone.train()


def _optimizer(backbone: Backbone, head: Head, recipe: Recipe) -> torch.optim.Optimizer:
    assert recipe.layer_decay is not None
    groups = []
    for module, rate in ((backbone, recipe.backbone_lr), (head, recipe.head_lr)):
        for group in parameter_groups(module, recipe.weight_decay, layer_decay=recipe.layer_decay):
            peak = rate * group["share"]
            groups.append({**group, "lr": peak, "peak": peak})
    return torch.optim.AdamW(groups)


def _views(subset: Subset) -> tuple[View, ...]:
    """One mild view; the whole frame where a crop would change what the label says."""
    images = subset.images
    if subset.kind != "class":
        side, flip = float(max(images.height, images.width)), 0.5 if images.mirrored else 0.0
        return (View(size=side, crop_scale=None, flip=flip, color=0.0, grayscale=0.0),)
    return resolve((View(crop_scale=(0.4, 1.0), color=0.0, grayscale=0.0),), images)[0]


def _pixels(subset: Subset, places: Rows, device: torch.device) -> Tensor:
    """``(B, C, H, W)`` raw."""
    part = np.ascontiguousarray(subset.images.pixels[subset.rows[places]])
    return torch.from_numpy(part).permute(0, 3, 1, 2).to(device, non_blocking=True)


@freed_pages_kept()
def seconds_of_step(start: Start, subset: Subset, batch_size: int) -> float:
    """The shorter one of two steps.

    Args:
        start: the weights to begin with.
        subset: whose first images are taken.
        batch_size: how many; all of them where they are fewer.
    """
    places = np.arange(min(batch_size, len(subset)))
    backbone = _in_training(start, held=False)
    images = _pixels(subset, places, start.device)
    keys = keys_of(0, 0, torch.arange(len(places))).to(start.device)
    passed = math.inf
    for _ in range(2):
        begun = time.perf_counter()
        (view,) = make_views(images, keys, _views(subset), start.statistics)
        backbone(view).square().mean().backward()
        if start.device.type == "cuda":
            torch.cuda.synchronize()
        passed = min(passed, time.perf_counter() - begun)
    return passed
