"""Fine-tuning of backbone and head on a labelled subset, and the same from fresh weights.

The protocol of the SimCLR and VICReg papers (a share of the labels, every weight trained) without
their look at test: the two learning rates and the number of steps are chosen on a validation part
cut from the labelled subset by group, with early stopping there; then the training is repeated on
the whole subset. Training from scratch is the same search from the weights of a seed.

The head starts from the linear probe of the starting weights, fitted to the same rows
(arXiv:2202.10054: a random head's first gradients damage a trained backbone).
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from selfsight.data.imageset import ImageSet, Target
from selfsight.data.statistics import Statistics
from selfsight.draws import keys_of, permutation
from selfsight.evaluation.folds import groups_of, held_out
from selfsight.evaluation.probes import PROBES, Subset, best_thresholds
from selfsight.evaluation.representations import represent
from selfsight.networks.backbones import Backbone
from selfsight.networks.labels import known_entries, mean_over_known, target_losses
from selfsight.settings import Settings
from selfsight.training.optimizers import parameter_groups
from selfsight.training.stopping import StoppingRule
from selfsight.views.apply import make_views, whole_frame
from selfsight.views.presets import resolve
from selfsight.views.settings import View

Rate = Annotated[float, Field(gt=0.0)]
_WARMUP = 0.1  # share of the steps in which the rates rise
_LOOKS = 20  # at the validation part, over the longest training
_PATIENCE = 10  # looks without improvement: half of the schedule


class FineTuning(Settings):
    """How the weights of backbone and head are trained on labels."""

    backbone_lrs: Annotated[tuple[Rate, ...], Field(min_length=1)] = (1e-4, 1e-3, 4e-3)
    """Learning rates of the backbone that are tried (AdamW, warm-up and cosine)."""
    head_lrs: Annotated[tuple[Rate, ...], Field(min_length=1)] = (1e-3, 1e-2)
    """Learning rates of the head that are tried, each with each of the backbone's."""
    epochs: Annotated[int, Field(ge=1)] = 30
    """Passes over the labelled subset, at most ..."""
    least_steps: Annotated[int, Field(ge=1)] = 500
    """... but with few images so many steps."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Images of a step; the whole subset where it is smaller."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.05
    """Weight decay; never on biases and normalisation."""

    def steps(self, images: int) -> int:
        """The longest training on so many images."""
        batch = min(self.batch_size, images)
        return max(self.epochs * math.ceil(images / batch), self.least_steps)

    @property
    def rates(self) -> list[tuple[float, float]]:
        """Pairs of backbone and head that are tried."""
        return list(itertools.product(self.backbone_lrs, self.head_lrs))


@dataclass(frozen=True)
class Labelled:
    """Images with the labels that may be read.

    Attributes:
        images: all images.
        target: of all images.
        rows: ``(n,)`` labelled rows, in order.
        statistics: of the channels, those of the backbone.
        device: where the training runs.
        seed: of order, views and folds.
    """

    images: ImageSet
    target: Target
    rows: NDArray[np.int64]
    statistics: Statistics
    device: torch.device
    seed: int

    def batch(self, rows: NDArray[np.int64]) -> Tensor:
        """``(B, C, H, W)`` raw."""
        part = np.ascontiguousarray(self.images.pixels[rows])
        return torch.from_numpy(part).permute(0, 3, 1, 2).to(self.device, non_blocking=True)

    def views(self) -> tuple[View, ...]:
        """One mild view; the whole frame where a crop would change what the label says."""
        side = float(max(self.images.height, self.images.width))
        if self.target.kind != "class":
            flip = 0.5 if self.images.mirrored else 0.0
            return (View(size=side, crop_scale=None, flip=flip, color=0.0, grayscale=0.0),)
        mild = View(crop_scale=(0.4, 1.0), color=0.0, grayscale=0.0)
        return resolve((mild,), self.images)[0]


@dataclass
class FineTuned:
    """A backbone and its head after their training.

    Attributes:
        backbone: in eval mode.
        head: ``F -> K``.
        kind: of the target.
        centre, scale: ``(K,)`` of standardised numbers; zeros and ones otherwise.
        thresholds: ``(K,)`` for several labels.
        choice: rates and steps, and whether they could be chosen.
    """

    backbone: Backbone
    head: nn.Linear
    kind: str
    centre: Tensor
    scale: Tensor
    thresholds: NDArray[np.float64] | None
    choice: dict[str, Any]

    def predict(self, images: ImageSet, rows: NDArray[np.int64], statistics: Statistics) -> Tensor:
        """``(len(rows), K)`` probabilities or numbers, on the CPU."""
        device = self.head.weight.device
        features = represent(self.backbone, images, rows, statistics, device=device)
        with torch.no_grad():
            raw = self.head(features.to(device))
        output: Tensor = raw * self.scale + self.centre
        if self.kind != "number":
            output = raw.softmax(1) if self.kind == "class" else torch.sigmoid(raw)
        return output.cpu()


def fine_tune(start: Backbone, labelled: Labelled, settings: FineTuning) -> FineTuned:
    """Chooses rates and steps inside the labelled subset, then trains on all of it.

    Args:
        start: weights to begin with; left as they are.
        labelled: what may be read.
        settings: the search.

    Returns:
        The trained pair. Below two labels a class (ten images for other targets) nothing can be
        chosen: the middle rates and the fewest steps are used, and ``choice`` says so.

    Raises:
        ValueError: there is one labelled image.
    """
    kind, rows = labelled.target.kind, labelled.rows
    if len(rows) < 2:
        raise ValueError(
            f"fine-tuning on {labelled.target.name!r}: there is one labelled image; it takes two."
        )
    groups = groups_of(labelled.images.groups, rows)
    values = labelled.target.values[rows]
    least = 2 * len(labelled.target.names) if kind == "class" else 10
    fold = held_out(values, groups, folds=5, seed=labelled.seed)
    features = represent(start, labelled.images, rows, labelled.statistics, device=labelled.device)
    chosen = len(rows) >= least and int(fold.max()) > 0
    rates, steps = settings.rates[len(settings.rates) // 2], settings.least_steps
    thresholds = np.full(len(labelled.target.names), 0.5) if kind == "labels" else None
    if chosen:
        inside, outside = np.flatnonzero(fold != 0), np.flatnonzero(fold == 0)
        head = first_head(features, labelled, inside, groups)
        tried = [
            _train(start, head, labelled, settings, pair, inside, outside)
            for pair in settings.rates
        ]
        best = max(range(len(tried)), key=lambda i: tried[i].value)
        rates, steps = settings.rates[best], tried[best].steps
        if kind == "labels":
            found = _finished(start, tried[best], labelled, {})
            likely = found.predict(labelled.images, rows[outside], labelled.statistics)
            thresholds = best_thresholds(likely.numpy(), values[outside])
    everything = np.arange(len(rows))
    head = first_head(features, labelled, everything, groups)
    trained = _train(
        start, head, labelled, settings, rates, everything, everything[:0], stop_at=steps
    )
    choice = {
        "chosen": chosen,
        "backbone_lr": rates[0],
        "head_lr": rates[1],
        "steps": steps,
    }
    found = _finished(start, trained, labelled, choice)
    found.thresholds = thresholds
    return found


@dataclass
class _Trained:
    """Weights at the best look, its value (higher is better) and its step."""

    backbone: dict[str, Tensor]
    head: nn.Linear
    value: float
    steps: int


def _finished(
    start: Backbone, trained: _Trained, labelled: Labelled, choice: dict[str, Any]
) -> FineTuned:
    backbone = copy.deepcopy(start)
    backbone.load_state_dict(trained.backbone)
    centre, scale = number_scale(labelled)
    head = trained.head
    return FineTuned(
        backbone.eval(),
        head,
        labelled.target.kind,
        centre.to(head.weight.device),
        scale.to(head.weight.device),
        None,
        choice,
    )


def number_scale(labelled: Labelled) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the known numbers of the subset; 0 and 1 for other kinds."""
    count = len(labelled.target.names)
    centre, scale = torch.zeros(count), torch.ones(count)
    if labelled.target.kind == "number":
        for number in range(count):
            values = labelled.target.values[labelled.rows, number]
            values = values[np.isfinite(values)]
            if len(values):
                centre[number], scale[number] = float(values.mean()), float(values.std()) or 1.0
    return centre, scale


def first_head(
    features: Tensor, labelled: Labelled, inside: NDArray[np.int64], groups: NDArray[np.int64]
) -> nn.Linear:
    """The linear probe of the starting weights as a layer on their representations."""
    target = labelled.target
    part = features[torch.from_numpy(inside)]
    mean = part.mean(0)
    scale = part.var(0, correction=0).mean().sqrt().clamp_min(1e-12)
    subset = Subset(
        kind=target.kind,
        features=part,
        mean=mean,
        scale=scale,
        values=target.values[labelled.rows[inside]],
        groups=np.unique(groups[inside], return_inverse=True)[1].astype(np.int64),
        outputs=len(target.names),
        seed=labelled.seed,
    )
    state = PROBES["linear"](subset).state
    weight, bias = state["weight"] / scale, state["bias"]
    bias = bias - weight @ mean
    if len(bias) < len(target.names):  # two classes are one sigmoid
        weight = torch.cat([torch.zeros_like(weight), weight])
        bias = torch.cat([torch.zeros_like(bias), bias])
    if target.kind == "number":
        centre, spread = number_scale(labelled)
        weight, bias = weight / spread[:, None], (bias - centre) / spread
    head = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return head.to(labelled.device)


def _train(
    start: Backbone,
    first_head: nn.Linear,
    labelled: Labelled,
    settings: FineTuning,
    rates: tuple[float, float],
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
    *,
    stop_at: int | None = None,
) -> _Trained:
    """One training on places `inside` of the subset, stopped early on `outside` where it has any.

    The schedule is that of the longest training whatever the step it stops at.
    """
    from selfsight.training.device import fast_bf16

    backbone, head = copy.deepcopy(start), copy.deepcopy(first_head)
    backbone.to(labelled.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    backbone.bf16 = fast_bf16(labelled.device)
    backbone.train()
    optimizer = layered_optimizer(backbone, head, rates, settings.weight_decay)
    total = settings.steps(len(labelled.rows))
    rule = StoppingRule(patience=_PATIENCE)
    best = _Trained(backbone.state_dict(), head, -math.inf, 0)
    batch = min(settings.batch_size, len(inside))
    views, targets = labelled.views(), standardised_targets(labelled)
    order, position, epoch = permutation(labelled.seed, 0, len(inside)), 0, 0
    look = max(1, total // _LOOKS)
    for step in range(total if stop_at is None else stop_at):
        if position + batch > len(order):
            epoch += 1
            order, position = permutation(labelled.seed, epoch, len(inside)), 0
        places = inside[order[position : position + batch].numpy()]
        position += batch
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share_of_peak((step + 1) / total)
        keys = keys_of(labelled.seed, step, torch.arange(batch)).to(labelled.device)
        images = labelled.batch(labelled.rows[places])
        (view,) = make_views(images, keys, views, labelled.statistics)
        here = targets[torch.from_numpy(places).to(targets.device)]
        optimizer.zero_grad(set_to_none=True)
        _loss(head(backbone(view)), here, labelled.target.kind).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if len(outside) and (step + 1) % look == 0:
            value = _value(backbone, head, labelled, targets, outside)
            stop = rule.step(value)
            if rule.is_best:
                state = {name: v.clone() for name, v in backbone.state_dict().items()}
                best = _Trained(state, copy.deepcopy(head), value, step + 1)
            if stop:
                break
    if not len(outside):
        best = _Trained(backbone.state_dict(), head, math.inf, stop_at or 0)
    return best


def layered_optimizer(
    backbone: Backbone, head: nn.Linear, rates: tuple[float, float], weight_decay: float
) -> torch.optim.Optimizer:
    groups = []
    for module, rate in zip((backbone, head), rates, strict=True):
        for group in parameter_groups(module, weight_decay):
            groups.append({**group, "lr": rate, "peak": rate})
    return torch.optim.AdamW(groups)


def share_of_peak(progress: float) -> float:
    """Share of the peak: linear warm-up, then half a cosine to 0."""
    if progress < _WARMUP:
        return progress / _WARMUP
    return 0.5 * (1.0 + math.cos(math.pi * (progress - _WARMUP) / (1.0 - _WARMUP)))


def standardised_targets(labelled: Labelled) -> Tensor:
    """Of the subset, as the loss takes them."""
    values = torch.from_numpy(labelled.target.values[labelled.rows])
    if labelled.target.kind == "number":
        centre, scale = number_scale(labelled)
        values = (values - centre) / scale
    return values.to(labelled.device)


def _loss(raw: Tensor, targets: Tensor, kind: Any) -> Tensor:
    return mean_over_known(target_losses(raw, targets, kind), known_entries(targets))


def _value(
    backbone: Backbone,
    head: nn.Linear,
    labelled: Labelled,
    targets: Tensor,
    outside: NDArray[np.int64],
) -> float:
    """What a look at the validation part says: accuracy, then the loss; higher is better."""
    backbone.eval()
    raws = []
    with torch.no_grad():
        for first in range(0, len(outside), 512):
            images = labelled.batch(labelled.rows[outside[first : first + 512]])
            raws.append(head(backbone(whole_frame(images, labelled.statistics))))
    backbone.train()
    raw, here = torch.cat(raws), targets[torch.from_numpy(outside).to(targets.device)]
    loss = float(_loss(raw, here, labelled.target.kind))
    if labelled.target.kind != "class":
        return -loss
    return float((raw.argmax(1) == here).double().mean()) - 1e-3 * min(loss, 100.0)


def seconds_of_a_step(start: Backbone, labelled: Labelled, settings: FineTuning) -> float:
    """Measured on two steps: what an estimate of the whole time is made of."""
    from selfsight.training.device import fast_bf16

    batch = min(settings.batch_size, len(labelled.rows))
    backbone = copy.deepcopy(start).to(labelled.device).train()
    backbone.bf16 = fast_bf16(labelled.device)
    keys = keys_of(0, 0, torch.arange(batch)).to(labelled.device)
    images = labelled.batch(labelled.rows[:batch])
    passed = math.inf
    for _ in range(2):
        begun = time.perf_counter()
        (view,) = make_views(images, keys, labelled.views(), labelled.statistics)
        backbone(view).square().mean().backward()
        if labelled.device.type == "cuda":
            torch.cuda.synchronize()
        passed = min(passed, time.perf_counter() - begun)
    return passed
