"""The stages of a network: their maps pooled, which of them come early, their depth.

Our own networks say where their stages are (`maps` or `poolings`, and `early`). Of any other
module one forward pass tells: `outline` watches which layers give maps of 1/8, 1/16 and 1/32 of
the image's side, or tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

REDUCTIONS = (8, 16, 32)
LAST_BLOCKS = 4
"""Blocks of a transformer whose tokens are pooled."""
EARLY = 3
"""The first of so many parts of a transformer's blocks is early."""


def mean_of(x: Tensor) -> Tensor:
    """``(B, C, H, W)`` to ``(B, C)``: the mean over positions, float32 at least.

    In float32 since a mean rounded to bfloat16 would keep only three digits. The gradient lies in
    memory as what it is the gradient of.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    if x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1).mean((1, 2), dtype=wide)
    return x.mean((2, 3), dtype=wide)


def pooled_maps(maps: Sequence[Tensor]) -> list[Tensor]:
    """Mean and maximum of each ``(B, C_i, H_i, W_i)``, the last map first: ``(B, C_i)`` each."""
    poolings = []
    for x in reversed(maps):
        mean = mean_of(x)
        poolings += [mean, x.amax((2, 3)).to(mean.dtype)]
    return poolings


@dataclass(frozen=True)
class Outline:
    """Where the stages of a module are, as names of its layers.

    Attributes:
        maps: layers that give the last map at 1/8, 1/16 and 1/32 of the side, as far as there are.
        tokens: the last blocks of a transformer, where there are no maps.
        early: layers with weights that run no later than the first map, or the first third of the
            blocks.
    """

    maps: tuple[str, ...]
    tokens: tuple[str, ...]
    early: tuple[str, ...]


def outline(network: nn.Module, images: Tensor) -> Outline:
    """Reads the stages off a forward pass.

    Args:
        network: any module that takes ``images``; its mode is left as it is.
        images: ``(B, C, H, W)``.
    """
    order: list[tuple[str, Any]] = []

    def note(name: str, _: nn.Module, __: Any, output: Any) -> None:
        order.append((name, output.shape if isinstance(output, Tensor) else None))

    hooks = [
        module.register_forward_hook(partial(note, name))
        for name, module in network.named_modules()
        if name
    ]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    blocks = _blocks(network, order)
    if len(blocks) < LAST_BLOCKS - 1:  # else its one map is the embedding of the patches
        sides = images.shape[2:]
        maps = [place for r in REDUCTIONS if (place := _last_map(order, sides, r)) is not None]
        names = tuple(order[i][0] for i in maps)
        return Outline(names, (), _weighted(network, order[: maps[0]]) if maps else ())
    last = blocks[max(len(blocks) // EARLY - 1, 0)]
    until = next(i for i, (name, _) in enumerate(order) if name == last)
    return Outline((), tuple(blocks[-LAST_BLOCKS:]), _weighted(network, order[: until + 1]))


def _last_map(order: list[tuple[str, Any]], sides: torch.Size, reduction: int) -> int | None:
    """Where in the order the last map of this size is; None: there is none."""
    wanted = tuple(-(-side // reduction) for side in sides)
    if max(wanted) < 2:  # one position is what a pooling gives, too
        return None
    places = [i for i, (_, s) in enumerate(order) if s is not None and _is_map(s, wanted)]
    return places[-1] if places else None


def _is_map(shape: torch.Size, sides: tuple[int, ...]) -> bool:
    return len(shape) == 4 and sides in (tuple(shape[2:]), tuple(shape[1:3]))


def _blocks(network: nn.Module, order: list[tuple[str, Any]]) -> list[str]:
    """The longest row of layers in one container that give tokens ``(B, T, F)`` of one shape."""
    shapes = {name: shape for name, shape in order if shape is not None and len(shape) == 3}
    best: list[str] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.ModuleList | nn.Sequential):
            children = [f"{name}.{child}".lstrip(".") for child, _ in module.named_children()]
            alike = [child for child in children if child in shapes]
            if len({shapes[child] for child in alike}) == 1 and len(alike) > max(len(best), 1):
                best = alike
    return best


def _weighted(network: nn.Module, order: list[tuple[str, Any]]) -> tuple[str, ...]:
    """Layers of this part of the order that own weights."""
    own = {n for n, m in network.named_modules() if any(True for _ in m.parameters(recurse=False))}
    return tuple(dict.fromkeys(name for name, _ in order if name in own))


def outlined_poolings(
    network: nn.Module, where: Outline, images: Tensor, run: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    """The output of ``run`` first, then what the layers of the outline give, pooled.

    Maps: mean and maximum. Tokens: the mean.

    Args:
        network: the module that the outline is of.
        where: its stages.
        images: ``(B, C, H, W)``.
        run: calls the network.
    """
    pooled: dict[str, list[Tensor]] = {}

    def see_map(name: str, x: Tensor) -> None:
        pooled[name] = _pooled_map(x, images.shape[2:])

    def see_tokens(name: str, x: Tensor) -> None:
        pooled[name] = [x.float().mean(1)]

    with (
        _watched(network, where.maps, see_map),
        _watched(network, where.tokens, see_tokens),
    ):
        output = run(images)
    return [output, *(p for name in (*where.tokens, *where.maps)[::-1] for p in pooled[name])]


def _pooled_map(x: Tensor, sides: torch.Size) -> list[Tensor]:
    last = any(tuple(x.shape[1:3]) == tuple(-(-side // r) for side in sides) for r in REDUCTIONS)
    first = any(tuple(x.shape[2:]) == tuple(-(-side // r) for side in sides) for r in REDUCTIONS)
    return pooled_maps([x if first or not last else x.permute(0, 3, 1, 2)])


@contextmanager
def _watched(
    network: nn.Module, names: Sequence[str], see: Callable[[str, Tensor], None]
) -> Iterator[None]:
    def hook(name: str, _: nn.Module, __: Any, output: Any) -> None:
        see(name, output)

    hooks = [
        network.get_submodule(name).register_forward_hook(partial(hook, name)) for name in names
    ]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


def levels(network: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters from the first layer to the last: one level for each layer or block.

    A block is a module in a row of modules of its kind (``nn.Sequential`` or ``nn.ModuleList``).
    Parameters of the network itself (tokens, positions) belong to the first layer, and a
    normalisation belongs to the layer before it.

    Args:
        network: any module; the order is that in which its layers are registered.
    """
    found: list[list[nn.Parameter]] = []
    for layer in _layers(network):
        own = list(layer.parameters())
        if found and all(parameter.ndim <= 1 for parameter in own):
            found[-1] += own
        elif own:
            found.append(own)
    loose = list(network.parameters(recurse=False))
    if not found:
        return [loose] if loose else []
    return [loose + found[0], *found[1:]]


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Layers and blocks in the order of registration."""
    for child in module.children():
        inner = isinstance(child, nn.Sequential | nn.ModuleList) or _has_row(child)
        if not inner or any(True for _ in child.parameters(recurse=False)):
            yield child
        else:
            yield from _layers(child)


def _has_row(module: nn.Module) -> bool:
    """Whether there are blocks inside: two or more of one kind in a row, each of several layers.

    Layers in a row (those of a perceptron, or a convolution with its normalisation) are no blocks.
    """
    for part in module.modules():
        if isinstance(part, nn.Sequential | nn.ModuleList):
            kinds = [type(each) for each in part if any(True for _ in each.children())]
            if any(kinds.count(k) > 1 for k in kinds if not issubclass(k, nn.Sequential)):
                return True
    return False


def scales_and_shifts(network: nn.Module) -> list[nn.Parameter]:
    """The scale and the shift of each normalisation: torch's own, and those of other libraries.

    Args:
        network: any module; a normalisation is a module whose class is called ``...Norm...`` and
            that owns parameters of one dimension.
    """
    return [
        parameter
        for part in network.modules()
        if "norm" in type(part).__name__.lower()
        for parameter in part.parameters(recurse=False)
        if parameter.ndim == 1
    ]
