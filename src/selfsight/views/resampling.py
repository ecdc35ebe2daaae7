"""Resampling a batch: crop, resize and flip in one step, affine maps, Gaussian blur.

Images are float32 ``(B, C, H, W)``; every image has its own parameters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resized_crop(
    images: Tensor, boxes: Tensor, flips: Tensor, size: int, *, scale: float = 1.0
) -> Tensor:
    """Crop, antialiased bilinear resize and flip of each image: two small matrix products.

    Equal to cutting the box out and resizing it with
    ``interpolate(mode="bilinear", antialias=True, align_corners=False)``, then flipping.

    Args:
        images: ``(B, C, H, W)`` float32.
        boxes: ``(B, 4)`` top, left, height, width in pixels; whole or fractional.
        flips: ``(B, 2)`` bool: left-right, top-bottom.
        size: side of the square result.
        scale: the result is multiplied by this (1/255 for bytes), at no cost.

    Returns:
        ``(B, C, size, size)`` float32, contiguous.
    """
    height, width = images.shape[2:]
    rows = resize_weights(boxes[:, 0], boxes[:, 2], flips[:, 1], height, size)
    columns = resize_weights(boxes[:, 1], boxes[:, 3], flips[:, 0], width, size, scale)
    return torch.matmul(torch.matmul(rows[:, None], images), columns[:, None].mT)


def resize_weights(
    start: Tensor, length: Tensor, flipped: Tensor, pixels: int, size: int, scale: float = 1.0
) -> Tensor:
    """Rows of antialiased bilinear weights ``(B, size, pixels)``, each of sum ``scale``.

    The weight of pixel k in output i is a triangle around the centre of i, as wide as the step
    where the crop shrinks, cut at the edges of the crop and normalised (as Pillow and ATen do).

    Args:
        start: ``(B,)`` first pixel of the crop, along one axis.
        length: ``(B,)`` pixels of the crop.
        flipped: ``(B,)`` bool, whether the outputs run backwards.
        pixels: of the image along this axis.
        size: outputs.
        scale: sum of each row.
    """
    step = length / size
    support = step.clamp(min=1.0)[:, None]
    place = torch.arange(size, device=start.device, dtype=torch.float32) + 0.5
    place = torch.where(flipped[:, None], size - place, place)
    centre = (start[:, None] + place * step[:, None]) / support
    pixel = torch.arange(pixels, device=start.device, dtype=torch.float32)[None]
    end = (start + length)[:, None]
    inside = (pixel + 1 > start[:, None]) & (pixel < end)
    at = torch.where(inside, (pixel + 0.5) / support, torch.inf)
    weights = torch.sub(at[:, None], centre[:, :, None]).abs_().neg_().add_(1.0).relu_()
    return weights.mul_(scale / weights.sum(2, keepdim=True))


def affine(images: Tensor, angle: Tensor, shear: Tensor, *, padding: str = "zeros") -> Tensor:
    """Rotation about the centre (clockwise) and horizontal shear, bilinear.

    Args:
        images: ``(B, C, H, W)`` float32.
        angle: ``(B,)`` degrees.
        shear: ``(B,)`` degrees, of the x axis.
        padding: what lies outside: ``zeros``, ``border`` or ``reflection``.
    """
    height, width = images.shape[2:]
    turn, slant = torch.deg2rad(angle), torch.tan(torch.deg2rad(shear))
    cos, sin = torch.cos(turn), torch.sin(turn)
    # The inverse map, output to input: of the rotation times the shear; its determinant is 1.
    ratio = height / width
    across = torch.stack([cos - sin * slant, (cos * slant + sin) * ratio, 0 * cos], 1)
    down = torch.stack([-sin / ratio, cos, 0 * cos], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, "bilinear", padding, align_corners=False)


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Gaussian blur with reflected edges, one sigma for each image.

    The kernel is torchvision's: ``exp(-x^2 / (2 sigma^2))`` at whole pixels, normalised. Both axes
    are a product with a banded ``(side, side)`` matrix of the image.

    Args:
        images: ``(B, C, H, W)`` float32.
        sigma: ``(B,)`` standard deviation, pixels.
        kernel_size: odd; its half must be smaller than the sides (reflection).
    """
    height, width = images.shape[2:]
    kernel = gaussian_kernel(sigma, kernel_size)
    rows = blur_weights(kernel, height)
    columns = rows if width == height else blur_weights(kernel, width)
    return torch.matmul(torch.matmul(rows[:, None], images), columns[:, None].mT)


def gaussian_kernel(sigma: Tensor, kernel_size: int) -> Tensor:
    """``(B, kernel_size)`` weights of sum 1."""
    half = kernel_size // 2
    offset = torch.arange(-half, half + 1, device=sigma.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offset / sigma[:, None]) ** 2)
    return kernel / kernel.sum(1, keepdim=True)


def blur_weights(kernel: Tensor, pixels: int) -> Tensor:
    """``(B, pixels, pixels)``: the kernel along each row, its ends reflected at the edges."""
    half = kernel.shape[1] // 2
    padded = F.pad(kernel, (0, 1))
    place = torch.arange(pixels, device=kernel.device)
    weights = kernel.new_zeros(len(kernel), pixels, pixels)
    # Pixel k is met directly, mirrored at the first pixel, and mirrored at the last one.
    last = pixels - 1
    mirrored = torch.where(place > 0, -place, 2 * pixels)
    beyond = torch.where(place < last, 2 * last - place, 3 * pixels)
    for pixel in (place, mirrored, beyond):
        tap = pixel[None, :] - place[:, None] + half
        tap = torch.where((tap >= 0) & (tap <= 2 * half), tap, 2 * half + 1)
        weights += padded[:, tap]
    return weights
