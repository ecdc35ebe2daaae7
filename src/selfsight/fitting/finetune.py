"""Fine-tuning: the weights of a backbone and of a head on it, trained on a labelled subset.

The protocol of the SimCLR and VICReg papers (a share of the labels, every weight trained) without
their look at test: the two learning rates and the number of steps are chosen on a fifth of the
subset, held out by group, with early stopping there; then the training is repeated on the whole
subset. Training from scratch is the same search from fresh weights.

The head starts from the linear probe of the starting weights, fitted to the same rows
(arXiv:2202.10054: a random head's first gradients damage a trained backbone). Where these weights
go back to published ones, the backbone first stays frozen, its early layers then learn more slowly
than its late ones, and the statistics of batch normalisation are held.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from selfsight.console import duration, progress
from selfsight.data.imageset import ImageSet
from selfsight.data.statistics import Statistics
from selfsight.draws import keys_of
from selfsight.fitting.head import Head
from selfsight.fitting.labelled import Rows, Subset, batches
from selfsight.fitting.metrics import value_of
from selfsight.fitting.probes import PROBES
from selfsight.fitting.recipe import RANDOM, FineTuning, Recipe
from selfsight.fitting.representations import Representations, represent
from selfsight.fitting.stopping import DivergedError, Look, Looks, Stopping
from selfsight.fitting.tasks import best_thresholds, fit_loss
from selfsight.kernels.memory_pages import freed_pages_kept
from selfsight.kernels.precision import fast_bf16
from selfsight.networks.backbones import Backbone
from selfsight.runs.run import Run
from selfsight.training.optimizers import add_pull, parameter_groups
from selfsight.views.apply import make_views
from selfsight.views.presets import resolve
from selfsight.views.settings import View
from selfsight.vocabulary import higher_is_better

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


def fine_tune(start: Start, subset: Subset, settings: FineTuning) -> FineTuned:
    """Chooses rates and steps inside the subset, then trains on all of it.

    Returns:
        The trained pair. With too few labels to choose by (`Subset.enough`) the middle rates and
        the fewest steps are used, and ``choice`` says so.

    Raises:
        ValueError: labels that nothing can be fitted to, or every pair of rates diverged.
    """
    subset.check()
    features, recipes = start.represent(subset), settings.recipes
    held = subset.folds(1) == 0
    chosen, recipe, steps = bool(held.any()), recipes[len(recipes) // 2], settings.min_steps
    thresholds = np.full(subset.outputs, 0.5) if subset.kind == "labels" else None
    if chosen:
        recipe, best = _best(start, subset, recipes, features, held)
        steps = best.steps
        if thresholds is not None and best.looks.output is not None:
            thresholds = best_thresholds(best.looks.output, subset.values[held])
    nothing = np.zeros(len(subset), np.bool_)
    result = train(start, subset, recipe, features, nothing, metric="loss", stop_at=steps)
    rates: dict[str, Any] = {"backbone_lr": recipe.backbone_lr, "head_lr": recipe.head_lr}
    taken = recipe.resolved(published=start.published)
    for name in RANDOM:
        if getattr(taken, name) != RANDOM[name]:
            rates[name] = getattr(taken, name)
    result.thresholds, result.choice = thresholds, {"chosen": chosen, **rates, "steps": steps}
    return result


def _best(
    start: Start,
    subset: Subset,
    recipes: list[Recipe],
    features: Tensor,
    held: NDArray[np.bool_],
) -> tuple[Recipe, FineTuned]:
    """By the (balanced) accuracy of the rows held out; the loss where the target is no class."""
    metric = "loss"
    if subset.kind == "class":
        metric = "balanced_accuracy" if subset.balanced else "accuracy"
    best: tuple[tuple[float, float], Recipe, FineTuned] | None = None
    with progress("pairs of learning rates", len(recipes)) as tries:
        for recipe in recipes:
            try:
                tried = train(
                    start, subset, recipe, features, held, metric=metric, stopping=Stopping()
                )
            except DivergedError as error:
                reason = error
                continue
            finally:
                tries.update()
            value, loss = tried.looks.value, tried.looks.loss
            place = (-value if metric == "loss" else value, -loss)
            if best is None or place > best[0]:
                best = (place, recipe, tried)
    if best is None:
        raise DivergedError(f"fine-tuning: with every learning rate {reason}; try lower ones.")
    return best[1], best[2]


@freed_pages_kept()
def train(
    start: Start,
    subset: Subset,
    recipe: Recipe,
    features: Tensor,
    held: NDArray[np.bool_],
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
        held: ``(n,)`` rows that are not trained on.
        metric: of the target's kind, or ``loss``: taken of the rows held out.
        stopping: ends the training early; None: never.
        look: called after each look with its number and the best metric so far; may raise.
        stop_at: the step at which the training ends.

    Raises:
        DivergedError: the predictions are not finite.
    """
    recipe = recipe.resolved(published=start.published)
    assert recipe.frozen is not None
    lowest = metric == "loss" or not higher_is_better(metric)
    rule = (stopping or Stopping(patience=None)).rule("lowest" if lowest else "highest")
    looks, kind, device = Looks(rule, report=look), subset.kind, start.device
    inside, outside = np.flatnonzero(~held), np.flatnonzero(held)
    backbone = _in_training(start, held=recipe.batch_norm == "held")
    anchored = list(backbone.parameters()) if recipe.anchor else []
    first = [weight.detach().clone() for weight in anchored]
    head = first_head(subset.take(inside), features[torch.from_numpy(inside)]).to(device)
    optimizer = _optimizer(backbone, head, recipe)
    total, order = recipe.steps(len(subset)), batches(inside, recipe.batch_size, subset.seed)
    every, views, truth = max(1, total // LOOKS), _views(subset), subset.truth(device)
    if kind == "number":
        truth = (truth - head.centre) / head.spread
    weights = _weights(subset, device)
    result = FineTuned(backbone, head, start.statistics, stop_at or total, looks)
    status = progress("fine-tuning step", result.steps)
    with _seeded(subset.seed, device), status as shown:
        for step in range(1, result.steps + 1):
            frozen = step <= recipe.frozen * total
            backbone.train(not frozen)
            places = next(order)
            keys = keys_of(subset.seed, step - 1, torch.arange(len(places))).to(device)
            images = _pixels(subset, places, device)
            (view,) = make_views(images, keys, views, start.statistics)
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * share_of_peak(step / total)
            optimizer.zero_grad(set_to_none=True)
            with torch.set_grad_enabled(not frozen):
                represented = backbone(view)
            raw = head.layers(F.dropout(represented, recipe.dropout))
            here = truth[torch.from_numpy(places).to(device)]
            loss = fit_loss(raw[None], here[None], kind, weights, recipe.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            add_pull(anchored, first, recipe.anchor)
            optimizer.step()
            shown.update()
            if not len(outside) or step % every:
                continue
            output, lost = _look(result, subset, outside, truth, recipe.label_smoothing)
            rows = subset.rows[outside]
            value = lost if metric == "loss" else value_of(metric, subset.target, output, rows)
            if looks.see(value, lost, output, lambda: copy.deepcopy((backbone, head))):
                break
    if looks.best:
        result.backbone, result.head = looks.state
        result.steps = looks.best * every
    result.backbone.eval()
    result.head.finished()
    return result


def _look(
    result: FineTuned, subset: Subset, outside: Rows, truth: Tensor, smoothing: float
) -> tuple[NDArray[np.float32], float]:
    """Predictions of the rows held out, and their loss."""
    device = truth.device
    features = represent(
        result.backbone, subset.images, subset.rows[outside], result.statistics, device=device
    ).to(device)
    with torch.no_grad():
        output = np.asarray(result.head(features).float().cpu().numpy())
        here = truth[torch.from_numpy(outside).to(device)]
        raw = result.head.layers(features)
        weights = _weights(subset, device)
        lost = float(fit_loss(raw[None], here[None], subset.kind, weights, smoothing))
    if not np.isfinite(output).all():
        raise DivergedError("its predictions are not finite")
    return output, lost


def _weights(subset: Subset, device: torch.device) -> Tensor | None:
    """``(1, K)`` of the classes or of the positives of labels; None: all count the same."""
    if not subset.balanced or subset.kind not in ("class", "labels"):
        return None
    return torch.from_numpy(subset.class_weights()).to(device)[None]


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


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's own draws (dropout) are a function of the seed, and leave those outside alone."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@freed_pages_kept()
def estimate(start: Start, subset: Subset, settings: FineTuning, sizes: Sequence[int]) -> str:
    """How long some searches take at most, in words; measured on two steps.

    Args:
        start: the weights to begin with.
        subset: images to measure a step on.
        settings: of the search.
        sizes: the number of labels of each search.
    """
    places = np.arange(min(settings.batch_size, len(subset)))
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
    pairs = len(settings.recipes)
    steps = sum(map(settings.steps, sizes)) * (pairs + 1)
    return (
        f"{pairs} pair{'s' * (pairs > 1)} of learning rates, {steps:,} steps at most, "
        f"{duration(steps * passed)} on this machine ({torch.get_num_threads()} threads)"
    )
