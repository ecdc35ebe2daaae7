"""Labels joined to any method: a linear layer on the backbone, and a same-class correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from selfsight.data.imageset import ImageSet, Target, TargetSpec
from selfsight.data.splits import LabelFraction, few_labels
from selfsight.distributed import gather
from selfsight.losses.same_class import (
    same_class_correlation_loss,
    same_class_weights,
    supcon_loss,
)
from selfsight.losses.targets import (
    known_entries,
    known_rows,
    mean_over_known,
    target_losses,
)
from selfsight.method import Batch, Method, Output, checked
from selfsight.networks.backbones import Backbone
from selfsight.settings import Settings
from selfsight.views.settings import View


class Supervision(Settings):
    """Which labels the training reads, and what they add to the method's loss."""

    weight: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the supervised loss of a linear layer on the representations; 0: no layer."""
    end: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the training in which labels count, from its start; 1.0: throughout."""
    correlation: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the term that correlates representations of the same class; 0: off."""
    correlation_kind: Literal["barlow", "supcon"] = "barlow"
    """barlow: cross-correlation over same-class pairs; supcon: arXiv:2004.11362."""
    labelled_share: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Share of each batch that labelled images are oversampled to; None: as they come."""
    label_fraction: LabelFraction = 1.0
    """Share of the known labels of train that the training reads."""
    label_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of that draw: the one that `evaluate --seed` makes first."""
    whole_frame: bool | None = None
    """Labels are read off a view that keeps the whole frame; None: numbers and several labels."""

    @property
    def on(self) -> bool:
        """Whether labels add anything to a method."""
        return self.weight > 0.0 or self.correlation > 0.0


class WithLabels(Method):
    """A method with a supervised loss on its backbone's representations.

    It takes the method's place: the same `Output`, the same `after_step`. The method is built
    before it, so that its initial weights are those of the plain method. ``loss`` is the
    method's, plus ``weight`` times the supervised loss, plus ``correlation`` times the same-class
    correlation, the last two within their share of the training.

    Args:
        method: any method, built.
        settings: weights and stage.
        spec: of the target.
        whole_frame: the batch's last view keeps the whole frame; the labels are read off it and
            the method does not see it.

    Raises:
        ValueError: a correlation of numbers.
    """

    def __init__(
        self,
        method: Method,
        settings: Supervision,
        spec: TargetSpec,
        *,
        whole_frame: bool = False,
    ) -> None:
        nn.Module.__init__(self)
        if settings.correlation > 0.0 and spec.kind == "number":
            raise ValueError(
                f"supervision.correlation: the target {spec.name!r} is a number, which has no "
                "classes to correlate; leave it at 0."
            )
        self.method, self.settings, self.spec = method, settings, spec
        self.whole_frame = whole_frame
        self.layer = (
            nn.Linear(method.backbone.features, spec.outputs) if settings.weight > 0.0 else None
        )

    @property
    def backbone(self) -> Backbone:  # type: ignore[override]
        """The method's; a second name for it would be a second set of keys in checkpoints."""
        return self.method.backbone

    def forward(self, batch: Batch) -> Output:
        views = batch.views
        if self.whole_frame:
            seen = Batch(views[:-1], batch.targets, batch.keys, batch.progress)
            output = checked(self.method, self.method(seen), seen)
            read = [self.backbone(views[-1])]
        else:
            output = checked(self.method, self.method(batch), batch)
            read = output.representations
        losses = dict(output.losses)
        own = losses.pop("loss")
        representations = torch.cat(read)
        targets = torch.cat([batch.targets] * len(read))
        stage = (batch.progress < self.settings.end).to(own.dtype)
        total = own
        added: dict[str, Tensor] = {}
        if self.layer is not None:
            values = target_losses(self.layer(representations), targets, self.spec.kind)
            added["supervision"] = mean_over_known(values, known_entries(targets))
            total = total + stage * self.settings.weight * added["supervision"]
        if self.settings.correlation > 0.0:
            added["correlation"] = self._correlation(gather(representations), gather(targets))
            total = total + stage * self.settings.correlation * added["correlation"]
        losses = {"loss": total, "method_loss": own, **losses, **added}
        return Output(losses, output.representations, output.embeddings)

    def _correlation(self, z: Tensor, targets: Tensor) -> Tensor:
        weights = same_class_weights(targets, self.spec.kind)
        if self.settings.correlation_kind == "supcon":
            return supcon_loss(z, weights, known_rows(targets))
        return same_class_correlation_loss(z, weights)

    def after_step(self, progress: Tensor) -> None:
        self.method.after_step(progress)

    def frozen(self, progress: float) -> Sequence[nn.Parameter]:
        return self.method.frozen(progress)


def with_labels(method: Method, settings: Supervision, labels: Target | None) -> Method:
    """The method joined with its labels; the method itself where none is known or asked for.

    Args:
        method: built.
        settings: see `Supervision`.
        labels: from `labels_to_read`.
    """
    if not settings.on or labels is None or not labels.known.any():
        return method
    whole = settings.whole_frame
    if whole is None:
        whole = labels.kind in ("number", "labels")
    return WithLabels(method, settings, labels.spec, whole_frame=whole)


def labels_to_read(target: Target, images: ImageSet, settings: Supervision) -> Target:
    """The target as training may see it: known only on train rows, and only on a share of them.

    The share is ``few_labels(target, train, label_fraction, label_seed, groups)``, the draw that
    evaluation makes for the same fraction and seed.
    """
    rows = images.rows("train")
    rows = rows[target.known[rows]]
    if settings.label_fraction < 1.0 and len(rows):
        rows = few_labels(target, rows, settings.label_fraction, settings.label_seed, images.groups)
    hidden = np.ones(len(images), np.bool_)
    hidden[rows] = False
    return target.without(hidden)


def whole_frame_view(images: ImageSet) -> View:
    """The view that labels are read off: the whole frame, mirrored at most.

    A crop or a gain changes a count, an area or a mass, and may cut off what a label names.
    """
    return View(
        size=float(max(images.height, images.width)),
        crop_scale=None,
        flip=0.5 if images.mirrored else 0.0,
        color=0.0,
        grayscale=0.0,
    )
