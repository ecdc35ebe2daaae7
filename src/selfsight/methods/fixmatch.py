"""FixMatch: what is said with confidence of a weak view is the label of the strong one."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from selfsight.data.imageset import TargetSpec
from selfsight.losses.pseudo_labels import fixmatch_loss
from selfsight.losses.targets import choices, known_entries, mean_over_known, target_losses
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output, Preset
from selfsight.networks.backbones import Backbone, each_view
from selfsight.views.settings import View


class FixMatch(Method):
    """FixMatch: labels where there are some, confident guesses of one's own elsewhere.

    Two things differ from the paper: the strong view has no RandAugment and no cutout but this
    package's crop, colour, rotation and shear, and the weights are not averaged over the steps
    (the learning rate falls to 0 instead).
    """

    paper: ClassVar[str] = "arXiv:2001.07685"
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
        """The threshold and the weight of the unlabelled loss."""

        threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 0.95
        """Confidence tau from which a guess counts as a label."""
        unlabelled_weight: Annotated[float, Field(ge=0.0)] = 1.0
        """Weight lambda_u of the loss on guesses."""

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
        }
    )
    # A new layer has far to go; a backbone that has learnt already is soon worse than it was.
    presets["continue"] = presets["small"].updated(
        {"optimizer.lr": 1e-2, "optimizer.backbone_lr_factor": 0.03}
    )

    def __init__(
        self, settings: Settings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__(settings, backbone, target)
        if target is None or target.kind not in ("class", "labels"):
            raise ValueError("fixmatch: it needs a target of classes or of several labels.")
        self.settings, self.target = settings, target
        self.layer = nn.Linear(backbone.features, target.outputs)

    def forward(self, batch: Batch) -> Output:
        kind = self.target.kind
        representations = each_view(self.backbone, batch.views)
        weak, strong = each_view(self.layer, representations)
        values = target_losses(weak, batch.targets, kind)
        supervised = mean_over_known(values, known_entries(batch.targets))
        # All images, as in the paper, whose labelled ones are also in the unlabelled set.
        guessed, confident = fixmatch_loss(
            choices(weak, kind), choices(strong, kind), self.settings.threshold
        )
        loss = supervised + self.settings.unlabelled_weight * guessed
        losses = {
            "loss": loss,
            "supervised": supervised,
            "guessed": guessed,
            "confident": confident,
        }
        return Output(losses, representations)
