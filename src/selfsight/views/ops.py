"""Pure functions on a batch of images, one parameter for each image.

They take parameters and draw nothing; `selfsight.views.parameters` draws, `selfsight.views.apply`
puts both together. Given the same parameters they give what torchvision gives on float tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from selfsight.views.colors import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    solarize,
    to_grayscale,
)
from selfsight.views.resampling import affine, gaussian_blur, resized_crop

__all__ = [
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "affine",
    "gaussian_blur",
    "resized_crop",
    "solarize",
    "to_grayscale",
    "to_unit",
    "unit_scale",
]


def unit_scale(dtype: torch.dtype) -> float:
    """What a raw value is multiplied by: 1/255 for uint8, 1/65535 for uint16, 1 for float32.

    Raises:
        ValueError: another dtype.
    """
    scales = {torch.uint8: 1 / 255, torch.uint16: 1 / 65535, torch.float32: 1.0}
    if dtype not in scales:
        raise ValueError(f"images are {dtype}; they must be uint8, uint16 or float32.")
    return scales[dtype]


def to_unit(images: Tensor) -> Tensor:
    """Raw images of any shape as float32 in unit scale: bytes over 255, uint16 over 65535."""
    scale = unit_scale(images.dtype)
    return images if scale == 1.0 else images.to(torch.float32).mul_(scale)
