"""FreeMatch: FixMatch with thresholds that follow what the model is sure of, class by class."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from selfsight.data.imageset import TargetSpec
from selfsight.distributed import all_sum, world_size
from selfsight.losses.pseudo_labels import (
    fairness_loss,
    freematch_loss,
    freematch_thresholds,
    one_hot_of_largest,
)
from selfsight.losses.targets import choices, known_entries, mean_over_known, target_losses
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output, Preset
from selfsight.networks.backbones import Backbone, each_view
from selfsight.views.settings import View


class FreeMatch(Method):
    """FreeMatch: FixMatch without a threshold to choose.

    Views as in `selfsight.methods.fixmatch`, for which the same holds.
    """

    paper: ClassVar[str] = "arXiv:2205.07246"
    views: ClassVar[tuple[View, ...]] = (
        View(crop_scale=(0.75, 1.0), color=0.0, grayscale=0.0),
        View(
            crop_scale=(0.2, 1.0),
            brightness=0.8,
            contrast=0.8,
            saturation=0.8,
            hue=0.1,
            solarize=0.1,
            rotation=20.0,
            shear=10.0,
        ),
    )
    needs: ClassVar[frozenset[str]] = frozenset({"labels"})
    labelled_share: ClassVar[float | None] = 0.125
    """One labelled image for seven others, the paper's mu."""

    class Settings(MethodSettings):
        """Momentum of the thresholds and weights of the unlabelled losses."""

        momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
        """Momentum of thresholds, marginals and histograms; 0.99 for thousands of steps."""
        unlabelled_weight: Annotated[float, Field(ge=0.0)] = 1.0
        """Weight of the loss on guesses."""
        fairness_weight: Annotated[float, Field(ge=0.0)] = 0.01
        """Weight of the fairness of the guesses."""

    presets: ClassVar[dict[str, Preset]] = {
        "large": Preset(
            optimizer=Optimizer(name="sgd", lr=0.03, base_batch_size=512, weight_decay=5e-4),
            method=Settings(),
        )
    }
    presets["small"] = presets["large"].updated(
        {
            "optimizer.name": "adamw",
            "optimizer.lr": 1e-3,
            "optimizer.weight_decay": 0.05,
            "optimizer.base_batch_size": None,
            "method.momentum": 0.99,
        }
    )
    # A new layer has far to go; a backbone that has learnt already is soon worse than it was.
    presets["continue"] = presets["small"].updated(
        {"optimizer.lr": 1e-2, "optimizer.backbone_lr_factor": 0.03}
    )

    confidence: Tensor
    marginal: Tensor
    histogram: Tensor

    def __init__(
        self, settings: Settings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__(settings, backbone, target)
        if target is None or target.kind not in ("class", "labels"):
            raise ValueError("freematch: it needs a target of classes or of several labels.")
        self.settings, self.target = settings, target
        self.layer = nn.Linear(backbone.features, target.outputs)
        shape = (1, target.outputs) if target.kind == "class" else (target.outputs, 2)
        even = 1.0 / shape[1]
        self.register_buffer("confidence", torch.full(shape[:1], even))
        self.register_buffer("marginal", torch.full(shape, even))
        self.register_buffer("histogram", torch.full(shape, even))

    def forward(self, batch: Batch) -> Output:
        kind = self.target.kind
        representations = each_view(self.backbone, batch.views)
        weak, strong = each_view(self.layer, representations)
        values = target_losses(weak, batch.targets, kind)
        supervised = mean_over_known(values, known_entries(batch.targets))
        weak, strong = choices(weak, kind), choices(strong, kind)
        confidence, marginal, histogram = self._followed(weak.detach())
        guessed, taken = freematch_loss(weak, strong, freematch_thresholds(confidence, marginal))
        fairness = fairness_loss(strong, taken, marginal, histogram)
        settings = self.settings
        loss = supervised + settings.unlabelled_weight * guessed
        loss = loss + settings.fairness_weight * fairness
        confident = mean_over_known(taken.to(loss.dtype), torch.ones_like(taken))
        losses = {
            "loss": loss,
            "supervised": supervised,
            "guessed": guessed,
            "fairness": fairness,
            "confident": confident,
        }
        return Output(losses, representations)

    @torch.no_grad()
    def _followed(self, weak: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Updates the running means with a batch over all processes (eq. 5, 6 and 10)."""
        q = weak.softmax(2)
        guesses = one_hot_of_largest(q)
        means = torch.stack(
            [q.mean(0), guesses.mean(0), q.amax(2, keepdim=True).expand_as(q).mean(0)]
        )
        means = all_sum(means) / world_size()
        keep, followed = self.settings.momentum, []
        buffers = (self.marginal, self.histogram, self.confidence)
        for buffer, new in zip(buffers, (means[0], means[1], means[2][:, 0]), strict=True):
            value = buffer * keep + new.to(buffer.dtype) * (1.0 - keep)
            buffer.copy_(value)
            followed.append(value.to(q.dtype))
        marginal, histogram, confidence = followed
        return confidence, marginal, histogram
