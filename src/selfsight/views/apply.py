"""Views of a batch, made on the device it lies on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.views import cpu, gpu
from selfsight.views.channels import channel_map, check_channels, joined
from selfsight.views.colors import constant
from selfsight.views.ops import to_unit, unit_scale
from selfsight.views.parameters import Wanted, draw
from selfsight.views.settings import View

if TYPE_CHECKING:
    from selfsight.data.statistics import Statistics


def make_views(
    images: Tensor, keys: Tensor, views: Sequence[View], statistics: Statistics
) -> list[Tensor]:
    """Random views of a batch, normalised, on its device.

    An image's views are a function of its pixels and its key, whatever else is in the batch. On a
    CPU bytes of more than 48 pixels are resampled as bytes, as torchvision and Pillow do. That
    rounds twice: a crop is within one level of 255 of what a GPU gives (0.3 in the mean), and
    colours multiply this by their factors (6 levels at most with SimCLR's, 0.2 in the mean); a
    pixel at the threshold of `solarize` may fall on either side. On a GPU nothing waits for the
    device, and it all compiles.

    Args:
        images: ``(B, C, H, W)`` uint8, uint16 or float32, raw values.
        keys: ``(B,)`` int64, from `selfsight.draws.keys_of`.
        views: resolved ones (sides in pixels above 1.0, shares of the longer side up to it).
        statistics: mean and standard deviation of each channel, unit scale.

    Returns:
        For each view ``(B, C, size, size)`` float32, channels_last where ``images`` is.

    Raises:
        ValueError: a dtype that is no image's, or statistics of other channels.
    """
    check_channels(images, statistics)
    last = images.shape[1] > 1 and images.is_contiguous(memory_format=torch.channels_last)
    form = torch.channels_last if last else torch.contiguous_format
    wanted = [_wanted(view, images) for view in views]
    if _may_wait(images):
        return _by_rows(images, keys, wanted, statistics, form)
    source = images.contiguous().to(torch.float32)
    made = []
    for index, each in enumerate(wanted):
        drawn = draw(each.view, keys, index, *images.shape[2:])
        channels = channel_map(each.view, keys, index, statistics, source)
        view = gpu.view_of(source, each, drawn, channels)
        made.append(view.contiguous(memory_format=form))
    return made


def whole_frame(
    images: Tensor, statistics: Statistics, size: int | tuple[int, int] | None = None
) -> Tensor:
    """The images as they are: unit scale, resized with antialiasing if asked, normalised.

    Args:
        images: ``(B, C, H, W)`` uint8, uint16 or float32, raw values.
        statistics: mean and standard deviation of each channel, unit scale.
        size: height and width of the result, one number for both; None leaves them.

    Returns:
        ``(B, C, height, width)`` float32, channels_last where ``images`` is.

    Raises:
        ValueError: a dtype that is no image's, or statistics of other channels.
    """
    check_channels(images, statistics)
    frame = to_unit(images)
    wanted = (size, size) if isinstance(size, int) else size
    if wanted is not None and wanted != tuple(images.shape[2:]):
        frame = F.interpolate(frame, wanted, mode="bilinear", antialias=True, align_corners=False)
    mean, std = constant(statistics.mean, frame), constant(statistics.std, frame)
    return (frame - mean[:, None, None]) / std[:, None, None]


def pixels_of(size: float, height: int, width: int) -> int:
    """The side in pixels of a `View.size`: a share of the longer side up to 1.0."""
    return max(1, round(size * max(height, width))) if size <= 1.0 else round(size)


def _may_wait(images: Tensor) -> bool:
    """Whether what is drawn may be looked at: on a CPU that costs nothing."""
    return images.device.type == "cpu" and not torch.compiler.is_compiling()


def _wanted(view: View, images: Tensor) -> Wanted:
    size = pixels_of(view.size, *images.shape[2:])
    return Wanted(view, size, unit_scale(images.dtype), images.dtype != torch.float32)


def _by_rows(
    images: Tensor,
    keys: Tensor,
    wanted: Sequence[Wanted],
    statistics: Statistics,
    form: torch.memory_format,
) -> list[Tensor]:
    """Views with the same settings are made together, as one larger batch."""
    count, channels, height, width = images.shape
    source = images
    if max(height, width) <= cpu.PRODUCT_SIDE:
        source = images.contiguous().to(torch.float32)
    alike: dict[Wanted, list[int]] = {}
    for index, each in enumerate(wanted):
        alike.setdefault(each, []).append(index)
    made = [images] * len(wanted)
    for each, indices in alike.items():
        shape = (count, channels, each.size, each.size)
        out = [torch.empty(shape, memory_format=form) for _ in indices]
        drawn = draw(each.view, keys, indices, height, width)
        maps = [channel_map(each.view, keys, index, statistics, out[0]) for index in indices]
        cpu.view_of(source, each, drawn, joined(maps), out)
        for index, view in zip(indices, out, strict=True):
            made[index] = view
    return made
