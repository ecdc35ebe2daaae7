"""What fine-tuning takes: its settings, and images with the labels that may be read."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from selfsight.data.imageset import ImageSet, Target
from selfsight.data.statistics import Statistics
from selfsight.settings import Settings
from selfsight.views.presets import resolve
from selfsight.views.settings import View

Rate = Annotated[float, Field(gt=0.0)]


class FineTuning(Settings):
    """How the weights of backbone and head are trained on labels."""

    backbone_lrs: Annotated[tuple[Rate, ...], Field(min_length=1)] = (1e-4, 1e-3, 4e-3)
    """Learning rates of the backbone that are tried (AdamW, warm-up and cosine)."""
    head_lrs: Annotated[tuple[Rate, ...], Field(min_length=1)] = (1e-3, 1e-2)
    """Learning rates of the head that are tried, each with each of the backbone's."""
    epochs: Annotated[int, Field(ge=1)] = 30
    """Passes over the labelled subset, at most ..."""
    min_steps: Annotated[int, Field(ge=1)] = 500
    """... but with few images so many steps."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Images of a step; the whole subset where it is smaller."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.05
    """Weight decay; never on biases and normalisation."""

    def steps(self, images: int) -> int:
        """The longest training on so many images."""
        batch = min(self.batch_size, images)
        return max(self.epochs * math.ceil(images / batch), self.min_steps)

    @property
    def rates(self) -> list[tuple[float, float]]:
        """Pairs of backbone and head that are tried."""
        return list(itertools.product(self.backbone_lrs, self.head_lrs))


@dataclass(frozen=True)
class Labelled:
    """Images with the labels that may be read.

    Attributes:
        images: all images.
        target: of all images.
        rows: ``(n,)`` labelled rows, in order.
        statistics: of the channels, those of the backbone.
        device: where the training runs.
        seed: of order, views and folds.
    """

    images: ImageSet
    target: Target
    rows: NDArray[np.int64]
    statistics: Statistics
    device: torch.device
    seed: int

    def batch(self, rows: NDArray[np.int64]) -> Tensor:
        """``(B, C, H, W)`` raw."""
        part = np.ascontiguousarray(self.images.pixels[rows])
        return torch.from_numpy(part).permute(0, 3, 1, 2).to(self.device, non_blocking=True)

    def views(self) -> tuple[View, ...]:
        """One mild view; the whole frame where a crop would change what the label says."""
        side = float(max(self.images.height, self.images.width))
        if self.target.kind != "class":
            flip = 0.5 if self.images.mirrored else 0.0
            return (View(size=side, crop_scale=None, flip=flip, color=0.0, grayscale=0.0),)
        mild = View(crop_scale=(0.4, 1.0), color=0.0, grayscale=0.0)
        return resolve((mild,), self.images)[0]
