"""The cross-entropy of student views with teacher views, and its gradient in the same pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from selfsight.kernels.differentiable import once
from selfsight.kernels.precision import LOG2_E


def plain_cross_entropy(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    centre: Tensor,
    student_temperature: float,
    teacher_temperature: float | Tensor,
) -> Tensor:
    """The mean of ``H(P_t, P_s)`` over rows and pairs of different views."""
    targets = [((g - centre) / teacher_temperature).softmax(1).detach() for g in teacher]
    logs = [(g / student_temperature).log_softmax(1) for g in student]
    terms = [
        -(target * log).sum(1).mean()
        for t, target in enumerate(targets)
        for s, log in enumerate(logs)
        if s != t
    ]
    return torch.stack(terms).mean()


class CrossEntropy(torch.autograd.Function):
    """`plain_cross_entropy` and its gradient in the same pass.

    A few rows at a time on a CPU, so that what is made of them stays in the cache. The gradient
    ``P_s - P_t`` is made of exponentials that the value needs as well: nothing else is kept, and
    backward multiplies it by a number, where it stands. (In float64, where gradients are checked
    rather than used, it is kept for another backward.) Logits count from the largest of their row:
    then the value is a sum of numbers that are not negative, whatever their scale.

    Called with the number of student views, temperatures and centre, then the student views, an
    anchor of each (`selfsight.kernels.differentiable.anchors`) and the teacher views.
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
        student, teacher = logits[:count], logits[2 * count :]
        ctx.save_for_backward(*logits[count : 2 * count])
        inverse, sharpness = LOG2_E / student_temperature, LOG2_E / teacher_temperature
        pairs = len(teacher) * (count - 1)
        weight = 1.0 / (len(student[0]) * pairs)
        slope = weight / student_temperature
        gradients = [torch.empty_like(said) if said.requires_grad else None for said in student]
        total = student[0].new_zeros(())
        for rows in _slices(student[0]):
            targets = []
            for given in teacher:
                made = torch.sub(given[rows], centre)
                made.sub_(made.amax(1, keepdim=True)).mul_(sharpness).exp2_()
                targets.append(made.mul_(-slope / made.sum(1, keepdim=True)))
            together = sum(targets[1:], targets[0])
            for s, (whole, gradient) in enumerate(zip(student, gradients, strict=True)):
                said, own = whole[rows], s < len(targets)
                meets, wanted = len(targets) - own, together - targets[s] if own else together
                room = None if gradient is None else gradient[rows]
                spread = torch.sub(said, said.amax(1, keepdim=True), out=room)
                total += torch.dot(wanted.flatten(), spread.flatten())
                spread.mul_(inverse).exp2_()
                sums = spread.sum(1, keepdim=True)
                total += sums.log2().sum() * (meets * weight / LOG2_E)
                if room is not None:
                    torch.addcmul(wanted, spread, meets * slope / sums, out=room)
        ctx.gradients = gradients
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.gradients
        if gradients is None:
            raise RuntimeError(
                "dino_loss hands its gradient over at the first backward; compute the loss again "
                "for a second one."
            )
        if grad.dtype == torch.float64:
            slopes = [None if made is None else made * grad.detach() for made in gradients]
        else:
            ctx.gradients = None
            slopes = [None if made is None else made.mul_(grad.detach()) for made in gradients]
        if torch.is_grad_enabled():
            pairs = zip(slopes, ctx.saved_tensors, strict=True)
            slopes = [None if s is None else once(s, anchor, "dino_loss") for s, anchor in pairs]
        others = len(ctx.needs_input_grad) - 4 - len(slopes)
        return (None,) * 4 + (*slopes, *(None,) * others)


def _slices(logits: Tensor) -> list[slice]:
    """Rows that are worked on together: some 0.5 MB on a CPU, all of them on a GPU."""
    count = len(logits)
    step = count
    if logits.device.type == "cpu":
        step = max(1, min(count, (1 << 17) // logits.shape[1]))
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]
