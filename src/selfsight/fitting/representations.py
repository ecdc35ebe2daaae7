"""Representations: the passes of images through a network, and what is measured without one.

They are computed once for all rows that are needed; `selfsight.fitting.representation_cache` keeps
them in the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from selfsight.console import progress
from selfsight.data.pixels.memmap import rows_at_once
from selfsight.data.pixels.values import TOP
from selfsight.draws import keys_of
from selfsight.kernels.memory_pages import freed_pages_kept
from selfsight.networks.backbones import Backbone, measuring
from selfsight.networks.folding import folded

if TYPE_CHECKING:
    from selfsight.data.imageset import ImageSet
    from selfsight.data.statistics import Statistics
    from selfsight.views.settings import View

_PIXELS_AT_MOST = 1024  # numbers an image after downsampling; keeps the covariance small
_COMPONENTS = 256
_CALIBRATED = 2_048  # images that give an untrained network its statistics
_FOLDED = 32  # images from which on folding pays for its two passes
_CACHED_PIXELS = 131_072  # of a batch on a CPU: a third faster than 512 images of 32 px


@dataclass(frozen=True)
class Representations:
    """Representations of some rows of an image set.

    Attributes:
        values: ``(M, F)`` float32, one row for each entry of `rows`; always finite.
        rows: ``(M,)`` int64, rows of the image set, ascending.
        mean: ``(F,)`` mean over the train rows (no label and no test image is read for it).
        scale: 0-d, the root of the mean variance over the train rows. One number for all
            features: a scale for each would give principal components that hold nothing but noise
            the weight of the first (on digits it costs the pixels 25 points at 5 % of the labels).
        damaged: how many rows were not finite and have been set to zero.
    """

    values: Tensor
    rows: NDArray[np.int64]
    mean: Tensor
    scale: Tensor
    damaged: int = 0

    @classmethod
    def of(
        cls, values: Tensor, rows: NDArray[np.int64], train: NDArray[np.int64]
    ) -> Representations:
        finite = torch.isfinite(values).all(1)
        damaged = int((~finite).sum())
        if damaged:
            values = torch.where(finite[:, None], values, torch.zeros_like(values))
        keep = torch.from_numpy(np.isin(rows, train)).to(values.device)
        variance, mean = torch.var_mean(values[keep & finite].double(), dim=0, correction=0)
        scale = variance.mean().sqrt()
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return cls(values, rows, mean.float(), scale.float(), damaged)

    def at(self, rows: NDArray[np.int64]) -> Tensor:
        """``(len(rows), F)``, as the backbone gave them."""
        return self.values[torch.from_numpy(np.searchsorted(self.rows, rows))]

    def standardised(self, rows: NDArray[np.int64]) -> Tensor:
        """``(len(rows), F)``, zero mean and a mean variance of 1 over the train rows."""
        return (self.at(rows) - self.mean) / self.scale


def represent(
    backbone: Backbone,
    images: ImageSet,
    rows: NDArray[np.int64],
    statistics: Statistics,
    *,
    device: torch.device | str,
    batch_size: int | None = None,
    size: int | tuple[int, int] | None = None,
) -> Tensor:
    """The representation of each row's whole frame.

    In evaluation mode and float32 whatever the training used, so that the same weights give the
    same numbers everywhere.

    Args:
        backbone: ``(B, C, H, W) -> (B, F)``; its mode and precision are put back afterwards.
        images: where the pixels are.
        rows: ``(M,)`` rows of `images`.
        statistics: mean and standard deviation the backbone was trained with.
        device: where the backbone runs.
        batch_size: images at once; None: 512 on a GPU, on a CPU as many as stay in its cache.
        size: side the frames are resized to; None keeps them.

    Returns:
        ``(M, F)`` float32 on the CPU.
    """
    from selfsight.views.apply import whole_frame

    parts = []
    with freed_pages_kept(), measuring(backbone, device):
        network = None
        for batch, _ in _batches(images, rows, device, batch_size):
            frames = whole_frame(batch, statistics, size)
            if network is None:
                network = folded(backbone, frames[:1]) if len(rows) >= _FOLDED else backbone
            parts.append(network(frames).float().cpu())
    return torch.cat(parts)


def calibrate(
    backbone: Backbone,
    images: ImageSet,
    rows: NDArray[np.int64],
    statistics: Statistics,
    *,
    device: torch.device | str,
) -> None:
    """Sets the statistics of batch normalisation to those of train images; nothing is trained.

    An untrained network's are mean 0 and variance 1, which are nobody's: its representations are
    then worse than random features need be, and a control that is too weak flatters. A network
    without batch normalisation stays as it is.

    Args:
        backbone: is changed.
        images, statistics, device: see `represent`.
        rows: train rows; 2,048 of them at most are read, spread evenly.
    """
    from selfsight.views.apply import whole_frame

    norms = [each for each in backbone.modules() if isinstance(each, _BatchNorm)]
    if not norms or not len(rows):
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    chosen = rows[
        np.unique(np.linspace(0, len(rows) - 1, min(_CALIBRATED, len(rows))).astype(np.int64))
    ]
    batches = max(1, round(len(chosen) / 256))
    size = -(-len(chosen) // batches)
    with freed_pages_kept(), measuring(backbone, device):
        for norm in norms:
            norm.train()
        for batch, _ in _batches(images, chosen, device, size):
            if len(batch) > 1:
                backbone(whole_frame(batch, statistics, None))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def represent_views(
    backbone: Backbone,
    images: ImageSet,
    rows: NDArray[np.int64],
    views: Sequence[View],
    statistics: Statistics,
    *,
    device: torch.device | str,
) -> tuple[Tensor, ...]:
    """The representations of augmented views of each row, for measures such as the alignment.

    Args:
        backbone: as in `represent`.
        images: where the pixels are.
        rows: ``(M,)`` rows of `images`.
        views: how each view is made.
        statistics: mean and standard deviation the backbone was trained with.
        device: where the backbone runs.

    Returns:
        ``(M, F)`` float32 on the CPU for each view.
    """
    from selfsight.views.apply import make_views

    parts: list[list[Tensor]] = [[] for _ in views]
    with freed_pages_kept(), measuring(backbone, device):
        for batch, places in _batches(images, rows, device, None):
            keys = keys_of(0, 0, places).to(device)
            for part, view in zip(parts, make_views(batch, keys, views, statistics), strict=True):
                part.append(backbone(view).float().cpu())
    return tuple(torch.cat(part) for part in parts)


def images_at_once(pixels: int, device: torch.device | str) -> int:
    """How many images of so many pixels go through a network together.

    512 on a GPU; on a CPU as many as stay in its cache.
    """
    on_cpu = torch.device(device).type == "cpu"
    return min(max(_CACHED_PIXELS // pixels, 8), 512) if on_cpu else 512


def _batches(
    images: ImageSet,
    rows: NDArray[np.int64],
    device: torch.device | str,
    batch_size: int | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """``(B, C, H, W)`` pixels in the set's own dtype, and ``(B,)`` places in `rows`."""
    if batch_size is None:
        batch_size = images_at_once(images.height * images.width, device)
    with progress("representations of images", len(rows)) as step:
        for first in range(0, len(rows), batch_size):
            part = np.ascontiguousarray(images.pixels[rows[first : first + batch_size]])
            places = torch.arange(first, first + len(part))
            yield torch.from_numpy(part).permute(0, 3, 1, 2).to(device), places
            step.update(len(part))


def raw_pixels(
    images: ImageSet,
    rows: NDArray[np.int64],
    train: NDArray[np.int64],
    *,
    components: int = _COMPONENTS,
) -> Tensor:
    """The control without a network: principal components of the pixels.

    Frames above about a thousand numbers are averaged down first. The components are fitted on
    the train rows alone, without their labels.

    Returns:
        ``(M, F)`` float32 on the CPU, ``F <= components``.
    """
    size = rows_at_once(images.pixels)
    flat = torch.cat(
        [_flat(images.pixels[rows[first : first + size]]) for first in range(0, len(rows), size)]
    )
    fitted = flat[torch.from_numpy(np.isin(rows, train))]
    fitted = fitted[torch.isfinite(fitted).all(1)]
    mean = fitted.mean(0, dtype=torch.float64).float()
    centred = fitted - mean
    covariance = (centred.T @ centred).double() / max(len(fitted), 1)
    axes = torch.linalg.eigh(covariance).eigenvectors.flip(1)
    keep = min(components, len(fitted) - 1, flat.shape[1])
    components_of: Tensor = (flat - mean) @ axes[:, : max(keep, 1)].float()
    return components_of


def _flat(pixels: NDArray[np.generic]) -> Tensor:
    """``(B, H, W, C)`` of any dtype to ``(B, h * w * C)`` on the unit scale."""
    top = np.float32(TOP[str(pixels.dtype)])
    batch = torch.from_numpy(pixels.astype(np.float32) / top).permute(0, 3, 1, 2)
    channels, height, width = batch.shape[1:]
    shrink = (_PIXELS_AT_MOST / (channels * height * width)) ** 0.5
    if shrink < 1.0:
        sides = max(int(height * shrink), 1), max(int(width * shrink), 1)
        batch = F.adaptive_avg_pool2d(batch, sides)
    return batch.flatten(1)
