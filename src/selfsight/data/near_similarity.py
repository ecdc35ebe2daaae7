"""How alike two pictures are whatever their brightness, orientation, crop, encoding or a mark.

Every step works on small grey versions in which each pixel is centred and scaled by its own
neighbourhood: brightness and contrast drop out, and a watermark changes only what lies under it.
Two pictures are laid on each other at every shift of up to an eighth of the side, as they are and
enlarged by a ninth, and compared block by block; and as a whole without a shift, which survives a
strong compression.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, normalize, pad

from selfsight.data.imageset import ImageSet
from selfsight.data.pixels.values import without_holes

BLOCKS = 4
ENLARGED = 10 / 9
"""A crop of nine tenths of the side, brought back to full size."""
THUMBNAIL = 16
FREQUENCIES = 6
ORIENTATIONS = [(mirrored, turns) for mirrored in (False, True) for turns in range(4)]
"""Of the square: mirrored or not, and quarter turns."""
CHUNK = 512
_TYPICAL_DEVIATION = 40.0  # of a photograph, in levels of 255


def _grey(images: ImageSet, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """``(B, H, W)``; channels that are no colours count by their own spread."""
    pixels = without_holes(images.pixels[rows])
    with np.errstate(over="ignore"):  # of numbers such as -3.4e38, which stand for no data
        if images.channels not in (1, 3):
            spread = pixels.std(axis=(1, 2), keepdims=True)
            pixels = pixels / np.maximum(spread, 1e-12)
        grey: NDArray[np.float32] = pixels.mean(axis=3)
    return np.nan_to_num(grey)


def level_scale(images: ImageSet, rows: NDArray[np.int64]) -> float:
    """What brings the values of the set to levels of 255."""
    if images.pixels.dtype == np.uint8 and images.channels in (1, 3):
        return 1.0
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), 256)).astype(np.int64)]
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(np.median(_grey(images, some).std(axis=(1, 2))))
    return _TYPICAL_DEVIATION / max(deviation, 1e-30)


def small_versions(images: ImageSet, rows: NDArray[np.int64], side: int, scale: float) -> Tensor:
    """``(B, 1, side, side)`` uint8, the whole frame with a mean of 128."""
    values = torch.from_numpy(_grey(images, rows))[:, None]
    if values.shape[2:] != (side, side):
        values = interpolate(values, (side, side), mode="bilinear", antialias=True)
    values = (values - values.mean((2, 3), keepdim=True)) * scale + 128
    return values.round().clamp(0, 255).to(torch.uint8)


def shrunk(values: Tensor, side: int) -> Tensor:
    """``(B, 1, side, side)`` from a multiple of the side."""
    return values if values.shape[-1] == side else avg_pool2d(values, values.shape[-1] // side)


def _mean_around(values: Tensor, radius: int) -> Tensor:
    """The mean of the square around each pixel, the image reflected at its edges.

    Two products with a matrix: on a CPU a tenth of the time of `avg_pool2d` of a padded image.
    """
    height, width = values.shape[-2:]
    return _averages(height, radius) @ values @ _averages(width, radius).T


@cache
def _averages(side: int, radius: int) -> Tensor:
    """``(side, side)``: a line to means of ``2 radius + 1`` neighbours, reflected at its ends."""
    places = np.pad(np.arange(side), radius, mode="reflect")
    matrix = torch.zeros(side, side)
    for row in range(side):
        for place in places[row : row + 2 * radius + 1].tolist():
            matrix[row, place] += 1.0 / (2 * radius + 1)
    return matrix


def _local(values: Tensor, radius: int, floor: float) -> Tensor:
    """Each pixel less the mean around it, over the deviation around it (plus ``floor`` levels)."""
    centred = values - _mean_around(values, radius)
    return centred / (_mean_around(centred.square(), radius).sqrt() + floor)


def oriented(values: Tensor, orientation: int) -> Tensor:
    """The images in one of `ORIENTATIONS`."""
    mirrored, turns = ORIENTATIONS[orientation]
    return torch.rot90(values.flip(-1) if mirrored else values, turns, (-2, -1))


def enlarged(values: Tensor, factor: float) -> Tensor:
    """The middle of the frame at a larger scale, as large as the frame."""
    side = values.shape[-1]
    larger = round(side * factor)
    if larger == side:
        return values
    values = interpolate(values, (larger, larger), mode="bicubic", antialias=True)
    start = (larger - side) // 2
    return values[..., start : start + side, start : start + side]


def thumbnails(values: Tensor) -> Tensor:
    """``(B, 1, 16, 16)``, local and bounded, so that no mark or edge outweighs the rest."""
    values = interpolate(values, (THUMBNAIL, THUMBNAIL), mode="bilinear", antialias=True)
    values = _local(values, 4, 0.5).clamp(-1.0, 1.0)
    return values - values.mean((2, 3), keepdim=True)


def frequencies(small: Tensor) -> Tensor:
    """``(B, 11 * 6)``: magnitudes of the low frequencies under a window, of unit length."""
    small = shrunk(small, 32)
    side = small.shape[-1]
    window = torch.hann_window(side + 4, periodic=False)[2:-2].sqrt()
    window = window[:, None] * window
    mean = (small * window).sum((2, 3), keepdim=True) / window.sum()
    small = (small - mean) * window
    angle = 2 * math.pi / side * torch.arange(side)[:, None] * torch.arange(FREQUENCIES)
    cosine, sine = angle.cos(), angle.sin()
    across_cos, across_sin = small @ cosine, small @ sine
    cc, cs = cosine.T @ across_cos, cosine.T @ across_sin
    sc, ss = sine.T @ across_cos, sine.T @ across_sin
    down = torch.hypot(cc - ss, cs + sc)
    up = torch.hypot(cc + ss, cs - sc)[:, :, 1:]
    return normalize(torch.cat([down, up], dim=2).flatten(1), dim=1)


def agreement(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """``(B,)`` correlation of the better half of the blocks, and of the whole without a shift."""
    second_local = _detail(second)
    blocks = torch.stack(
        [_block_correlation(_detail(enlarged(first, f)), second_local) for f in (1.0, ENLARGED)]
    ).amax(0)
    coarse = [_coarse(values).flatten(1) for values in (first, second)]
    whole = (normalize(coarse[0], dim=1) * normalize(coarse[1], dim=1)).sum(1)
    return blocks, whole


def _detail(values: Tensor) -> Tensor:
    values = _mean_around(values, 1) if values.shape[-1] > 32 else values
    return _local(values, 3, 2.0)


def _coarse(values: Tensor) -> Tensor:
    values = interpolate(values, (32, 32), mode="bilinear", antialias=True)
    values = _local(values, 2, 0.5)
    return values - values.mean((2, 3), keepdim=True)


def _block_correlation(first: Tensor, second: Tensor) -> Tensor:
    """The correlation that half of the blocks reach, at the shift where the middles agree best."""
    side = first.shape[-1]
    margin = side // 8
    inner, places = side - 2 * margin, 2 * margin + 1
    middle = first[:, :, margin:-margin, margin:-margin]
    spectrum = torch.fft.rfft2(pad(middle, (0, 2 * margin, 0, 2 * margin))).conj()
    laid = torch.fft.irfft2((spectrum * torch.fft.rfft2(second)).sum(1), s=(side, side))
    best = laid[:, :places, :places].flatten(1).argmax(1)
    index = torch.arange(inner)
    down = (best // places)[:, None] + index
    across = (best % places)[:, None] + index
    image = torch.arange(len(second))[:, None, None]
    under = second[:, 0][image, down[:, :, None], across[:, None, :]]
    one, other = _blocks(middle[:, 0]), _blocks(under)
    length = one.norm(dim=2) * other.norm(dim=2)
    correlation = (one * other).sum(2) / length.clamp_min(1e-3)
    ordered: Tensor = correlation.sort(1, descending=True).values
    return ordered[:, BLOCKS**2 // 2 - 1]


def _blocks(values: Tensor) -> Tensor:
    """``(B, S, S)`` to ``(B, 16, pixels)``, each block centred."""
    size = values.shape[-1] // BLOCKS
    values = values[:, : size * BLOCKS, : size * BLOCKS]
    cut = values.reshape(len(values), BLOCKS, size, BLOCKS, size).permute(0, 1, 3, 2, 4)
    blocks = cut.reshape(len(values), BLOCKS**2, size**2)
    return blocks - blocks.mean(2, keepdim=True)
