"""Labels joined to any method: a linear layer on the backbone, and a same-class correlation."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from selfsight.data.imageset import ImageSet, Target, TargetKind, TargetSpec
from selfsight.data.splits import LabelFraction, few_labels
from selfsight.distributed import gather
from selfsight.losses.targets import (
    known_entries,
    known_rows,
    mean_over_known,
    target_losses,
)
from selfsight.method import Batch, Method, Output
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


def same_class_weights(targets: Tensor, kind: TargetKind) -> Tensor:
    """How much two rows are of the same class: ``(M, M)`` float, symmetric, 0 on the diagonal.

    Classes: 1 where both are known and equal. Several labels: the Jaccard overlap ``|a & b| /
    |a | b|`` over the labels known in both; 1 where neither has any of those, 0 where there is
    none.

    Args:
        targets: class int64 ``(M,)``, -1 unknown; labels float ``(M, K)``, NaN unknown.
        kind: of the target: class, identity or labels.
    """
    if kind == "labels":
        known = (~targets.isnan()).to(targets.dtype)
        has = torch.where(targets.isnan(), torch.zeros_like(targets), targets)
        both = has @ has.T
        either = has @ known.T + known @ has.T - both
        weights = torch.where(either > 0, both / either.clamp_min(1.0), torch.ones_like(both))
        weights = weights * (known @ known.T > 0).to(weights.dtype)
    else:
        same = (targets[:, None] == targets[None]) & (targets >= 0)[:, None]
        weights = same.float()
    return weights * (1.0 - torch.eye(len(weights), device=weights.device, dtype=weights.dtype))


def same_class_correlation_loss(
    z: Tensor, weights: Tensor, redundancy_weight: float = 5e-3, eps: float = 1e-5
) -> Tensor:
    """The objective of Barlow Twins (arXiv:2103.03230, eq. 1 and 2) over same-class pairs.

    With ``w_ij`` the weight of a pair and ``W`` their sum, the pairs are a distribution whose
    marginals give row i the probability ``p_i = sum_j w_ij / W``. Each feature is standardised
    under it, ``a_i = (z_i - mu) / sqrt(sigma^2 + eps)`` with ``mu = sum_i p_i z_i`` and ``sigma^2 =
    sum_i p_i (z_i - mu)^2``, and the cross-correlation of the two ends of a pair is ::

        C_kl = sum_ij w_ij a_ik a_jl / W
        loss = [ sum_k (1 - C_kk)^2 + lambda sum_k sum_{l != k} C_kl^2 ] / F

    The division by F keeps the weight of the term the same for any backbone.

    Args:
        z: ``(M, F)`` representations of all images and views.
        weights: ``(M, M)`` symmetric, not negative; 0 where a row is no pair (unknown, itself).
        redundancy_weight: lambda.
        eps: added to the variances.

    Returns:
        The loss, a 0-d tensor; 0, with a gradient of 0, where there is no pair.
    """
    weights = weights.to(z.dtype)
    total = weights.sum()
    pairs = total.clamp_min(torch.finfo(z.dtype).tiny)
    share = weights.sum(1) / pairs
    centred = z - share @ z
    a = centred * torch.rsqrt(share @ centred.square() + eps)
    cross = a.T @ (weights @ a) / pairs
    diagonal = cross.diagonal()
    invariance = (1.0 - diagonal).square().sum()
    # In float64: two near sums are subtracted.
    squares = cross.square().sum(1).double().sum()
    redundancy = (squares - diagonal.double().square().sum()).to(z.dtype)
    exists = (total > 0).to(z.dtype)
    return exists * (invariance + redundancy_weight * redundancy) / z.shape[1]


def supcon_loss(z: Tensor, weights: Tensor, known: Tensor, temperature: float = 0.1) -> Tensor:
    """SupCon (arXiv:2004.11362, eq. 2), averaged over the rows that have a positive.

    ``L_i = -1/|P(i)| sum_{p in P(i)} log exp(z_i z_p / t) / sum_{a in A(i)} exp(z_i z_a / t)`` on
    normalised z; A(i) are the other rows with a known target. For several labels the mean over
    positives is weighted by ``weights``.

    Args:
        z: ``(M, F)``, not normalised.
        weights: ``(M, M)`` from `same_class_weights`.
        known: ``(M,)`` bool.
        temperature: t.

    Returns:
        The loss, a 0-d tensor; 0, with a gradient of 0, where there is no pair.
    """
    weights = weights.to(z.dtype)
    z = F.normalize(z, dim=1)
    cosines = z @ z.T / temperature
    itself = torch.eye(len(z), device=z.device, dtype=torch.bool)
    # Finite: a row without any other known row must not give NaN.
    others = cosines.masked_fill(~known[None] | itself, -1e9)
    likelihood = cosines - others.logsumexp(1, keepdim=True)
    count = weights.sum(1)
    anchors = count > 0
    of_row = -(weights * likelihood).sum(1) / torch.where(anchors, count, torch.ones_like(count))
    kept = torch.where(anchors, of_row, torch.zeros_like(of_row))
    return kept.sum() / anchors.sum().clamp_min(1)


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
            output = self.method(seen)
            read = [self.backbone(views[-1])]
        else:
            output = self.method(batch)
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
        return Output(
            {"loss": total, "method_loss": own, **losses, **added}, output.representations
        )

    def _correlation(self, z: Tensor, targets: Tensor) -> Tensor:
        weights = same_class_weights(targets, self.spec.kind)
        if self.settings.correlation_kind == "supcon":
            return supcon_loss(z, weights, known_rows(targets))
        return same_class_correlation_loss(z, weights)

    def after_step(self, progress: Tensor) -> None:
        self.method.after_step(progress)


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
