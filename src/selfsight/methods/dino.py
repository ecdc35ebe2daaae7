"""DINO: a student predicts, from every view, what its moving average says of the large ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from selfsight.data.imageset import TargetSpec
from selfsight.distributed import all_sum, world_size
from selfsight.kernels.precision import full_precision
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output
from selfsight.networks.backbones import Backbone, each_view
from selfsight.networks.heads import PrototypeHead
from selfsight.networks.teacher import Teacher
from selfsight.views.settings import View

LOG2_E = 1.0 / math.log(2.0)
"""``exp(x) = 2 ** (x LOG2_E)``: `torch.exp` takes three times as long as exp2 on some CPUs."""


@full_precision
def dino_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    centre: Tensor,
    student_temperature: float = 0.1,
    teacher_temperature: float | Tensor = 0.04,
) -> Tensor:
    """Self-distillation (arXiv:2104.14294, eq. 1-3), averaged over pairs of different views.

    ``H(P_t, P_s) = -sum_k P_t log P_s`` with ``P_t = softmax((g_t - c) / t_t)`` and ``P_s =
    softmax(g_s / t_s)``, over every teacher view t and every student view s other than t. Since
    ``H = logsumexp(g_s / t_s) - <P_t, g_s / t_s>`` and the second part is linear in P_t, each
    student view meets the sum of its teachers once.

    Args:
        student: V logits ``(B, K)``; the first ``len(teacher)`` are of the teacher's views.
        teacher: G logits ``(B, K)``; no gradient flows into them.
        centre: ``(K,)`` or ``(1, K)``.
        student_temperature: t_s.
        teacher_temperature: t_t.

    Returns:
        The loss, a 0-d tensor.
    """
    total: Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
        len(student), student_temperature, teacher_temperature, centre, *student, *teacher
    )
    return total


class _CrossEntropy(torch.autograd.Function):
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


class DINO(Method):
    """DINO: self-distillation without labels, from local crops to global ones."""

    paper: ClassVar[str] = "arXiv:2104.14294"
    views: ClassVar[tuple[View, ...]] = (
        View(crop_scale=(0.4, 1.0), saturation=0.2, blur=1.0),
        View(crop_scale=(0.4, 1.0), saturation=0.2, blur=0.1, solarize=0.2),
        *(View(size=96 / 224, crop_scale=(0.05, 0.4), saturation=0.2, blur=0.5),) * 8,
    )
    optimizer: ClassVar[Optimizer] = Optimizer(
        name="adamw",
        lr=5e-4,
        weight_decay=0.04,
        final_weight_decay=0.4,
        max_grad_norm=3.0,
        final_lr=2e-3,
    )
    small: ClassVar[dict[str, Any]] = {
        "optimizer": {
            "lr": 2e-3,
            "weight_decay": 1e-4,
            "final_weight_decay": None,
            "base_batch_size": None,
        },
        "method": {
            "prototypes": 2048,
            "hidden": 512,
            "bottleneck": 128,
            "head_norm": True,
            "momentum": 0.98,
            "teacher_temperature": 0.05,
        },
        "views": (
            View(crop_scale=(0.3, 1.0), saturation=0.2, grayscale=0.1),
            View(crop_scale=(0.3, 1.0), saturation=0.2, grayscale=0.1, solarize=0.2),
            *(View(size=0.5, crop_scale=(0.1, 0.4), saturation=0.2, grayscale=0.1),) * 2,
        ),
    }
    search: ClassVar[dict[str, str]] = {
        "student_temperature": "log(0.05,0.2)",
        "teacher_temperature": "log(0.03,0.08)",
        "momentum": "0.95..0.999",
        "prototypes": "512,1024,2048,4096",
    }

    class Settings(MethodSettings):
        """Temperatures, the teacher's momentum and the head."""

        student_temperature: Annotated[float, Field(gt=0.0)] = 0.1
        """Temperature of the student's softmax."""
        teacher_temperature: Annotated[float, Field(gt=0.0)] = 0.07
        """Temperature of the teacher's softmax after its warm-up."""
        warmup_teacher_temperature: Annotated[float, Field(gt=0.0)] = 0.04
        """Temperature of the teacher's softmax at the start."""
        warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.3
        """Share of the training in which the teacher's temperature rises."""
        momentum: Annotated[float, Field(ge=0.0, le=1.0)] = 0.996
        """Momentum of the teacher at the start; a cosine takes it to 1."""
        centre_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
        """Momentum of the centre."""
        freeze_prototypes: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.01
        """Share of the training in which the last layer does not learn."""
        hidden: Annotated[int, Field(ge=1)] = 2048
        """Width of the head's two hidden layers."""
        bottleneck: Annotated[int, Field(ge=1)] = 256
        """Width of the head's normalised output, below the prototypes."""
        head_norm: bool = False
        """Batch normalisation in the head; the paper's ViTs do without."""
        prototypes: Annotated[int, Field(ge=2)] = 65536
        """Number of outputs K."""

    centre: Tensor

    def __init__(
        self, settings: Settings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__(settings, backbone, target)
        self.settings = settings
        self.head = PrototypeHead(
            backbone.features,
            settings.prototypes,
            hidden=settings.hidden,
            bottleneck=settings.bottleneck,
            norm=settings.head_norm,
        )
        self.teacher = Teacher(nn.ModuleDict({"backbone": self.backbone, "head": self.head}))
        self.register_buffer("centre", torch.zeros(1, settings.prototypes))

    def forward(self, batch: Batch) -> Output:
        settings = self.settings
        teacher = self.teacher.module
        assert isinstance(teacher, nn.ModuleDict)
        with torch.no_grad():
            seen = each_view(teacher["backbone"], batch.views[:2])
            taught = each_view(teacher["head"], seen)
        representations = each_view(self.backbone, batch.views)
        learns = (batch.progress >= settings.freeze_prototypes).to(batch.progress.dtype)
        said = each_view(lambda x: self.head(x, learns), representations)
        warm = (batch.progress / max(settings.warmup, 1e-8)).clamp(max=1.0)
        low, high = settings.warmup_teacher_temperature, settings.teacher_temperature
        temperature = low + (high - low) * warm
        centre = self.centre.clone()
        loss = dino_loss(said, taught, centre, settings.student_temperature, temperature)
        with torch.no_grad():
            mean = all_sum(torch.cat(taught).mean(0, keepdim=True)) / world_size()
            keep = settings.centre_momentum
            self.centre.copy_(centre * keep + mean.to(centre.dtype) * (1.0 - keep))
        return Output({"loss": all_sum(loss) / world_size()}, representations)

    def after_step(self, progress: Tensor) -> None:
        start = self.settings.momentum
        momentum = 1.0 - (1.0 - start) * (torch.cos(torch.pi * progress) + 1.0) / 2.0
        self.teacher.update(nn.ModuleDict({"backbone": self.backbone, "head": self.head}), momentum)
