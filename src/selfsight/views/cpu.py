"""Views on a CPU, where an operation is run only on the images that have it.

Images are sorted by the order of their colour operations, so that each operation is applied to
slices, in place, in chunks that stay in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.views import colors
from selfsight.views.buffers import scratch
from selfsight.views.channels import ChannelMap, noise_start, noise_table
from selfsight.views.parameters import Parameters, Wanted, blur_kernel
from selfsight.views.resampling import affine, blurred_by_shifts, enlarged_crop, resized_crop
from selfsight.views.settings import View

PRODUCT_SIDE = 48
"""Up to this side of the image a crop is two matrix products; above it ATen's own resampling."""
CHUNK = 1 << 21
"""Numbers in a chunk of images that goes through all operations together: 8 MiB."""
GROUP = 1 << 18
"""Numbers in a group of images whose hue is turned, or which are blurred, together: 1 MiB."""

ORDERS = tuple(permutations(range(3)))
"""Of brightness 0, contrast 1 and saturation 2; `_classes` counts them in this order."""


def view_of(
    source: Tensor,
    wanted: Wanted,
    parameters: Parameters,
    channel_map: ChannelMap,
    out: Sequence[Tensor],
) -> None:
    """Views of the images, written into ``out``.

    Args:
        source: ``(B, C, H, W)`` raw values: contiguous float32 up to `PRODUCT_SIDE`, above it any
            dtype and memory format.
        wanted: the same for all.
        parameters: of ``n B`` views, the images in order n times.
        channel_map: factor and offset ``(n B, C)`` or ``(1, C)``.
        out: n tensors ``(B, C, size, size)`` float32.
    """
    view, size, channels = wanted.view, wanted.size, source.shape[1]
    kinds = _classes(parameters, view, channels)
    order = kinds.argsort(stable=True)
    length = max(1, CHUNK // (channels * size * size))
    whole = len(order) <= length
    targets = [] if whole else [image for view_out in out for image in view_out.unbind(0)]
    for rows in torch.split(order, length):
        with scratch.level():
            drawn = parameters.take(rows)
            made = _cropped(source, rows % len(source), drawn, size, wanted.scale)
            _turned(made, drawn, view)
            if view.color:
                _jitter(made, view, drawn, kinds[rows], wanted.bounded)
            if view.blur or (view.grayscale and channels == 3):
                again, (gray, blurred) = _by_gray_and_blur(drawn, view, channels)
                made = torch.index_select(made, 0, again, out=scratch.new(*made.shape))
                rows, drawn = rows[again], drawn.take(again)
                if channels == 3:
                    made[gray] = colors.gray(made[gray])
                _blur(made[blurred], drawn.sigma[blurred])
            if view.solarize and wanted.bounded:
                _replace(made, drawn.solarized, colors.solarize)
            each = rows if len(channel_map[0]) > 1 else slice(None)
            factor, offset = (values[each, :, None, None] for values in channel_map)
            made.mul_(factor).add_(offset)
            if view.noise:
                _add_noise(made, drawn)
            if whole:
                for view_out, place in zip(
                    out, torch.split(rows.argsort(), len(source)), strict=True
                ):
                    with scratch.level():
                        sorted_back = scratch.new(*view_out.shape)
                        view_out.copy_(torch.index_select(made, 0, place, out=sorted_back))
            else:
                _write(targets, rows, made)


def _write(targets: Sequence[Tensor] | Tensor, rows: Tensor, made: Tensor) -> None:
    """``targets[rows[i]] = made[i]``; by index it would take five times as long."""
    torch._foreach_copy_([targets[row] for row in rows.tolist()], list(made.unbind(0)))


def _turned(made: Tensor, drawn: Parameters, view: View) -> None:
    """Quarter turns, rotation and shear, in place."""
    if view.quarter_turns:
        _replace(made, drawn.transposed, lambda some: some.mT)
    if view.rotation or view.shear:
        made.copy_(affine(made, drawn.angle, drawn.shear, padding="border"))


def _by_gray_and_blur(
    drawn: Parameters, view: View, channels: int
) -> tuple[Tensor, tuple[slice, slice]]:
    """An order in which those that turn grey and those that are blurred are a slice each.

    The blurred ones of like sigma are together: a small one needs fewer taps.

    Returns:
        The order ``(B,)``, and both slices of it.
    """
    gray = drawn.grayscale & bool(view.grayscale and channels == 3)
    blurred = drawn.blurred & bool(view.blur)
    # Grey alone 0, both 1, blurred alone 2, neither 3.
    kind = torch.where(gray, blurred.long(), 3 - blurred.long())
    order = drawn.sigma.argsort()
    order = order[kind[order].argsort(stable=True)]
    only_gray, both, only_blurred, _ = torch.bincount(kind, minlength=4).tolist()
    until = only_gray + both
    return order, (slice(0, until), slice(only_gray, until + only_blurred))


def _cropped(source: Tensor, rows: Tensor, drawn: Parameters, size: int, scale: float) -> Tensor:
    """Crop, resize and flip of the rows, ``(n, C, size, size)`` float32, unit scale."""
    if max(source.shape[2:]) <= PRODUCT_SIDE:
        group = GROUP // (source.shape[1] * size * size)
        if max(source.shape[2:]) <= size:
            return enlarged_crop(
                source,
                rows,
                drawn.boxes,
                drawn.flips,
                size,
                scale=scale,
                new=scratch.new,
                group=group,
            )
        images = scratch.new(len(rows), *source.shape[1:])
        torch.index_select(source, 0, rows, out=images)
        return resized_crop(
            images, drawn.boxes, drawn.flips, size, scale=scale, new=scratch.new, group=group
        )
    crops = []
    boxes, flips = drawn.boxes.int().tolist(), drawn.flips.tolist()
    for row, (top, left, height, width), (across, down) in zip(
        rows.tolist(), boxes, flips, strict=True
    ):
        part = source[row : row + 1, :, top : top + height, left : left + width]
        if part.dtype == torch.uint16:
            part = part.to(torch.float32)
        part = F.interpolate(
            part, (size, size), mode="bilinear", antialias=True, align_corners=False
        )
        sides = [side for side, turned in ((3, across), (2, down)) if turned]
        crops.append(part.flip(sides) if sides else part)
    # Bytes are made planar before they are made float: that halves what is moved.
    planar = torch.cat(crops).contiguous()
    return scratch.new(*planar.shape).copy_(planar).mul_(scale)


def _classes(parameters: Parameters, view: View, channels: int) -> Tensor:
    """``(B,)``: 4 times the order plus the place of the hue; 24 where the colour stays."""
    first, second, third = parameters.order.unbind(1)
    code = 8 * first + 4 * (second > third)
    if channels == 3 and view.hue:
        code = code + parameters.hue_at
    return torch.where(parameters.colored, code, 24)


def _jitter(made: Tensor, view: View, drawn: Parameters, kinds: Tensor, bounded: bool) -> None:
    """Brightness, contrast, saturation and hue in the order of each image, in place."""
    counts = torch.bincount(kinds, minlength=25).tolist()
    colored = len(made) - counts.pop()
    if not colored:
        return
    rgb = made.shape[1] == 3
    if rgb and view.hue:
        _blend(made, drawn, counts, True, rgb, bounded)
        length = max(1, GROUP // made[0].numel())
        groups = zip(
            torch.split(made[:colored], length),
            torch.split(drawn.turn[:colored], length),
            strict=True,
        )
        for images, turn in groups:
            with scratch.level():
                colors.hue_(images, turn, far=view.hue > 1 / 3, new=scratch.new)
    _blend(made, drawn, counts, False, rgb, bounded)


def _blend(
    made: Tensor, drawn: Parameters, counts: Sequence[int], before: bool, rgb: bool, bounded: bool
) -> None:
    steps = (colors.brightness_, colors.contrast_, colors.saturation_)
    blends = [colors.wide(blend) for blend in (1 - drawn.factors).unbind(1)]
    for place in range(3):
        for operation, start, stop in _runs(counts, place, before):
            if operation == 2 and not rgb:
                continue
            with scratch.level():
                blend = blends[operation][start:stop]
                steps[operation](made[start:stop], blend, bounded, scratch.new)


def _runs(counts: Sequence[int], place: int, before: bool) -> Iterator[tuple[int, int, int]]:
    """Slices of the sorted images with the same operation at this place before or after the hue."""
    current, start, stop = -1, 0, 0
    for kind, count in enumerate(counts):
        if not count:
            continue
        order, hue_at = divmod(kind, 4)
        operation = ORDERS[order][place] if (place < hue_at) == before else -1
        if operation != current:
            if current >= 0:
                yield current, start, stop
            current, start = operation, stop
        stop += count
    if current >= 0:
        yield current, start, stop


def _blur(made: Tensor, sigma: Tensor) -> None:
    """Blurs the images in place, a group in the cache at a time."""
    kernel_size = blur_kernel(made.shape[2])
    length = max(1, GROUP // made[0].numel()) if len(made) else 1
    for some, width in zip(torch.split(made, length), torch.split(sigma, length), strict=True):
        with scratch.level():
            some.copy_(blurred_by_shifts(some, width, kernel_size, new=scratch.new))


def _replace(made: Tensor, chosen: Tensor, operation: Callable[[Tensor], Tensor]) -> None:
    rows = chosen.nonzero()[:, 0]
    if not len(rows):
        return
    _write(made, rows, operation(made.index_select(0, rows)))


def _add_noise(made: Tensor, drawn: Parameters) -> None:
    count = made[0].numel()
    table = noise_table(made.device, count)
    starts, strengths = noise_start(drawn.table).tolist(), drawn.noise.tolist()
    for image, start, strength in zip(made.view(-1, count), starts, strengths, strict=True):
        image.add_(table[start : start + count], alpha=strength)
