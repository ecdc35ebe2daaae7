"""SimCLR: views of one image attract, all other images of the batch repel."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from selfsight.data.imageset import TargetSpec
from selfsight.distributed import gather
from selfsight.kernels.nt_xent import BoundedNTXent, SpreadNTXent
from selfsight.kernels.precision import full_precision
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output
from selfsight.networks.backbones import Backbone, each_view
from selfsight.networks.heads import mlp
from selfsight.views.settings import View


@full_precision
def nt_xent_loss(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent (arXiv:2002.05709, eq. 1), averaged over both directions of all pairs.

    ``l(i, j) = -log exp(s_ij / t) / sum_{k != i} exp(s_ik / t)`` with cosines ``s`` over the 2N
    embeddings of the batch. The log-sum-exp is streamed over tiles (`selfsight.kernels.nt_xent`):
    memory grows with N, not with its square.

    Args:
        first: ``(N, D)`` embeddings of one view.
        second: ``(N, D)`` embeddings of the other view of the same images.
        temperature: t.

    Returns:
        The loss, a 0-d tensor.

    Raises:
        ValueError: no pair at all.
    """
    if not len(first):
        raise ValueError("nt_xent_loss needs at least one pair of embeddings; there is none.")
    # Cosines are bounded, so exp(s / t) needs no shift down to 0.05: it is at most 5e8.
    loss: Tensor
    if temperature >= 0.05:
        gradient = torch.is_grad_enabled() and (first.requires_grad or second.requires_grad)
        loss = BoundedNTXent.apply(  # type: ignore[no-untyped-call]
            first, second, temperature, gradient
        )
    else:
        loss = SpreadNTXent.apply(first, second, temperature)  # type: ignore[no-untyped-call]
    return loss


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
    optimizer: ClassVar[Optimizer] = Optimizer(name="lars", lr=0.3, weight_decay=1e-6)
    small: ClassVar[dict[str, Any]] = {
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "base_batch_size": None},
        "method": {"temperature": 0.2, "projector": (512, 128)},
    }
    # Of a few pixels many images are alike: a softer contrast costs them less.
    tiny: ClassVar[dict[str, Any]] = {"method": {"temperature": 0.5}}
    search: ClassVar[dict[str, str]] = {
        "temperature": "log(0.05,0.5)",
        "projector": "[256,64],[512,128],[1024,128],[2048,128]",
    }

    class Settings(MethodSettings):
        """NT-Xent and its projector."""

        temperature: Annotated[float, Field(gt=0.0)] = 0.1
        """Temperature t of the softmax over cosines."""
        projector: tuple[int, ...] = (2048, 128)
        """Widths of the projector; the last one is the embedding."""

    def __init__(
        self, settings: Settings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__(settings, backbone, target)
        self.settings = settings
        self.projector = mlp((backbone.features, *settings.projector), last_norm=True)

    def forward(self, batch: Batch) -> Output:
        representations = each_view(self.backbone, batch.views)
        first, second = each_view(self.projector, representations)
        loss = nt_xent_loss(gather(first), gather(second), self.settings.temperature)
        return Output({"loss": loss}, representations)
