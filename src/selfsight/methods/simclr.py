"""SimCLR: views of one image attract, all other images of the batch repel."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

from pydantic import Field

from selfsight.data.imageset import TargetSpec
from selfsight.distributed import gather
from selfsight.losses.nt_xent import nt_xent_loss
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output, Preset
from selfsight.networks.backbones import Backbone, each_view
from selfsight.networks.heads import mlp
from selfsight.views.settings import View


class SimCLR(Method):
    """SimCLR: contrast two views of an image with all other images of the batch."""

    paper: ClassVar[str] = "arXiv:2002.05709"
    views: ClassVar[tuple[View, ...]] = (
        View(
            crop_scale=(0.08, 1.0),
            brightness=0.8,
            contrast=0.8,
            saturation=0.8,
            hue=0.2,
            blur=0.5,
        ),
    ) * 2

    class Settings(MethodSettings):
        """NT-Xent and its projector."""

        temperature: Annotated[float, Field(gt=0.0)] = 0.1
        """Temperature t of the softmax over cosines."""
        projector: tuple[int, ...] = (2048, 128)
        """Widths of the projector; the last one is the embedding."""

    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset(
            optimizer=Optimizer(name="lars", lr=0.3, weight_decay=1e-4),
            method=Settings(projector=(2048, 2048, 128)),
            epochs={"optimizer.warmup": 10},
        )
    }
    # The article's weight decay and its shorter projector.
    presets["large"] = presets["paper"].updated(
        {"optimizer.weight_decay": 1e-6, "method.projector": (2048, 128), "epochs": {}}
    )
    presets["small"] = presets["large"].updated(
        {
            "optimizer.name": "adamw",
            "optimizer.lr": 2e-3,
            "optimizer.weight_decay": 1e-4,
            "optimizer.base_batch_size": None,
            "method.temperature": 0.2,
            "method.projector": (512, 128),
        }
    )
    # Of a few pixels many images are alike: a softer contrast costs them less.
    presets["tiny"] = presets["small"].updated({"method.temperature": 0.5})
    search: ClassVar[dict[str, str]] = {
        "temperature": "log(0.05,0.5)",
        "projector": "[256,64],[512,128],[1024,128],[2048,128]",
    }

    @classmethod
    def example(cls) -> MethodSettings:
        return cls.Settings(projector=(24, 32))

    def __init__(
        self, settings: Settings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__(settings, backbone, target)
        self.settings = settings
        widths = (backbone.features, *settings.projector)
        self.projector = mlp(widths, last_norm=True, last_shift=False)

    def forward(self, batch: Batch) -> Output:
        representations = each_view(self.backbone, batch.views)
        first, second = each_view(self.projector, representations)
        loss = nt_xent_loss(gather(first), gather(second), self.settings.temperature)
        return Output({"loss": loss}, representations, first)

    def chance_loss(self, batch_size: int) -> float:
        """All similarities are equal: the other view is one of ``2 N - 1`` embeddings."""
        return math.log(2 * batch_size - 1)
