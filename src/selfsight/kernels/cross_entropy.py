"""The cross-entropy of student views with teacher views, and its gradient in the same pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from selfsight.kernels.precision import LOG2_E


class CrossEntropy(torch.autograd.Function):
    """The mean of ``H(P_t, P_s)`` over rows and pairs, and its gradient in the same pass.

    A few rows at a time on a CPU, so that what is made of them stays in the cache. The gradient
    ``P_s - P_t`` is made of exponentials that the value needs as well: nothing else is kept, and
    backward multiplies it by a number, where it stands.
    """

    @staticmethod
    def forward(
        ctx: Any,
        count: int,
        student_temperature: float,
        teacher_temperature: float | Tensor,
        centre: Tensor,
        *logits: Tensor,
    ) -> Tensor:
        student, teacher = logits[:count], logits[count:]
        inverse, sharpness = LOG2_E / student_temperature, LOG2_E / teacher_temperature
        weight = 1.0 / (len(student[0]) * len(teacher) * (count - 1))
        slope = weight / student_temperature
        gradients = [torch.empty_like(said) if said.requires_grad else None for said in student]
        total = student[0].new_zeros(())
        for rows in _slices(student[0]):
            targets = []
            for given in teacher:
                made = torch.sub(given[rows], centre).mul_(sharpness)
                made.sub_(made.amax(1, keepdim=True)).exp2_()
                targets.append(made.mul_(-slope / made.sum(1, keepdim=True)))
            together = sum(targets[1:], targets[0])
            for s, (whole, gradient) in enumerate(zip(student, gradients, strict=True)):
                said, own = whole[rows], s < len(targets)
                meets, wanted = len(targets) - own, together - targets[s] if own else together
                top = said.amax(1, keepdim=True)
                room = None if gradient is None else gradient[rows]
                spread = torch.add(top * -inverse, said, alpha=inverse, out=room).exp2_()
                sums = spread.sum(1, keepdim=True)
                logs = (sums.log2() + top * inverse).sum() * (meets * weight / LOG2_E)
                total += logs + torch.dot(wanted.flatten(), said.flatten())
                if room is not None:
                    torch.addcmul(wanted, spread, meets * slope / sums, out=room)
        ctx.gradients = gradients
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError(
                "dino_loss gives its gradient away at the first backward; for a second one compute "
                "the loss again."
            )
        slopes = [None if made is None else made.mul_(grad) for made in gradients]
        others = len(ctx.needs_input_grad) - 4 - len(slopes)
        return (None,) * 4 + (*slopes, *(None,) * others)


def _slices(logits: Tensor) -> list[slice]:
    """Rows that are worked on together: some 0.5 MB on a CPU, all of them on a GPU."""
    count = len(logits)
    step = count
    if logits.device.type == "cpu":
        step = max(1, min(count, (1 << 17) // logits.shape[1]))
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]
