"""MAE: a small decoder restores the patches of an image from a quarter of them."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from selfsight.data.imageset import TargetSpec
from selfsight.distributed import all_sum, world_size
from selfsight.draws import uniform
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output, Preset
from selfsight.networks.backbones import Backbone
from selfsight.networks.vit import TransformerBlock, heads_for, sines_and_cosines
from selfsight.views.settings import View

MASK_STREAM = 0


def mae_loss(predictions: Tensor, patches: Tensor, masked: Tensor, eps: float = 1e-6) -> Tensor:
    """The mean squared error of the masked patches, each standardised (arXiv:2111.06377, 3).

    Args:
        predictions: ``(B, T, P)`` values of the patches.
        patches: ``(B, T, P)`` pixels of the patches.
        masked: ``(B, T)`` 1 where a patch was hidden, else 0.
        eps: added to the variances.
    """
    variance, mean = torch.var_mean(patches, 2, keepdim=True)
    errors = (predictions - (patches - mean) / (variance + eps).sqrt()).square().mean(2)
    return (errors * masked).sum() / masked.sum()


def patches_of(images: Tensor, side: int) -> Tensor:
    """``(B, C, H, W)`` to ``(B, T, C side side)``, along rows; padded as the network pads."""
    below, right = -images.shape[2] % side, -images.shape[3] % side
    return F.unfold(F.pad(images, (0, right, 0, below)), side, stride=side).transpose(1, 2)


class MAE(Method):
    """MAE: mask most patches of one view and restore their pixels."""

    paper: ClassVar[str] = "arXiv:2111.06377"
    needs: ClassVar[frozenset[str]] = frozenset({"tokens"})
    views: ClassVar[tuple[View, ...]] = (View(crop_scale=(0.2, 1.0), color=0.0, grayscale=0.0),)

    class Settings(MethodSettings):
        """The share of masked patches and the decoder."""

        masked: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.75
        """Share of the patches that are hidden."""
        width: Annotated[int, Field(ge=32, multiple_of=32)] = 512
        """Width of the decoder."""
        depth: Annotated[int, Field(ge=1)] = 8
        """Blocks of the decoder."""

    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset(
            optimizer=Optimizer(lr=1.5e-4, weight_decay=0.05, betas=(0.9, 0.95)),
            method=Settings(),
            epochs={"optimizer.warmup": 40},
        )
    }
    presets["small"] = presets["paper"].updated(
        {"optimizer.lr": 1e-3, "method.width": 96, "method.depth": 2, "epochs": {}}
    )

    @classmethod
    def example(cls) -> MethodSettings:
        return cls.Settings(width=32, depth=1)

    def __init__(
        self, settings: Settings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__(settings, backbone, target)
        self.settings = settings
        side, width = backbone.spec.image_size, settings.width
        rows, _ = backbone.grid(side, side)
        self.register_buffer("positions", sines_and_cosines(rows, width))
        self.embed = nn.Linear(backbone.features, width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        heads = heads_for(width)
        self.blocks = nn.Sequential(
            *(TransformerBlock(width, heads) for _ in range(settings.depth)), nn.LayerNorm(width)
        )
        self.pixels = nn.Linear(width, backbone.spec.channels * backbone.stride**2)

    def forward(self, batch: Batch) -> Output:
        (view,) = batch.views
        patches = patches_of(view, self.backbone.stride)
        count = patches.shape[1]
        seen = max(1, round(count * (1.0 - self.settings.masked)))
        order = uniform(batch.keys, MASK_STREAM, count).argsort(1)
        place = order.argsort(1)
        tokens = self.backbone.tokens(view, order[:, :seen])
        x = self.embed(tokens)
        hidden = self.mask_token.expand(len(x), count - seen, -1).to(x.dtype)
        restored = torch.cat([x[:, 1:], hidden], 1)
        restored = restored.gather(1, place[:, :, None].expand(-1, -1, x.shape[2]))
        x = torch.cat([x[:, :1], restored], 1) + self.positions
        masked = (place >= seen).to(x.dtype)
        loss = mae_loss(self.pixels(self.blocks(x))[:, 1:], patches, masked)
        return Output({"loss": all_sum(loss) / world_size()}, [tokens[:, 0]])
