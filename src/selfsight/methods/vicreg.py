"""VICReg: invariance, with variance and covariance kept by explicit terms."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable

from selfsight.data.imageset import TargetSpec
from selfsight.distributed import gather
from selfsight.kernels.gram import smaller_gram, summed_squares, times_transposed
from selfsight.kernels.precision import full_precision
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output
from selfsight.networks.backbones import Backbone, each_view
from selfsight.networks.heads import mlp
from selfsight.views.settings import View


@full_precision
def vicreg_loss(
    first: Tensor,
    second: Tensor,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    eps: float = 1e-4,
) -> dict[str, Tensor]:
    """VICReg (arXiv:2105.04906, eq. 1-6), with the constants of the authors' code.

    ``lambda s + mu v + nu c``: s the mean squared difference (over N and D; eq. 5 divides by N
    alone), v the mean over D of ``max(0, 1 - sqrt(Var + eps))`` averaged over the two views (eq. 6
    adds them), c the sum over the views of the squared off-diagonal covariances over D (eq. 3, 4).

    Args:
        first: ``(N, D)`` embeddings of one view.
        second: ``(N, D)`` embeddings of the other view of the same images.
        invariance_weight: lambda.
        variance_weight: mu.
        covariance_weight: nu.
        eps: added to the variances.

    Returns:
        ``loss`` and its terms ``invariance``, ``variance`` and ``covariance``, 0-d tensors.
    """
    terms: tuple[Tensor, Tensor, Tensor] = _Terms.apply(  # type: ignore[no-untyped-call]
        first, second, eps
    )
    invariance, spread, covariance = terms
    loss = (
        invariance_weight * invariance + variance_weight * spread + covariance_weight * covariance
    )
    return {"loss": loss, "invariance": invariance, "variance": spread, "covariance": covariance}


class _Terms(torch.autograd.Function):
    """The three terms; of what is made, one Gram matrix a view is kept for backward.

    With ``c`` the centred view and ``G = cc'`` (or ``c'c``, the smaller), the gradient of the
    covariance term is ``Gc`` and a factor for each column of ``c``, that of the variance term a
    factor for each column. Their columns sum to zero as those of ``c`` do: the mean adds nothing.
    """

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        n, d = first.shape
        invariance = summed_squares(first - second) / (n * d)
        spread = covariance = invariance.new_zeros(())
        kept = []
        for z in (first, second):
            mean = z.mean(0)
            centred = z - mean
            small = smaller_gram(centred)
            variance = centred.square().sum(0) / (n - 1)
            deviation = torch.sqrt(variance + eps)
            spread = spread + torch.relu(1.0 - deviation).mean() / 2
            total = summed_squares(small) / (n - 1) ** 2
            covariance = covariance + (total - variance.double().square().sum()) / d
            kept += [mean, small, variance, deviation]
        ctx.save_for_backward(first, second, *kept)
        return invariance.to(first.dtype), spread.to(first.dtype), covariance.to(first.dtype)

    @staticmethod
    @once_differentiable
    @full_precision
    def backward(
        ctx: Any, invariance: Tensor, spread: Tensor, covariance: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        first, second, *kept = ctx.saved_tensors
        n, d = first.shape
        apart = invariance * (2.0 / (n * d))
        along = covariance * (4.0 / ((n - 1) ** 2 * d))
        out = []
        for z, other, (mean, small, variance, deviation) in (
            (first, second, kept[:4]),
            (second, first, kept[4:]),
        ):
            below = (deviation < 1.0) / deviation
            factors = covariance * variance * (4.0 / ((n - 1) * d))
            factors = factors + spread * below * (0.5 / ((n - 1) * d))
            # Of c = z - mean only products with z are made in full: Gc = Gz, and the rest of the
            # mean is one row.
            if n < d:
                made, row = times_transposed(small, z.T).mul_(along), mean * factors
            else:
                made = times_transposed(z, small).mul_(along)
                row = mean * factors - (mean @ small) * along
            made.addcmul_(z, apart - factors).addcmul_(other, -apart).add_(row)
            out.append(made)
        return out[0], out[1], None


class VICReg(Method):
    """VICReg: views agree, each feature varies, features do not covary."""

    paper: ClassVar[str] = "arXiv:2105.04906"
    views: ClassVar[tuple[View, ...]] = (
        View(crop_scale=(0.08, 1.0), saturation=0.2, blur=0.5, solarize=0.1),
    ) * 2
    optimizer: ClassVar[Optimizer] = Optimizer(name="lars", lr=0.2, weight_decay=1e-6)
    small: ClassVar[dict[str, Any]] = {
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "base_batch_size": None},
        "method": {"projector": (1024, 1024, 1024)},
    }
    search: ClassVar[dict[str, str]] = {
        "invariance_weight": "log(5.0,50.0)",
        "covariance_weight": "log(0.2,10.0)",
        "projector": "[512,512,512],[1024,1024,1024],[2048,2048,2048]",
    }

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

    def __init__(
        self, settings: Settings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__(settings, backbone, target)
        self.settings = settings
        self.projector = mlp((backbone.features, *settings.projector))

    def forward(self, batch: Batch) -> Output:
        representations = each_view(self.backbone, batch.views)
        first, second = each_view(self.projector, representations)
        losses = vicreg_loss(
            gather(first),
            gather(second),
            self.settings.invariance_weight,
            self.settings.variance_weight,
            self.settings.covariance_weight,
        )
        return Output(losses, representations)
