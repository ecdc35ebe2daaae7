"""One training of backbone and head on labels: its optimizer, its schedule, its looks."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selfsight.draws import keys_of, permutation
from selfsight.fitting.labelled import FineTuning, Labelled
from selfsight.fitting.stopping import StoppingRule
from selfsight.kernels.memory_pages import freed_pages_kept
from selfsight.kernels.precision import fast_bf16
from selfsight.losses.targets import known_entries, mean_over_known, target_losses
from selfsight.networks.backbones import Backbone
from selfsight.training.optimizers import parameter_groups
from selfsight.views.apply import make_views, whole_frame

_WARMUP = 0.1  # share of the steps in which the rates rise
_LOOKS = 20  # at the validation part, over the longest training
_PATIENCE = 10  # looks without improvement: half of the schedule


@dataclass
class Trained:
    """Weights at the best look, its value (higher is better) and its step."""

    backbone: dict[str, Tensor]
    head: nn.Linear
    value: float
    steps: int


@freed_pages_kept()
def train_on(
    start: Backbone,
    first_head: nn.Linear,
    labelled: Labelled,
    settings: FineTuning,
    rates: tuple[float, float],
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
    *,
    stop_at: int | None = None,
) -> Trained:
    """One training on places `inside` of the subset, stopped early on `outside` where it has any.

    The schedule is that of the longest training whatever the step it stops at.
    """
    backbone, head = in_training(start, labelled.device), copy.deepcopy(first_head)
    optimizer = layered_optimizer(backbone, head, rates, settings.weight_decay)
    total = settings.steps(len(labelled.rows))
    rule = StoppingRule(patience=_PATIENCE)
    best = Trained(backbone.state_dict(), head, -math.inf, 0)
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
                best = Trained(state, copy.deepcopy(head), value, step + 1)
            if stop:
                break
    if not len(outside):
        best = Trained(backbone.state_dict(), head, math.inf, stop_at or 0)
    return best


def in_training(start: Backbone, device: torch.device) -> Backbone:
    """A copy to be trained on a device: channels_last, in bf16 where the device multiplies it."""
    backbone = copy.deepcopy(start)
    backbone.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    backbone.bf16 = fast_bf16(device)
    return backbone.train()


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


@freed_pages_kept()
def seconds_of_a_step(start: Backbone, labelled: Labelled, settings: FineTuning) -> float:
    """Measured on two steps: what an estimate of the whole time is made of."""
    batch = min(settings.batch_size, len(labelled.rows))
    backbone = in_training(start, labelled.device)
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
