"""Colour operations on a batch, with parameters of each image.

Images are float32 ``(B, C, H, W)``; factors are ``(B,)``, on the same device. The formulas are
those of torchvision's float tensors, without a branch: brightness, contrast and saturation are
``clamp(f x + (1 - f) m)`` with m black, the mean grey of the image, or the grey of the pixel. The
names that end in ``_`` write into their images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from selfsight.views.buffers import New, fresh

GRAY = (0.2989, 0.587, 0.114)
"""Shares of red, green and blue in the grey of a pixel (ITU-R BT.601, as in torchvision)."""

_SHARES = torch.tensor(GRAY)
_CORNERS = torch.tensor([0.0, -2.0, 2.0])[:, None, None]


def adjust_brightness(images: Tensor, factor: Tensor, *, clamp: bool = True) -> Tensor:
    """``clamp(f x)`` to [0, 1]; factor 1 changes nothing. Any number of channels.

    Args:
        images: ``(B, C, H, W)``.
        factor: ``(B,)``, at least 0.
        clamp: False for images whose values have no range.
    """
    return brightness_(images.clone(), wide(1 - factor), clamp)


def adjust_contrast(images: Tensor, factor: Tensor, *, clamp: bool = True) -> Tensor:
    """``clamp(f x + (1 - f) m)``, m the mean grey of the image; any number of channels."""
    return contrast_(images.clone(), wide(1 - factor), clamp)


def adjust_saturation(images: Tensor, factor: Tensor, *, clamp: bool = True) -> Tensor:
    """``clamp(f x + (1 - f) m)``, m the grey of the pixel; RGB only, others are unchanged."""
    return saturation_(images.clone(), wide(1 - factor), clamp) if images.shape[1] == 3 else images


def adjust_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turns the hue by a share of the circle in [-0.5, 0.5]; RGB only, others are unchanged."""
    return hue_(images.clone(), turn) if images.shape[1] == 3 else images


def to_grayscale(images: Tensor) -> Tensor:
    """Each RGB pixel replaced by its grey, in three channels; others are unchanged."""
    return gray(images).expand_as(images) if images.shape[1] == 3 else images


def solarize(images: Tensor, threshold: float = 0.5) -> Tensor:
    """``1 - x`` where x is at or above the threshold."""
    return torch.where(images >= threshold, 1 - images, images)


def gray(images: Tensor, new: New = fresh) -> Tensor:
    """The grey of each pixel ``(B, 1, H, W)``: weighted for RGB, the mean of other channels."""
    count, channels, height, width = images.shape
    if channels == 1:
        return images
    if channels != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images.unbind(1)
    shade = torch.mul(red, GRAY[0], out=new(count, height, width))
    return shade.add_(green, alpha=GRAY[1]).add_(blue, alpha=GRAY[2])[:, None]


def mean_gray(images: Tensor) -> Tensor:
    """The mean grey of each image ``(B,)``."""
    means = images.mean((2, 3))
    return means @ _on(_SHARES, images) if images.shape[1] == 3 else means.mean(1)


def brightness_(images: Tensor, black: Tensor, clamp: bool = True, new: New = fresh) -> Tensor:
    """`adjust_brightness`, written into the images; ``black`` is 1 - f, ``(B, 1, 1, 1)``."""
    return _clamped(images.mul_(1 - black), clamp)


def contrast_(images: Tensor, blend: Tensor, clamp: bool = True, new: New = fresh) -> Tensor:
    """`adjust_contrast`, written into the images; ``blend`` is 1 - f, ``(B, 1, 1, 1)``."""
    level = mean_gray(images).view(-1, 1, 1, 1) * blend
    return _clamped(images.mul_(1 - blend).add_(level), clamp)


def saturation_(images: Tensor, blend: Tensor, clamp: bool = True, new: New = fresh) -> Tensor:
    """`adjust_saturation` of RGB, written into the images; ``blend`` is 1 - f, ``(B, 1, 1, 1)``."""
    return _clamped(images.lerp_(gray(images, new), blend), clamp)


def hue_(images: Tensor, turn: Tensor, *, far: bool = True, new: New = fresh) -> Tensor:
    """`adjust_hue` of RGB images, written into them: HSV without a branch or a comparison.

    With minimum m and chroma c = max - m, a pixel lies on a hexagon of side c at a signed distance
    ``q = (c - m - r + g + b) sign(g - b)`` from red. Turning the hue moves q by ``6 c turn``; each
    channel is then ``m + c clamp(2 - d, 0, 1)``, d the distance on the hexagon, in units of c, from
    that channel's corner (0, 2 and -2). Comparisons would be ten times slower on a CPU.

    Args:
        images: ``(B, 3, H, W)``.
        turn: ``(B,)`` share of the circle.
        far: False if no turn is beyond a third either way: distances then need one fold less.
        new: where intermediate results are written.
    """
    count, _, height, width = images.shape
    plane = (count, height, width)
    red, green, blue = images.unbind(1)
    low = torch.minimum(torch.minimum(red, green, out=new(*plane)), blue, out=new(*plane))
    high = torch.maximum(torch.maximum(red, green, out=new(*plane)), blue, out=new(*plane))
    chroma = high.sub_(low)
    along = torch.add(green, blue, out=new(*plane)).sub_(red).sub_(low).add_(chroma)
    along = torch.copysign(along, torch.sub(green, blue, out=new(*plane)))
    along.div_(chroma.clamp_min(1e-12)).add_((6 * turn)[:, None, None])
    away = torch.add(along[:, None], _on(_CORNERS, images), out=new(count, 3, height, width))
    # ||t| - 3| is 3 minus the distance, for |t| up to 6; nothing is lost by the clamp up to 7.
    away.abs_().sub_(3.0).abs_()
    if far:
        away.sub_(3.0).abs_().neg_().add_(3.0)
    away.clamp_(1.0, 2.0).mul_(chroma[:, None])
    return torch.add(away, low.sub_(chroma)[:, None], out=images)


def constant(values: Sequence[float], like: Tensor) -> Tensor:
    """A few float32 numbers on the device of ``like``, without waiting for it."""
    return _on(torch.tensor(values, dtype=torch.float32), like)


def _on(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.device, non_blocking=True)


def wide(values: Tensor) -> Tensor:
    """``(B,)`` as ``(B, 1, 1, 1)``, to go with images."""
    return values.reshape(-1, 1, 1, 1)


def _clamped(images: Tensor, clamp: bool) -> Tensor:
    return images.clamp_(0.0, 1.0) if clamp else images
