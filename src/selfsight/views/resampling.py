"""Resampling a batch: crop, resize and flip in one step, affine maps, Gaussian blur.

Images are float32 ``(B, C, H, W)``; every image has its own parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.views.scratch import New, fresh

NEGLIGIBLE = 1e-8
"""Weight below which a tap of the blur is left out on a CPU: below float32's resolution."""


def resized_crop(
    images: Tensor,
    boxes: Tensor,
    flips: Tensor,
    size: int,
    *,
    scale: float = 1.0,
    new: New = fresh,
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
        new: where intermediate results and the result are written.

    Returns:
        ``(B, C, size, size)`` float32, contiguous.
    """
    count, channels, height, width = images.shape
    rows, columns = _triangles(boxes, flips.flip(1), (height, width), size, new)
    columns.mul_(scale / columns.sum(2, keepdim=True))
    across = torch.bmm(
        images.reshape(count, channels * height, width),
        columns.mT,
        out=new(count, channels * height, size),
    )
    share = 1 / rows.sum(2, keepdim=True)
    each = rows[:, None].expand(-1, channels, -1, -1)
    each = torch.mul(each, share[:, None], out=new(count, channels, size, height))
    down = torch.bmm(
        each.view(count * channels, size, height),
        across.view(count * channels, height, size),
        out=new(count * channels, size, size),
    )
    return down.view(count, channels, size, size)


def _triangles(
    boxes: Tensor, flips: Tensor, sides: tuple[int, int], size: int, new: New
) -> list[Tensor]:
    """Antialiased bilinear weights of both axes, ``(B, size, side)``, not yet normalised.

    The weight of pixel k in output i is a triangle around the centre of i, as wide as the step
    where the crop shrinks, cut at the edges of the crop and later normalised (as Pillow and ATen
    do). They are given with a minus sign, which their quotient by their sum has not.
    """
    start, length = boxes[:, :2, None], boxes[:, 2:, None]
    step = length / size
    support = step.clamp_min(1.0)
    place = torch.arange(size, device=boxes.device, dtype=torch.float32) + 0.5
    place = torch.where(flips[:, :, None], size - place, place)
    centre = (start + place * step) / support
    weights = []
    for axis, side in enumerate(sides):
        pixel = torch.arange(side, device=boxes.device, dtype=torch.float32)
        first, last = start[:, axis], start[:, axis] + length[:, axis]
        inside = (pixel + 1 > first) & (pixel < last)
        at = torch.where(inside, (pixel + 0.5) / support[:, axis], torch.inf)
        triangle = torch.sub(
            at[:, None, :], centre[:, axis, :, None], out=new(len(boxes), size, side)
        )
        weights.append(triangle.abs_().sub_(1.0).clamp_max_(0.0))
    return weights


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


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int, *, new: New = fresh) -> Tensor:
    """Gaussian blur with reflected edges, one sigma for each image.

    The kernel is torchvision's: ``exp(-x^2 / (2 sigma^2))`` at whole pixels, normalised. On a CPU
    the image is shifted and added; elsewhere each axis is a product with a banded matrix.

    Args:
        images: ``(B, C, H, W)`` float32.
        sigma: ``(B,)`` standard deviation, pixels.
        kernel_size: odd; its half must be smaller than the sides (reflection).
        new: where intermediate results and the result are written.
    """
    kernel = gaussian_kernel(sigma, kernel_size)
    if images.device.type == "cpu" and not torch.compiler.is_compiling():
        return _blurred_by_shifts(images, kernel, new)
    height, width = images.shape[2:]
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


def _blurred_by_shifts(images: Tensor, kernel: Tensor, new: New) -> Tensor:
    """A sum of shifted images along each axis; taps that no image uses are left out.

    The columns are padded first and the rows are kept in one piece, so that a shift by a column is
    a shift in memory: what runs over the end of a row lands in its padding.
    """
    count, channels, height, width = images.shape
    middle = kernel.shape[1] // 2
    used = int((kernel[:, middle:] > NEGLIGIBLE).any(0).sum()) - 1
    if used < 1:
        return images
    taps = kernel[:, middle : middle + used + 1, None, None].unbind(1)
    padded = F.pad(images, (used, used, used, used), mode="reflect")
    across = width + 2 * used
    down = _symmetric_sum(padded.flatten(2), taps, across, height * across, new)
    blurred = _symmetric_sum(down, taps, 1, height * across - 2 * used, new)
    # The last row has no padding on its right: the view stays inside what was computed.
    return blurred.as_strided((count, channels, height, width), (*blurred.stride()[:2], across, 1))


def _symmetric_sum(
    lines: Tensor, taps: Sequence[Tensor], stride: int, length: int, new: New
) -> Tensor:
    """``sum_k taps[k] (lines[middle + k stride] + lines[middle - k stride])``, taps[0] once."""
    shape = (*lines.shape[:2], length)
    middle = (len(taps) - 1) * stride
    total = torch.mul(lines[..., middle : middle + length], taps[0], out=new(*shape))
    pair = new(*shape)
    for k, tap in enumerate(taps[1:], 1):
        before = lines[..., middle - k * stride :][..., :length]
        after = lines[..., middle + k * stride :][..., :length]
        pair = torch.add(before, after, out=pair)
        total.addcmul_(pair, tap)
    return total
