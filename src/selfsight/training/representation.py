"""How the outputs of a network's stages become the representation, fitted on images, no labels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.data.imageset import ImageSet
from selfsight.data.splits import at_most
from selfsight.data.statistics import Statistics
from selfsight.networks.backbones import Backbone, measuring
from selfsight.networks.pooling import PoolingKind, StagePooling
from selfsight.views.apply import whole_frame

_IMAGES = 10_000  # a mean over more would move by less than a hundredth of a deviation
_PIXELS = 1 << 22  # of a batch


def fit_pooling(
    backbone: Backbone,
    kind: PoolingKind,
    images: ImageSet,
    rows: NDArray[np.int64],
    statistics: Statistics,
    *,
    device: torch.device | str,
) -> None:
    """Gives a backbone the pooling of a kind, standardised over the whole frames of some rows.

    Args:
        backbone: any pooling of its own is replaced; on the device afterwards.
        kind: see `StagePooling`.
        images: where the pixels are.
        rows: of `images`, at most 10,000 of them are read, and no label.
        statistics: that normalise the images.
        device: where the backbone runs.
    """
    rows = at_most(rows, _IMAGES, 0)
    size = max(2, min(256, _PIXELS // (images.height * images.width)))
    pooled, widths = [], [backbone.outputs]
    with measuring(backbone, device):
        for first in range(0, len(rows), size):
            pixels = np.ascontiguousarray(images.pixels[rows[first : first + size]])
            batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device)
            parts = _outputs(backbone, kind, whole_frame(batch, statistics))
            widths = [part.shape[1] for part in parts]
            pooled.append(torch.cat(parts, 1))
    backbone.pooling = StagePooling.fitted(kind, widths, torch.cat(pooled))


def _outputs(backbone: Backbone, kind: PoolingKind, frames: Tensor) -> list[Tensor]:
    return backbone.poolings(frames) if kind == "stages" else [backbone.output(frames)]
