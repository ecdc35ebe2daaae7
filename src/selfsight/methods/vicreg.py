"""VICReg: invariance, with variance and covariance kept by explicit terms."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from selfsight.data.imageset import TargetSpec
from selfsight.distributed import gather
from selfsight.losses.vicreg import vicreg_loss
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output, Preset
from selfsight.networks.backbones import Backbone, each_view
from selfsight.networks.heads import mlp
from selfsight.views.settings import View


class VICReg(Method):
    """VICReg: views agree, each feature varies, features do not covary."""

    paper: ClassVar[str] = "arXiv:2105.04906"
    views: ClassVar[tuple[View, ...]] = (
        View(crop_scale=(0.08, 1.0), saturation=0.2, blur=0.5, solarize=0.1),
    ) * 2

    class Settings(MethodSettings):
        """Weights of the three terms, and the projector."""

        invariance_weight: Annotated[float, Field(ge=0.0)] = 25.0
        """Lambda: weight of the mean squared difference of two views."""
        variance_weight: Annotated[float, Field(ge=0.0)] = 25.0
        """Mu: weight of the hinge on each feature's standard deviation."""
        covariance_weight: Annotated[float, Field(ge=0.0)] = 1.0
        """Nu: weight of the squared off-diagonal covariances."""
        projector: tuple[int, ...] = (8192, 8192, 8192)
        """Widths of the projector; the last one is the embedding."""
        one_by_one: bool = False
        """Each view passes the network as a batch of its own, with its own batch statistics, as in
        the authors' code; else both as one batch, which is faster."""

    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset(
            optimizer=Optimizer(name="lars", lr=0.2, weight_decay=1e-6, final_lr=1e-3),
            method=Settings(one_by_one=True),
            # Those of the authors' code; `VICReg.views` are those of the article.
            views=(
                View(crop_scale=(0.08, 1.0), saturation=0.2, blur=1.0),
                View(crop_scale=(0.08, 1.0), saturation=0.2, blur=0.1, solarize=0.2),
            ),
            epochs={"optimizer.warmup": 10},
        )
    }
    presets["large"] = presets["paper"].updated(
        {"method.one_by_one": False, "views": None, "epochs": {}}
    )
    presets["small"] = presets["large"].updated(
        {
            "optimizer.name": "adamw",
            "optimizer.lr": 2e-3,
            "optimizer.weight_decay": 1e-4,
            "optimizer.base_batch_size": None,
            "optimizer.final_lr": 0.0,
            "method.projector": (1024, 1024, 1024),
        }
    )
    search: ClassVar[dict[str, str]] = {
        "invariance_weight": "log(5.0,50.0)",
        "covariance_weight": "log(0.2,10.0)",
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
        widths = (backbone.features, *settings.projector)
        self.projector = mlp(widths, bias=True, last_bias=False)

    def forward(self, batch: Batch) -> Output:
        apart = self.settings.one_by_one
        representations = each_view(self.backbone, batch.views, one_by_one=apart)
        first, second = each_view(self.projector, representations, one_by_one=apart)
        losses = vicreg_loss(
            gather(first),
            gather(second),
            self.settings.invariance_weight,
            self.settings.variance_weight,
            self.settings.covariance_weight,
        )
        return Output(losses, representations, first)
