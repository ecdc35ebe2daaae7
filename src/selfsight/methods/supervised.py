"""Supervised training: the baseline without self-supervision, on whatever labels there are."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from selfsight.data.imageset import TargetSpec
from selfsight.losses.targets import known_entries, mean_over_known, target_losses
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output, Preset
from selfsight.networks.backbones import Backbone, each_view
from selfsight.views.settings import View


class Supervised(Method):
    """Supervised training of the backbone under a linear layer; rows without a label are idle."""

    paper: ClassVar[str] = "arXiv:1512.03385"
    views: ClassVar[tuple[View, ...]] = (View(crop_scale=(0.2, 1.0), grayscale=0.0),)
    needs: ClassVar[frozenset[str]] = frozenset({"labels"})

    class Settings(MethodSettings):
        """There are none."""

    presets: ClassVar[dict[str, Preset]] = {
        "large": Preset(
            optimizer=Optimizer(name="sgd", lr=0.1, weight_decay=1e-4), method=Settings()
        )
    }
    presets["small"] = presets["large"].updated(
        {
            "optimizer.name": "adamw",
            "optimizer.lr": 2e-3,
            "optimizer.weight_decay": 0.05,
            "optimizer.base_batch_size": None,
        }
    )

    def __init__(
        self, settings: Settings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__(settings, backbone, target)
        if target is None or target.kind == "number":
            raise ValueError(
                "supervised: it learns a class or several labels, since its view crops; for "
                "numbers join a method with --supervision.weight, which reads whole frames."
            )
        self.target = target
        self.layer = nn.Linear(backbone.features, target.outputs)

    def forward(self, batch: Batch) -> Output:
        representations = each_view(self.backbone, batch.views)
        known = known_entries(batch.targets)
        losses = [
            mean_over_known(target_losses(self.layer(r), batch.targets, self.target.kind), known)
            for r in representations
        ]
        return Output({"loss": sum(losses[1:], losses[0]) / len(losses)}, representations)
