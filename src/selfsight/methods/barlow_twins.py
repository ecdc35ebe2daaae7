"""Barlow Twins: the cross-correlation of two views approaches the identity."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from selfsight.data.imageset import TargetSpec
from selfsight.distributed import gather
from selfsight.kernels.gram import gram, summed, summed_squares, times_transposed
from selfsight.kernels.precision import full_precision
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output
from selfsight.networks.backbones import Backbone, each_view
from selfsight.networks.heads import mlp
from selfsight.views.settings import View


@full_precision
def barlow_twins_loss(
    first: Tensor, second: Tensor, redundancy_weight: float = 5e-3, eps: float = 1e-5
) -> dict[str, Tensor]:
    """Barlow Twins (arXiv:2103.03230, eq. 1 and 2).

    ``sum_i (1 - C_ii)^2 + lambda sum_i sum_{j != i} C_ij^2`` with C the cross-correlation of the
    features over the batch. The second sum comes from ``||C||_F^2 = <Z1 Z1', Z2 Z2'>_F / N^2``
    where the batch is smaller than the embedding.

    Args:
        first: ``(N, D)`` embeddings of one view.
        second: ``(N, D)`` embeddings of the other view of the same images.
        redundancy_weight: lambda.
        eps: added to the variances, as in the authors' batch normalisation; eq. 2 has 0.

    Returns:
        ``loss`` and its terms ``invariance`` and ``redundancy``, 0-d tensors.
    """
    a, b = standardised(first, eps), standardised(second, eps)
    invariance, redundancy = _Terms.apply(a, b)  # type: ignore[no-untyped-call]
    return {
        "loss": invariance + redundancy_weight * redundancy,
        "invariance": invariance,
        "redundancy": redundancy,
    }


def standardised(z: Tensor, eps: float) -> Tensor:
    """Columns of ``(N, D)`` with mean 0 and (biased) variance 1."""
    # One fused operation forward and one backward, and nothing is kept but z.
    eps = max(eps, torch.finfo(z.dtype).tiny)
    return F.batch_norm(z, None, None, training=True, momentum=0.0, eps=eps)


class _Terms(torch.autograd.Function):
    """``sum_i (1 - C_ii)^2`` and ``sum_i sum_{j != i} C_ij^2`` of ``C = A'B / N``."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        n, d = a.shape
        if 4 * n < 3 * d:
            left, right = gram(a), gram(b)
            total = summed(left * right)
            diagonal = (a * b).sum(0).div_(n)
            ctx.save_for_backward(a, b, diagonal, left, right)
        else:
            c = a.T @ b
            total = summed_squares(c)
            diagonal = c.diagonal() / n
            ctx.save_for_backward(a, b, diagonal, c)
        redundancy = total / n**2 - diagonal.double().square().sum()
        return (1.0 - diagonal).square().sum(), redundancy.to(a.dtype)

    @staticmethod
    @full_precision
    def backward(ctx: Any, invariance: Tensor, redundancy: Tensor) -> tuple[Tensor, Tensor]:
        a, b, diagonal, *products = ctx.saved_tensors
        n = a.shape[0]
        scale = 2.0 * redundancy / n**2
        on_diagonal = 2.0 * (invariance * (diagonal - 1.0) - redundancy * diagonal) / n
        if len(products) == 2:
            left, right = products
            # Symmetric: right = right', left = left'.
            to_a = times_transposed(right, a.T).mul_(scale)
            to_b = times_transposed(left, b.T).mul_(scale)
        else:
            (c,) = products
            to_a = times_transposed(b, c).mul_(scale)
            to_b = times_transposed(a, c.T).mul_(scale)
        return to_a.addcmul_(b, on_diagonal), to_b.addcmul_(a, on_diagonal)


class BarlowTwins(Method):
    """Barlow Twins: decorrelate features, make them agree between two views."""

    paper: ClassVar[str] = "arXiv:2103.03230"
    views: ClassVar[tuple[View, ...]] = (
        View(crop_scale=(0.08, 1.0), saturation=0.2, blur=1.0),
        View(crop_scale=(0.08, 1.0), saturation=0.2, blur=0.1, solarize=0.2),
    )
    optimizer: ClassVar[Optimizer] = Optimizer(name="lars", lr=0.2, weight_decay=1.5e-6)
    small: ClassVar[dict[str, Any]] = {
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "base_batch_size": None},
        "method": {"projector": (1024, 1024, 1024), "redundancy_weight": 5e-3},
    }
    search: ClassVar[dict[str, str]] = {
        "redundancy_weight": "log(5e-4,0.05)",
        "projector": "[512,512,512],[1024,1024,1024],[2048,2048,2048]",
    }

    class Settings(MethodSettings):
        """The weight of the redundancy term and the projector."""

        redundancy_weight: Annotated[float, Field(ge=0.0)] = 5e-3
        """Lambda: weight of the squared off-diagonal correlations."""
        projector: tuple[int, ...] = (8192, 8192, 8192)
        """Widths of the projector; the last one is the embedding."""

    def __init__(
        self, settings: Settings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__(settings, backbone, target)
        self.settings = settings
        self.projector = mlp((backbone.features, *settings.projector), last_bias=False)

    def forward(self, batch: Batch) -> Output:
        representations = each_view(self.backbone, batch.views)
        first, second = each_view(self.projector, representations)
        weight = self.settings.redundancy_weight
        return Output(barlow_twins_loss(gather(first), gather(second), weight), representations)
