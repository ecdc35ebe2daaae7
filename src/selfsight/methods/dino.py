"""DINO: a student predicts, from every view, what its moving average says of the large ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from selfsight.data.imageset import TargetSpec
from selfsight.distributed import all_sum, world_size
from selfsight.losses.dino import dino_loss
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output, Preset
from selfsight.networks.backbones import Backbone, each_view
from selfsight.networks.heads import PrototypeHead
from selfsight.networks.teacher import Teacher
from selfsight.views.settings import View


class DINO(Method):
    """DINO: self-distillation without labels, from local crops to global ones."""

    paper: ClassVar[str] = "arXiv:2104.14294"
    views: ClassVar[tuple[View, ...]] = (
        View(crop_scale=(0.4, 1.0), saturation=0.2, blur=1.0),
        View(crop_scale=(0.4, 1.0), saturation=0.2, blur=0.1, solarize=0.2),
        *(View(size=96 / 224, crop_scale=(0.05, 0.4), saturation=0.2, blur=0.5),) * 8,
    )

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

        drop_path: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
        """Probability with which the student drops a branch of its last block, in ViTs."""

    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset(
            optimizer=Optimizer(
                name="adamw",
                lr=5e-4,
                weight_decay=0.04,
                final_weight_decay=0.4,
                max_grad_norm=3.0,
                clip_by="parameter",
                min_lr=1e-6,
            ),
            method=Settings(),
            epochs={"optimizer.warmup": 10, "method.warmup": 30, "method.freeze_prototypes": 1},
        )
    }
    presets["large"] = presets["paper"].updated({"epochs": {}})
    presets["small"] = presets["large"].updated(
        {
            "optimizer.lr": 2e-3,
            "optimizer.weight_decay": 1e-4,
            "optimizer.final_weight_decay": None,
            "optimizer.base_batch_size": None,
            "optimizer.clip_by": "global",
            "optimizer.min_lr": 0.0,
            "optimizer.final_lr": 2e-3,
            "method.drop_path": 0.0,
            "method.prototypes": 2048,
            "method.hidden": 512,
            "method.bottleneck": 128,
            "method.head_norm": True,
            "method.momentum": 0.98,
            "method.teacher_temperature": 0.05,
            "views": (
                View(crop_scale=(0.3, 1.0), saturation=0.2, grayscale=0.1),
                View(crop_scale=(0.3, 1.0), saturation=0.2, grayscale=0.1, solarize=0.2),
                *(View(size=0.5, crop_scale=(0.1, 0.4), saturation=0.2, grayscale=0.1),) * 2,
            ),
        }
    )
    search: ClassVar[dict[str, str]] = {
        "student_temperature": "log(0.05,0.2)",
        "teacher_temperature": "log(0.03,0.08)",
        "momentum": "0.95..0.999",
        "prototypes": "512,1024,2048,4096",
    }

    @classmethod
    def example(cls) -> MethodSettings:
        return cls.Settings(prototypes=40, hidden=24, bottleneck=16, drop_path=0.0)

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
        self.backbone.drop_paths(settings.drop_path)  # the teacher sees the whole network
        self.register_buffer("centre", torch.zeros(1, settings.prototypes))

    def forward(self, batch: Batch) -> Output:
        settings = self.settings
        teacher = self.teacher.module
        assert isinstance(teacher, nn.ModuleDict)
        with torch.no_grad():
            seen = each_view(teacher["backbone"], batch.views[:2])
            taught = each_view(teacher["head"], seen)
        representations = each_view(self.backbone, batch.views)
        said = each_view(self.head, representations)
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

    def frozen(self, progress: float) -> Sequence[nn.Parameter]:
        still = progress < self.settings.freeze_prototypes
        return list(self.head.prototypes.parameters()) if still else []

    def chance_loss(self, batch_size: int) -> float:
        """The cross-entropy of two even distributions over the prototypes."""
        return math.log(self.settings.prototypes)

    def after_step(self, progress: Tensor) -> None:
        start = self.settings.momentum
        momentum = 1.0 - (1.0 - start) * (torch.cos(torch.pi * progress) + 1.0) / 2.0
        self.teacher.update(nn.ModuleDict({"backbone": self.backbone, "head": self.head}), momentum)
