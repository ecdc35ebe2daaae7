"""A view without a branch on values: for a GPU, where nothing may wait, and for compilation.

Every operation runs on every image, with the parameter that changes nothing where it is not wanted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from selfsight.views import colors
from selfsight.views.channels import ChannelStatistics, channel_map, noise
from selfsight.views.colors import wide
from selfsight.views.drawing import Parameters, blur_kernel
from selfsight.views.resampling import affine, gaussian_blur, resized_crop
from selfsight.views.settings import View


def view_of(
    source: Tensor,
    keys: Tensor,
    view: View,
    index: int,
    size: int,
    parameters: Parameters,
    statistics: ChannelStatistics,
    scale: float,
    bounded: bool,
) -> Tensor:
    """One view ``(B, C, size, size)`` of float32 planar images.

    Args:
        source: ``(B, C, H, W)`` float32, raw values.
        keys: ``(B,)`` int64.
        view: what is asked for.
        index: of the view.
        size: side of the result, pixels.
        parameters: drawn for this view.
        statistics: mean and standard deviation of each channel.
        scale: from raw values to unit scale.
        bounded: whether values are clamped to [0, 1].
    """
    made = resized_crop(source, parameters.boxes, parameters.flips, size, scale=scale)
    if view.quarter_turns:
        made = torch.where(wide(parameters.transposed), made.mT, made)
    if view.rotation or view.shear:
        made = affine(made, parameters.angle, parameters.shear, padding="border")
    if view.color:
        made = _jitter(made, view, parameters, bounded)
    if view.grayscale and made.shape[1] == 3:
        made = torch.where(wide(parameters.grayscale), colors.gray(made), made)
    if view.blur:
        blurred = gaussian_blur(made, parameters.sigma, blur_kernel(size))
        made = torch.where(wide(parameters.blurred), blurred, made)
    if view.solarize and bounded:
        made = torch.where(wide(parameters.solarized), colors.solarize(made), made)
    factor, offset = channel_map(view, keys, index, statistics, made)
    made = made * factor[:, :, None, None] + offset[:, :, None, None]
    if view.noise:
        made = made + wide(parameters.noise) * noise(parameters.table, made)
    return made


def _jitter(made: Tensor, view: View, parameters: Parameters, bounded: bool) -> Tensor:
    """Brightness, contrast, saturation and hue in the order of each image.

    The hue costs most and is computed once: the other three run before it where an image has them
    there, and after it where it has them after.
    """
    hue = made.shape[1] == 3 and view.hue > 0
    if hue:
        for step in range(3):
            active = parameters.colored & (step < parameters.hue_at)
            made = _blend(made, parameters, step, active, bounded)
        turn = torch.where(parameters.colored, parameters.turn, 0.0)
        made = colors.hue_(made, turn, far=view.hue > 1 / 3)
    for step in range(3):
        active = parameters.colored
        if hue:
            active = active & (step >= parameters.hue_at)
        made = _blend(made, parameters, step, active, bounded)
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
    flat = torch.where(chosen == 1, 1 - factor, 0.0) * colors.mean_gray(made)
    pixel = torch.where(chosen == 2, 1 - factor, 0.0)
    made = made * wide(factor) + (colors.gray(made) * wide(pixel) + wide(flat))
    return made.clamp_(0.0, 1.0) if bounded else made
