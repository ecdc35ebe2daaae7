"""Batch normalisation folded into the convolutions before it, for networks that only look.

In evaluation mode a batch normalisation multiplies each channel by a constant and adds another. The
convolution before it can do both: one pass over memory less for each, and the same function up to
rounding.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from selfsight.networks.backbones import Backbone

AFTER = {"drop", "act"}
"""What timm's normalisation with an activation owns; it is applied in this order."""
TOLERANCE = 1e-3
"""Of the largest value of a representation: a folded network that is further off is not used."""


def folded(backbone: Backbone, images: Tensor) -> Backbone:
    """A copy with its normalisations folded, or the backbone itself where that is not possible.

    One forward pass shows which normalisations take exactly what a convolution gives. A second one
    checks that the copy is the same function: a network that uses the convolution's output
    elsewhere too is left alone.

    Args:
        backbone: in evaluation mode, on the device of the images; it is not changed.
        images: ``(B, C, H, W)``, normalised; a few are enough.
    """
    pairs, wanted = _pairs(backbone, images)
    if not pairs:
        return backbone
    try:
        copy = deepcopy(backbone)
    except (TypeError, RuntimeError):  # a module of one's own may hold what cannot be copied
        return backbone
    for convolution, norm in pairs:
        _fold(copy, convolution, norm)
    made = copy(images)
    largest = wanted.abs().max()
    close = (made - wanted).abs().max() <= TOLERANCE * largest
    return copy if bool(close) and bool(torch.isfinite(largest)) else backbone


def _pairs(backbone: Backbone, images: Tensor) -> tuple[list[tuple[str, str]], Tensor]:
    """Names of convolutions and their normalisations, and the representations of the images."""
    made: dict[int, tuple[str, Tensor, int]] = {}  # id of the output; held, so that ids stay unique
    runs: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def watch(name: str, module: nn.Module) -> Any:
        def note(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            runs[name] = runs.get(name, 0) + 1
            if isinstance(module, nn.Conv2d):
                made[id(output)] = (name, output, output._version)
            elif inputs and id(inputs[0]) in made:
                convolution, given, version = made[id(inputs[0])]
                if given._version == version:
                    pairs.append((convolution, name))

        return module.register_forward_hook(note)

    hooks = [
        watch(name, module)
        for name, module in backbone.named_modules()
        if _plain(module) or _foldable(module)
    ]
    try:
        wanted = backbone(images)
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in pairs if all(runs[name] == 1 for name in pair)], wanted


def _plain(module: nn.Module) -> bool:
    """A convolution whose weight is a parameter of its own."""
    return isinstance(module, nn.Conv2d) and isinstance(
        module._parameters.get("weight"), nn.Parameter
    )


def _foldable(module: nn.Module) -> bool:
    """A plain batch normalisation, or one followed by what its children do (timm's)."""
    return (
        isinstance(module, nn.BatchNorm2d)
        and not module.training
        and module.running_mean is not None
        and (type(module) is nn.BatchNorm2d or {n for n, _ in module.named_children()} == AFTER)
    )


def _fold(backbone: Backbone, convolution: str, norm: str) -> None:
    conv: Any = backbone.get_submodule(convolution)
    bn: Any = backbone.get_submodule(norm)
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    parent, _, last = norm.rpartition(".")
    setattr(backbone.get_submodule(parent), last, nn.Sequential(*bn.children()))
