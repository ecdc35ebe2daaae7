"""Barlow Twins: the cross-correlation of two views approaches the identity."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from selfsight.data.imageset import TargetSpec
from selfsight.distributed import gather
from selfsight.losses.barlow_twins import barlow_twins_loss
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output, Preset
from selfsight.networks.backbones import Backbone, each_view
from selfsight.networks.heads import mlp
from selfsight.views.settings import View


class BarlowTwins(Method):
    """Barlow Twins: decorrelate features, make them agree between two views."""

    paper: ClassVar[str] = "arXiv:2103.03230"
    views: ClassVar[tuple[View, ...]] = (
        View(crop_scale=(0.08, 1.0), saturation=0.2, blur=1.0),
        View(crop_scale=(0.08, 1.0), saturation=0.2, blur=0.1, solarize=0.2),
    )

    class Settings(MethodSettings):
        """The weight of the redundancy term and the projector."""

        redundancy_weight: Annotated[float, Field(ge=0.0)] = 5e-3
        """Lambda: weight of the squared off-diagonal correlations."""
        projector: tuple[int, ...] = (8192, 8192, 8192)
        """Widths of the projector; the last one is the embedding."""
        one_by_one: bool = False
        """Each view passes the network as a batch of its own, with its own batch statistics, as in
        the authors' code; else both as one batch, which is faster."""

    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset(
            optimizer=Optimizer(
                name="lars", lr=0.2, bias_lr_factor=0.024, weight_decay=1e-6, final_lr=1e-3
            ),
            method=Settings(redundancy_weight=0.0051, one_by_one=True),
            epochs={"optimizer.warmup": 10},
        )
    }
    presets["large"] = presets["paper"].updated({"method.one_by_one": False, "epochs": {}})
    presets["small"] = presets["large"].updated(
        {
            "optimizer.name": "adamw",
            "optimizer.lr": 2e-3,
            "optimizer.weight_decay": 1e-4,
            "optimizer.base_batch_size": None,
            "optimizer.bias_lr_factor": 1.0,
            "optimizer.final_lr": 0.0,
            "method.redundancy_weight": 5e-3,
            "method.projector": (1024, 1024, 1024),
        }
    )
    search: ClassVar[dict[str, str]] = {
        "redundancy_weight": "log(5e-4,0.05)",
        "projector": "[512,512,512],[1024,1024,1024],[2048,2048,2048]",
    }

    @classmethod
    def example(cls) -> MethodSettings:
        return cls.Settings(projector=(24, 32))

    def __init__(
        self, settings: Settings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__(settings, backbone, target)
        self.settings = settings
        self.projector = mlp((backbone.features, *settings.projector), last_bias=False)

    def forward(self, batch: Batch) -> Output:
        apart, weight = self.settings.one_by_one, self.settings.redundancy_weight
        representations = each_view(self.backbone, batch.views, one_by_one=apart)
        first, second = each_view(self.projector, representations, one_by_one=apart)
        losses = barlow_twins_loss(gather(first), gather(second), weight)
        return Output(losses, representations, first)
