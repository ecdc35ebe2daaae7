"""Pixels as people look at them: bytes of one or three channels, and small copies in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.values import without_holes
from selfsight.files import replacing

LARGEST = 128
"""Pixels of the longer side of a kept picture."""


def displayed(pixels: NDArray[Any], limits: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """``(n, H, W, C)`` of any type as ``(n, H, W, 1 or 3)`` bytes.

    Bytes stay as they are; other values are stretched. Of more than three channels the first three
    are shown, of two the first.

    Args:
        pixels: of images.
        limits: the values that become black and white; None: the first and the 99th percentile of
            each image.
    """
    pixels = pixels[..., :3] if pixels.shape[3] >= 3 else pixels[..., :1]
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    values = without_holes(pixels)
    low, high = (
        np.percentile(values, (1, 99), axis=(1, 2, 3), keepdims=True)
        if limits is None
        else np.array(limits, np.float32)
    )
    with np.errstate(over="ignore"):  # far beyond the limits, which clips them
        scaled = (values - low) / np.maximum(high - low, 1e-12) * 255.0
    shown: NDArray[np.uint8] = np.clip(scaled.round(), 0.0, 255.0).astype(np.uint8)
    return shown


def write_pictures(
    path: Path, pixels: Any, rows: Sequence[int], limits: tuple[float, float] | None = None
) -> None:
    """Images for a page, in an ``.npz``: ``rows (M,)`` and ``images (M, h, w, 1 or 3)`` uint8.

    Args:
        path: of the file.
        pixels: ``(N, H, W, C)`` of an image set.
        rows: those that are kept, at most 128 pixels on the longer side.
        limits: see `displayed`.
    """
    height, width = pixels.shape[1:3]
    share = min(1.0, LARGEST / max(height, width))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    made = [_small(displayed(pixels[row][None], limits)[0], size) for row in rows]
    channels = 3 if pixels.shape[3] >= 3 else 1
    empty = np.zeros((0, size[1], size[0], channels), np.uint8)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file, rows=np.array(rows, np.int64), images=np.stack(made) if made else empty
        )


def thumbnail(pixels: NDArray[Any], side: int = LARGEST) -> bytes:
    """One image ``(H, W, C)`` of any type as PNG, at most ``side`` pixels on its longer side."""
    import io

    from PIL import Image

    height, width = pixels.shape[:2]
    share = min(1.0, side / max(height, width))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    shown = _small(displayed(pixels[None])[0], size)
    buffer = io.BytesIO()
    Image.fromarray(shown if shown.shape[2] == 3 else shown[..., 0]).save(buffer, "PNG")
    return buffer.getvalue()


def _small(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    from PIL import Image

    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    small = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
    return small if small.ndim == 3 else small[..., None]
