"""Views of a batch, made on the device it lies on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.draws import normal
from selfsight.views import colors
from selfsight.views.drawing import Parameters, draw, draw_channels
from selfsight.views.ops import affine, gaussian_blur, resized_crop, to_unit, unit_scale
from selfsight.views.settings import View

if TYPE_CHECKING:
    from selfsight.data.statistics import Statistics

NOISE_NUMBERS = 1 << 20
"""Length of the table that noise is read from, at a place of each image's own."""


def make_views(
    images: Tensor, keys: Tensor, views: Sequence[View], statistics: Statistics
) -> list[Tensor]:
    """Random views of a batch, normalised, on its device.

    An image's views are a function of its pixels and its key, whatever else is in the batch.

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
    scale, bounded = unit_scale(images.dtype), images.dtype != torch.float32
    _check_channels(images, statistics)
    last = images.is_contiguous(memory_format=torch.channels_last) and images.shape[1] > 1
    source = images.contiguous().to(torch.float32)
    made = []
    for index, view in enumerate(views):
        parameters = draw(view, keys, index, *images.shape[2:])
        made.append(_view(source, keys, view, index, parameters, statistics, scale, bounded))
    return [view.contiguous(memory_format=torch.channels_last) for view in made] if last else made


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
    """
    _check_channels(images, statistics)
    frame = to_unit(images)
    wanted = (size, size) if isinstance(size, int) else size
    if wanted is not None and wanted != tuple(images.shape[2:]):
        frame = F.interpolate(frame, wanted, mode="bilinear", antialias=True, align_corners=False)
    mean, std = _tensors(statistics, frame)
    return (frame - mean[:, None, None]) / std[:, None, None]


def pixels_of(size: float, height: int, width: int) -> int:
    """The side in pixels of a `View.size`: a share of the longer side up to 1.0."""
    return max(1, round(size * max(height, width))) if size <= 1.0 else round(size)


def blur_kernel(side: int) -> int:
    """Kernel size of the blur: the odd number at a tenth of the side (SimCLR), 3 at least."""
    return max(3, side // 10 // 2 * 2 + 1)


def _view(
    source: Tensor,
    keys: Tensor,
    view: View,
    index: int,
    parameters: Parameters,
    statistics: Statistics,
    scale: float,
    bounded: bool,
) -> Tensor:
    size = pixels_of(view.size, *source.shape[2:])
    made = resized_crop(source, parameters.boxes, parameters.flips, size, scale=scale)
    if view.quarter_turns:
        made = torch.where(_wide(parameters.transposed), made.mT, made)
    if view.rotation or view.shear:
        made = affine(made, parameters.angle, parameters.shear, padding="border")
    if view.color:
        made = _jitter(made, view, parameters, bounded)
    if view.grayscale and made.shape[1] == 3:
        made = torch.where(_wide(parameters.grayscale), colors.to_grayscale(made), made)
    if view.blur:
        blurred = gaussian_blur(made, parameters.sigma, blur_kernel(size))
        made = torch.where(_wide(parameters.blurred), blurred, made)
    if view.solarize and bounded:
        made = torch.where(_wide(parameters.solarized), colors.solarize(made), made)
    return _normalised(made, keys, view, index, parameters, statistics)


def _jitter(made: Tensor, view: View, parameters: Parameters, bounded: bool) -> Tensor:
    """Brightness, contrast, saturation and hue in the order of each image.

    The hue costs most and is computed once: the other three run before it where an image has them
    there, and after it where it has them after.
    """
    rgb = made.shape[1] == 3
    if rgb and view.hue:
        for step in range(3):
            made = _blend(made, parameters, step, step < parameters.hue_at, bounded)
        made = colors.adjust_hue(made, parameters.turn)
        for step in range(3):
            made = _blend(made, parameters, step, step >= parameters.hue_at, bounded)
        return made
    for step in range(3):
        made = _blend(made, parameters, step, torch.ones_like(parameters.colored), bounded)
    return made


def _blend(
    made: Tensor, parameters: Parameters, step: int, active: Tensor, bounded: bool
) -> Tensor:
    """``clamp(f x + (1 - f) m)``: the operation that each image has at this step."""
    chosen = parameters.order[:, step]
    factor = parameters.factors.gather(1, chosen[:, None])[:, 0]
    if made.shape[1] != 3:
        active = active & (chosen != 2)
    factor = torch.where(active, factor, 1.0)
    grey = colors.gray(made)
    flat = torch.where(chosen == 1, 1 - factor, 0.0) * colors.mean_gray(made)
    pixel = torch.where(chosen == 2, 1 - factor, 0.0)
    made = made * _wide(factor) + (grey * _wide(pixel) + _wide(flat))
    return made.clamp_(0.0, 1.0) if bounded else made


def _normalised(
    made: Tensor,
    keys: Tensor,
    view: View,
    index: int,
    parameters: Parameters,
    statistics: Statistics,
) -> Tensor:
    """Normalisation with gain, offset and dropout of the channels folded in, and noise."""
    mean, std = _tensors(statistics, made)
    factor, offset = (1 / std)[None], (-mean / std)[None]
    if view.gain or view.offset or view.channel_dropout:
        gain, shift = draw_channels(view, keys, index, made.shape[1])
        factor, offset = factor * gain, offset * gain + shift
    made = made * factor[:, :, None, None] + offset[:, :, None, None]
    if view.noise:
        made = made + _wide(parameters.noise) * _noise(parameters.table, made)
    return made


def _noise(place: Tensor, like: Tensor) -> Tensor:
    """Standard normal numbers as ``like``, read from one table at a place of each image's own."""
    count = like[0].numel()
    length = NOISE_NUMBERS
    table = _noise_table(place.device)
    start = (place * length).long()
    index = (start[:, None] + torch.arange(count, device=place.device)) % length
    return table[index].view(like.shape)


_TABLES: dict[torch.device, Tensor] = {}


def _noise_table(device: torch.device) -> Tensor:
    """Made once for each device; a compiled graph makes its own."""
    if torch.compiler.is_compiling():
        return normal(torch.arange(NOISE_NUMBERS, device=device), 0, 1)[:, 0]
    if device not in _TABLES:
        _TABLES[device] = normal(torch.arange(NOISE_NUMBERS, device=device), 0, 1)[:, 0]
    return _TABLES[device]


def _check_channels(images: Tensor, statistics: Statistics) -> None:
    if images.ndim != 4 or images.shape[1] != len(statistics.mean):
        raise ValueError(
            f"images are {tuple(images.shape)}; they must be (B, C, H, W) with the "
            f"{len(statistics.mean)} channels of the statistics."
        )


def _tensors(statistics: Statistics, like: Tensor) -> tuple[Tensor, Tensor]:
    mean = torch.tensor(statistics.mean, dtype=torch.float32).to(like.device, non_blocking=True)
    std = torch.tensor(statistics.std, dtype=torch.float32).to(like.device, non_blocking=True)
    return mean, std


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
