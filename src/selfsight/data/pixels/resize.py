"""Pixel arrays brought to a size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.memmap import rows_at_once


def resized(pixels: NDArray[Any], size: int | tuple[int, int] | None) -> NDArray[Any]:
    """``(N, H, W, C)`` of a size: short side resized with antialiasing, then centre-cropped.

    Args:
        pixels: uint8, uint16 or float32; the type is kept.
        size: side of a square, (height, width), or None: as it is.
    """
    height, width = (size, size) if isinstance(size, int) else size or pixels.shape[1:3]
    if (height, width) == pixels.shape[1:3]:
        return pixels
    import torch
    from torch.nn.functional import interpolate

    scale = max(height / pixels.shape[1], width / pixels.shape[2])
    inner = max(height, round(pixels.shape[1] * scale)), max(width, round(pixels.shape[2] * scale))
    top, left = (inner[0] - height) // 2, (inner[1] - width) // 2
    out = np.empty((len(pixels), height, width, pixels.shape[3]), pixels.dtype)
    step = rows_at_once(pixels)
    for first in range(0, len(pixels), step):
        part = torch.from_numpy(pixels[first : first + step].astype(np.float32))
        part = part.permute(0, 3, 1, 2)
        part = interpolate(part, inner, mode="bilinear", antialias=True, align_corners=False)
        values = part[..., top : top + height, left : left + width].permute(0, 2, 3, 1).numpy()
        if pixels.dtype != np.float32:
            values = np.clip(values.round(), 0, np.iinfo(pixels.dtype).max)
        out[first : first + step] = values.astype(pixels.dtype)
    return out
