"""Colour operations on a batch, with parameters of each image.

Images are float32 ``(B, C, H, W)``; factors are ``(B,)``, on the same device. The formulas are
those of torchvision's float tensors, without a branch: brightness, contrast and saturation are
``clamp(f x + (1 - f) m)`` with m black, the mean grey of the image, or the grey of the pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor

GRAY = (0.2989, 0.587, 0.114)
"""Shares of red, green and blue in the grey of a pixel (ITU-R BT.601, as in torchvision)."""


def gray(images: Tensor) -> Tensor:
    """The grey of each pixel ``(B, 1, H, W)``: weighted for RGB, the mean of other channels."""
    if images.shape[1] == 1:
        return images
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return (red * GRAY[0]).add_(green, alpha=GRAY[1]).add_(blue, alpha=GRAY[2])


def mean_gray(images: Tensor) -> Tensor:
    """The mean grey of each image ``(B,)``."""
    means = images.mean((2, 3))
    if images.shape[1] != 3:
        return means.mean(1)
    return means[:, 0] * GRAY[0] + means[:, 1] * GRAY[1] + means[:, 2] * GRAY[2]


def adjust_brightness(images: Tensor, factor: Tensor, *, clamp: bool = True) -> Tensor:
    """``clamp(f x)``; factor 1 changes nothing. ``clamp=False`` for images without a range."""
    return _clamped(images * _wide(factor), clamp)


def adjust_contrast(images: Tensor, factor: Tensor, *, clamp: bool = True) -> Tensor:
    """``clamp(f x + (1 - f) m)``, m the mean grey of the image; any number of channels."""
    blended = images * _wide(factor)
    return _clamped(blended.add_(_wide((1 - factor) * mean_gray(images))), clamp)


def adjust_saturation(images: Tensor, factor: Tensor, *, clamp: bool = True) -> Tensor:
    """``clamp(f x + (1 - f) m)``, m the grey of the pixel; RGB only, others are unchanged."""
    if images.shape[1] != 3:
        return images
    blended = images * _wide(factor)
    return _clamped(blended.add_(gray(images).mul_(_wide(1 - factor))), clamp)


def adjust_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turns the hue by a share of the circle in [-0.5, 0.5]; RGB only, others are unchanged.

    HSV without its branches and without a division: with value v, minimum m and chroma c = v - m,
    the position p of a pixel on the hexagon of its chroma (perimeter 6 c) moves by ``6 c turn``.
    Each channel is then m plus a trapezium of p, at a third of the perimeter from the next.
    """
    if images.shape[1] != 3:
        return images
    red, green, blue = images.unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    chroma = high - low
    position = torch.where(
        high == red,
        green - blue,
        torch.where(high == green, blue - red + 2 * chroma, red - green + 4 * chroma),
    )
    position += chroma * (6 * turn)[:, None, None]
    around, out = 6 * chroma, torch.empty_like(images)
    for channel, (start, sign) in enumerate(((3, 1), (2, -1), (4, -1))):
        away = (position - start * chroma).abs_()
        away = torch.minimum(away, (around - away).abs_())
        level = away - chroma if sign > 0 else 2 * chroma - away
        torch.add(low, torch.minimum(level.clamp_(min=0), chroma), out=out[:, channel])
    return out


def to_grayscale(images: Tensor) -> Tensor:
    """Each RGB pixel replaced by its grey, in three channels; others are unchanged."""
    if images.shape[1] != 3:
        return images
    return gray(images).expand_as(images)


def solarize(images: Tensor, threshold: float = 0.5) -> Tensor:
    """``1 - x`` where x is at or above the threshold."""
    return torch.where(images >= threshold, 1 - images, images)


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _clamped(images: Tensor, clamp: bool) -> Tensor:
    return images.clamp_(0.0, 1.0) if clamp else images
