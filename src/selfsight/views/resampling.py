"""Resampling a batch: crop, resize and flip in one step, affine maps, Gaussian blur.

Images are float32 ``(B, C, H, W)``; every image has its own parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.views.buffers import New, fresh

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
    group: int | None = None,
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
        new: where the result and intermediate results are written.
        group: images multiplied together, so that they stay in a CPU's cache; None: all.

    Returns:
        ``(B, C, size, size)`` float32, contiguous.
    """
    count, channels, height, width = images.shape
    length = count if group is None else max(1, min(group, count))
    grows = max(height, width) <= size
    axes = _axes(boxes, flips.flip(1), (height, width), size, (1.0, scale), grows)
    made = new(count, channels, size, size)
    buffers = new(length, size, height), new(length, size, width)
    each = new(length, channels, size, height)
    between = new(length, channels, height, size)
    for start in range(0, count, length):
        part = slice(start, min(start + length, count))
        taken = part.stop - start
        rows, columns = (
            _triangles(at[part], centre[part], weight, grows, _first(buffer, taken))
            for (at, centre, weight), buffer in zip(axes, buffers, strict=True)
        )
        across = torch.bmm(
            images[part].reshape(taken, channels * height, width),
            columns.mT,
            out=_first(between, taken, channels * height, size),
        ).view(taken * channels, height, size)
        spread = rows[:, None].expand(-1, channels, -1, -1)
        copied = spread.contiguous() if each is None else each[:taken].copy_(spread)
        copied = copied.view(taken * channels, size, height)
        if made is None:
            return torch.bmm(copied, across).view(count, channels, size, size)
        torch.bmm(copied, across, out=made[part].view(taken * channels, size, size))
    assert made is not None
    return made


def enlarged_crop(
    images: Tensor,
    chosen: Tensor,
    boxes: Tensor,
    flips: Tensor,
    size: int,
    *,
    scale: float = 1.0,
    new: Callable[..., Tensor] = torch.empty,
    group: int | None = None,
) -> Tensor:
    """`resized_crop` of chosen images where no crop shrinks; on a CPU a third faster.

    A row of the result is a mix of two rows of the image, which are taken by index; along the rows
    there is one matrix product.

    Args:
        images: ``(N, C, H, W)`` float32, contiguous, no side larger than ``size``.
        chosen: ``(B,)`` int64, which image each crop is of.
        boxes: ``(B, 4)``, as in `resized_crop`, like all that follow.
        flips: ``(B, 2)`` bool.
        size: side of the square result.
        scale: the result is multiplied by this.
        new: where the result and intermediate results are written.
        group: crops made together.

    Returns:
        ``(B, C, size, size)`` float32, contiguous.
    """
    channels, height, width = images.shape[1:]
    length = max(1, min(len(chosen) if group is None else group, len(chosen)))
    (_, down, _), (at, centre, tip) = _axes(
        boxes, flips.flip(1), (height, width), size, (1.0, scale), True
    )
    upper = (down - 0.5).floor()
    share = (down - 0.5 - upper)[:, None, :, None]
    first = (chosen[:, None] * channels + torch.arange(channels, device=chosen.device)) * height
    # Below the last row of the image lies none: its share is 0 there.
    lower = first[:, :, None] + (upper.long() + 1).clamp_max_(height - 1)[:, None]
    taken = first[:, :, None] + upper.long()[:, None], lower
    rows = images.view(-1, width)
    made = new(len(chosen), channels, size, size)
    two = [new(length, channels, size, width) for _ in range(2)]
    tents = new(length, size, width)
    for start in range(0, len(chosen), length):
        part = slice(start, min(start + length, len(chosen)))
        above, below = (
            torch.index_select(
                rows, 0, index[part].flatten(), out=room[: len(index[part])].view(-1, width)
            ).view(-1, channels, size, width)
            for index, room in zip(taken, two, strict=True)
        )
        mixed = above.lerp_(below, share[part])
        columns = _triangles(at[part], centre[part], tip, True, tents[: len(mixed)]).neg_()
        torch.bmm(
            mixed.view(len(mixed), -1, width),
            columns.mT,
            out=made[part].view(len(mixed), channels * size, size),
        )
    return made


def _first(buffer: Tensor | None, count: int, *shape: int) -> Tensor | None:
    if buffer is None:
        return None
    return buffer[:count].view(count, *shape) if shape else buffer[:count]


def _axes(
    boxes: Tensor,
    flips: Tensor,
    sides: tuple[int, int],
    size: int,
    weights: tuple[float, float],
    grows: bool,
) -> list[tuple[Tensor, Tensor, float]]:
    """For both axes: where its pixels lie ``(B, side)``, the centres of the outputs ``(B, size)``.

    Both are in units of the support of the triangle, over the weight of its tip, which comes last.
    A pixel outside the crop lies at infinity. Where no crop shrinks, centres stay half a pixel
    inside the crop, so that the two weights of an output have the sum of one.
    """
    start, length = boxes[:, :2], boxes[:, 2:]
    step = length / size
    support = step.clamp_min(1.0) if not grows else torch.ones_like(step)
    place = torch.arange(size, device=boxes.device, dtype=torch.float32) + 0.5
    place = torch.where(flips[:, :, None], size - place, place)
    centre = start[:, :, None] + place * step[:, :, None]
    end = start + length
    if grows:
        inner = start.floor() + 0.5, end.ceil() - 0.5
        centre = torch.minimum(torch.maximum(centre, inner[0][:, :, None]), inner[1][:, :, None])
    axes = []
    for axis, (side, weight) in enumerate(zip(sides, weights, strict=True)):
        pixel = torch.arange(side, device=boxes.device, dtype=torch.float32)
        inside = (pixel + 1 > start[:, axis, None]) & (pixel < end[:, axis, None])
        at = torch.where(inside, pixel + 0.5, torch.inf)
        unit = weight / support[:, axis, None]
        axes.append((at * unit, centre[:, axis] * unit, weight))
    return axes


def _triangles(
    at: Tensor, centre: Tensor, weight: float, grows: bool, out: Tensor | None
) -> Tensor:
    """Antialiased bilinear weights of an axis ``(B, size, side)``, of sum ``-weight``.

    The weight of a pixel in an output is a triangle around its centre, as wide as the step where
    the crop shrinks, cut at the edges of the crop and normalised (as Pillow and ATen do). Both axes
    have a minus sign, which their product has not.
    """
    weights = torch.sub(at[:, None, :], centre[:, :, None], out=out)
    weights.abs_().sub_(weight).clamp_max_(0.0)
    return weights if grows else weights.mul_(-weight / weights.sum(2, keepdim=True))


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

    The kernel is torchvision's: ``exp(-x^2 / (2 sigma^2))`` at whole pixels, normalised. Each axis
    is a product with a banded matrix, without a look at a value; `blurred_by_shifts` is faster on
    a CPU.

    Args:
        images: ``(B, C, H, W)`` float32.
        sigma: ``(B,)`` standard deviation, pixels.
        kernel_size: odd; its half must be smaller than the sides (reflection).
    """
    kernel = gaussian_kernel(sigma, kernel_size)
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


def blurred_by_shifts(
    images: Tensor, sigma: Tensor, kernel_size: int, *, new: New = fresh
) -> Tensor:
    """`gaussian_blur` as a sum of shifted images along each axis.

    Taps that no image uses are left out. The columns are padded first and the rows are kept in one
    piece, so that a shift by a column is a shift in memory: what runs over the end of a row lands
    in its padding.

    Args:
        images: as in `gaussian_blur`, like the next two.
        sigma: ``(B,)``.
        kernel_size: odd.
        new: where intermediate results and the result are written.
    """
    kernel = gaussian_kernel(sigma, kernel_size)
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
