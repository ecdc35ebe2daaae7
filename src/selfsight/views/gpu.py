"""Views without a branch on values: for a GPU, where nothing may wait, and for compilation.

Every operation runs on every image, with the parameter that changes nothing where it is not wanted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from selfsight.views import colors
from selfsight.views.channels import ChannelMap, noise
from selfsight.views.colors import wide
from selfsight.views.parameters import Parameters, Wanted, blur_kernel
from selfsight.views.resampling import affine, gaussian_blur, resized_crop
from selfsight.views.settings import View


def view_of(
    source: Tensor, wanted: Wanted, parameters: Parameters, channel_map: ChannelMap
) -> Tensor:
    """A view ``(B, C, size, size)`` of each image.

    Args:
        source: ``(B, C, H, W)`` float32, raw values, planar.
        wanted: the same for all.
        parameters: of each image.
        channel_map: factor and offset ``(B, C)`` or ``(1, C)``.
    """
    view = wanted.view
    made = resized_crop(source, parameters.boxes, parameters.flips, wanted.size, scale=wanted.scale)
    if view.quarter_turns:
        made = torch.where(wide(parameters.transposed), made.mT, made)
    if view.rotation or view.shear:
        made = affine(made, parameters.angle, parameters.shear, padding="border")
    if view.color:
        made = _jitter(made, view, parameters, wanted.bounded)
    if view.grayscale and made.shape[1] == 3:
        made = torch.where(wide(parameters.grayscale), colors.gray(made), made)
    if view.blur:
        blurred = gaussian_blur(made, parameters.sigma, blur_kernel(wanted.size))
        made = torch.where(wide(parameters.blurred), blurred, made)
    if view.solarize and wanted.bounded:
        made = torch.where(wide(parameters.solarized), colors.solarize(made), made)
    factor, offset = (values[:, :, None, None] for values in channel_map)
    made = made * factor + offset
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
