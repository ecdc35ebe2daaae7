"""What a hand-written backward cannot do: second derivatives and torch.func's transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Form = Callable[..., tuple[Tensor, ...]]
"""A loss written plainly: autograd differentiates it as often as is asked for."""


def transformed() -> bool:
    """Whether `torch.func` (grad, vmap, jvp, ...) traces this call: then only plain forms work."""
    if torch.compiler.is_compiling():
        return False
    active = getattr(torch._C, "_are_functorch_transforms_active", None)
    return bool(active is not None and active())


def again(
    form: Form, inputs: Sequence[Tensor], gradients: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """The gradient of a plain form, which can itself be differentiated.

    For a ``backward`` under ``create_graph``, where gradients are enabled.

    Args:
        form: of the inputs.
        inputs: tensors as saved, part of the graph.
        gradients: one for each output of the form.
    """
    wanted = [x for x in inputs if x.requires_grad]
    found = torch.autograd.grad(form(*inputs), wanted, gradients, create_graph=True)
    parts = iter(found)
    return tuple(next(parts) if x.requires_grad else None for x in inputs)


class Once(torch.autograd.Function):
    """Passes a gradient on, and raises where it is differentiated."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, anchor: Tensor, what: str) -> Tensor:
        ctx.what = what
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None]:
        raise RuntimeError(f"{ctx.what} has no second derivative.")


def anchors(inputs: Sequence[Tensor]) -> list[Tensor]:
    """0-d tensors of the graph of each input that hold none of its numbers; see `once`."""
    return [x[:0].sum() for x in inputs]


def once(gradient: Tensor, anchor: Tensor, what: str) -> Tensor:
    """A gradient under ``create_graph`` that raises where it is differentiated again.

    Args:
        gradient: by an input.
        anchor: of that input, from `anchors`: the error lies on the way back to it.
        what: has no second derivative.
    """
    made: Tensor = Once.apply(gradient, anchor, what)  # type: ignore[no-untyped-call]
    return made
