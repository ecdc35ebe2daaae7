"""LARS without host synchronisation, parameter groups and schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn

from selfsight.method import Optimizer
from selfsight.networks.backbones import Backbone
from selfsight.networks.stages import levels


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling over SGD with momentum (arXiv:1708.03888, algorithm 1).

    For each weight the step is scaled by ``eta |w| / |g + weight_decay w|``; groups with
    ``adapt=False`` (biases, normalisation) take the plain step. Runs on foreach kernels, and
    decides on zero norms on the device.

    Args:
        params: parameters or groups.
        lr: learning rate.
        momentum: of the buffer.
        weight_decay: added to the gradient.
        trust_coefficient: the coefficient eta.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
    ) -> None:
        values = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
        }
        super().__init__(params, {**values, "adapt": True})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if weights:
                self._step(weights, group)
        return loss

    def _step(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        updates = [w.grad.clone() for w in weights if w.grad is not None]
        if group["weight_decay"]:
            torch._foreach_add_(updates, weights, alpha=group["weight_decay"])
        if group["adapt"]:
            sizes, steps = torch._foreach_norm(weights), torch._foreach_norm(updates)
            size, step = torch.stack(sizes), torch.stack(steps)
            usable = (size > 0) & (step > 0)
            rates = torch.where(
                usable, group["trust_coefficient"] * size / step.clamp_min(1e-30), 1.0
            )
            torch._foreach_mul_(updates, list(rates.unbind()))
        buffers = []
        for w, update in zip(weights, updates, strict=True):
            state = self.state[w]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(update)
            buffers.append(state["momentum"])
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, updates)
        torch._foreach_add_(weights, buffers, alpha=-group["lr"])


def parameter_groups(
    module: nn.Module,
    weight_decay: float,
    backbone_lr_factor: float = 1.0,
    bias_lr_factor: float = 1.0,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Weights, and what neither decays nor is adapted: biases, normalisation, 1-d parameters.

    Where the backbone (``module.backbone``, or ``module`` itself) has learning rates of its own,
    there are two groups for each of its rates, too.

    Args:
        module: all parameters that learn.
        weight_decay: of the weights.
        backbone_lr_factor: learning rate of the backbone's last layer as a share.
        bias_lr_factor: that of biases and normalisations; the factors multiply.
        layer_decay: learning rate of each layer of the backbone as a share of the next one's.
    """
    backbone = module if isinstance(module, Backbone) else getattr(module, "backbone", None)
    factors: dict[Tensor, float] = {}
    if backbone is not None and (backbone_lr_factor, layer_decay) != (1.0, 1.0):
        depths = levels(backbone.network) if layer_decay < 1.0 else [list(backbone.parameters())]
        factors = {
            parameter: backbone_lr_factor * layer_decay ** (len(depths) - 1 - depth)
            for depth, level in enumerate(depths)
            for parameter in level
        }
    groups: dict[tuple[bool, float, bool], list[Tensor]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            factor = factors.get(parameter, 1.0)
            kind = (parameter in factors, factor, parameter.ndim <= 1)
            groups.setdefault(kind, []).append(parameter)
    return [
        {
            "params": groups[kind],
            "weight_decay": 0.0 if kind[2] else weight_decay,
            "share": kind[1] * (bias_lr_factor if kind[2] else 1.0),
        }
        for kind in sorted(groups)
    ]


def build_optimizer(
    settings: Optimizer, module: nn.Module, batch_size: int
) -> torch.optim.Optimizer:
    """The optimizer of ``settings`` at its peak learning rate for this batch size."""
    groups = parameter_groups(
        module,
        settings.weight_decay,
        settings.backbone_lr_factor or 1.0,
        settings.bias_lr_factor,
        settings.layer_decay,
    )
    lr = peak_lr(settings, batch_size)
    for group in groups:
        group["decays"] = group["weight_decay"] > 0
        group["lr"] = lr * group["share"]
    if settings.name == "lars":
        for group in groups:
            group["adapt"] = group["params"][0].ndim > 1
        return LARS(
            groups, lr, settings.momentum, settings.weight_decay, settings.trust_coefficient
        )
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr, momentum=settings.momentum)
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    # One pass over the weights, and the step is counted on the device: nothing reads it.
    return kind(groups, lr, betas=settings.betas, fused=True)


@torch.no_grad()
def clip_each(parameters: Iterable[Tensor], largest: float) -> None:
    """Scales each gradient whose own norm is above ``largest`` down to it (as DINO's authors do).

    Nothing is read from the device.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if gradients:
        norms = torch.stack(torch._foreach_norm(gradients))
        factors = (largest / (norms + 1e-6)).clamp_(max=1.0)
        torch._foreach_mul_(gradients, list(factors.unbind()))


@torch.no_grad()
def add_pull(weights: Sequence[Tensor], start: Sequence[Tensor], strength: float) -> None:
    """Adds the gradient of ``strength / 2 * |w - w0|^2`` (L2-SP, arXiv:1802.01483, equation 3).

    Args:
        weights: w, with gradients; those without one stay as they are.
        start: w0.
        strength: alpha.
    """
    pairs = [(w, w0) for w, w0 in zip(weights, start, strict=True) if w.grad is not None]
    if pairs:
        now, before = map(list, zip(*pairs, strict=True))
        gradients = [w.grad for w in now]
        torch._foreach_add_(gradients, torch._foreach_sub(now, before), alpha=strength)


@torch.no_grad()
def distance(weights: Sequence[Tensor], start: Sequence[Tensor]) -> Tensor:
    """``|w - w0|^2`` over all weights; 0-d, nothing is read from the device."""
    moved = torch._foreach_norm(torch._foreach_sub(list(weights), list(start)))
    return torch.stack(moved).square().sum()


def peak_lr(settings: Optimizer, batch_size: int) -> float:
    """The learning rate, scaled linearly with the batch size where the recipe says so."""
    return (
        settings.lr * batch_size / settings.base_batch_size
        if settings.base_batch_size
        else settings.lr
    )


def lr_factor(settings: Optimizer, peak: float, progress: float) -> float:
    """Linear warm-up from 0, then half a cosine down to the last rate; a share of the peak."""
    if progress < settings.warmup:
        return progress / settings.warmup
    along = (progress - settings.warmup) / (1.0 - settings.warmup)
    last = max(settings.final_lr, min(settings.min_lr / peak, 1.0))
    return last + (1.0 - last) * (1.0 + math.cos(math.pi * along)) / 2.0


def set_schedule(
    optimizer: torch.optim.Optimizer, settings: Optimizer, batch_size: int, progress: float
) -> float:
    """Sets learning rate and weight decay for a step; a function of progress, so nothing to save.

    Args:
        optimizer: from `build_optimizer`.
        settings: its settings.
        batch_size: images of a step.
        progress: in [0, 1]; the first step of a warm-up is not wasted on a rate of 0 by passing
            the end of the step.

    Returns:
        The learning rate.
    """
    peak = peak_lr(settings, batch_size)
    lr = peak * lr_factor(settings, peak, progress)
    decay = settings.weight_decay
    if settings.final_weight_decay is not None:
        low = settings.final_weight_decay
        decay = low + (decay - low) * (1.0 + math.cos(math.pi * progress)) / 2.0
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("share", 1.0)  # older checkpoints have none
        if group["decays"]:
            group["weight_decay"] = decay
    return lr
