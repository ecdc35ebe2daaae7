"""Beyond a hand-written backward: second derivatives and the transforms of `torch.func`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Form = Callable[..., tuple[Tensor, ...]]
"""A loss in plain operations, which autograd differentiates any number of times."""


def transformed() -> bool:
    """Whether a transform of `torch.func` is active: then only plain forms work."""
    if torch.compiler.is_compiling():
        return False
    active = getattr(torch._C, "_are_functorch_transforms_active", None)
    return bool(active is not None and active())


def again(
    form: Form, inputs: Sequence[Tensor], gradients: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """The gradient of a plain form, itself differentiable.

    For a ``backward`` under ``create_graph``, where gradients are enabled.

    Args:
        form: of the inputs.
        inputs: saved tensors that belong to the graph.
        gradients: one for each output of the form.
    """
    # Views of the inputs: where one tensor is given twice, each place has a gradient of its own.
    places = [x.view_as(x) for x in inputs]
    wanted = [x for x in places if x.requires_grad]
    slopes = iter(torch.autograd.grad(form(*places), wanted, gradients, create_graph=True))
    return tuple(next(slopes) if x.requires_grad else None for x in places)


class Once(torch.autograd.Function):
    """The identity on a gradient; its own backward raises."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, anchor: Tensor, what: str) -> Tensor:
        ctx.what = what
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None]:
        raise RuntimeError(
            f"{ctx.what} has no second derivative; compute it under torch.func, for example "
            "torch.func.hessian, where it has."
        )


def anchors(inputs: Sequence[Tensor]) -> list[Tensor]:
    """A 0-d tensor per input: part of its graph, without its numbers; see `once`."""
    return [x[:0].sum() for x in inputs]


def once(gradient: Tensor, anchor: Tensor, what: str) -> Tensor:
    """A gradient under ``create_graph`` that raises where it is differentiated again.

    Args:
        gradient: by an input.
        anchor: of that input, from `anchors`: the error lies on the way back to it.
        what: the name of the loss, for the error.
    """
    made: Tensor = Once.apply(gradient, anchor, what)  # type: ignore[no-untyped-call]
    return made
