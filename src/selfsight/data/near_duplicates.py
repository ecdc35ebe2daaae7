"""Near-duplicates: the same picture after a small shift, another encoding or another brightness.

Two steps, both on small grey or RGB versions of the images. A hash of 48 numbers from the
magnitudes of the low spatial frequencies (which a shift does not change) brings each image
together with its few nearest. The two of each pair are then laid on each other at every shift of
up to an eighth of the side: they are near-duplicates when values and gradients both correlate at
the best one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, normalize, pad

from selfsight.data.imageset import ImageSet

MIN_SIDE = 16
MAX_IMAGES = 100_000
FREQUENCIES = 6
HASH = 48
NEAREST = 4
MIN_HASH = 0.65
MIN_VALUES = 0.9
MIN_GRADIENTS = 0.8
CHUNK = 512


@dataclass(frozen=True)
class NearPairs:
    """Pairs of rows, most similar first.

    Attributes:
        rows: ``(P, 2)`` int64, first < second.
        similarity: ``(P,)`` float32, the smaller of the correlations of values and of gradients.
        notes: what was left out.
    """

    rows: NDArray[np.int64]
    similarity: NDArray[np.float32]
    notes: tuple[str, ...] = ()


def near_duplicates(images: ImageSet, rows: NDArray[np.int64], seed: int = 0) -> NearPairs:
    """The near-duplicates among the rows, which must hold no blank images.

    Images below 16 pixels are too small to tell; of more than 100,000 a draw is searched.
    """
    nothing = NearPairs(np.empty((0, 2), np.int64), np.empty(0, np.float32))
    notes: list[str] = []
    if min(images.height, images.width) < MIN_SIDE:
        said = f"Images below {MIN_SIDE} pixels are too small to look for near-duplicates."
        return NearPairs(nothing.rows, nothing.similarity, (said,))
    if len(rows) < 2:
        return nothing
    if len(rows) > MAX_IMAGES:
        draw = np.random.default_rng([seed, 4]).choice(rows, MAX_IMAGES, replace=False)
        notes.append(f"Near-duplicates were looked for in a draw of {MAX_IMAGES:,} images.")
        rows = np.sort(draw)
    side = 64 if min(images.height, images.width) >= 64 else 32
    with torch.inference_mode():
        small = torch.cat([_small(images, part, side) for part in _chunks(rows, 1024)])
        hashes = [_frequencies(_centred(part, 32)) for part in torch.split(small, 1024)]
        pairs = _nearest(_whitened(torch.cat(hashes)))
        scores = [
            _correlation(_centred(small[part[:, 0]], side), _centred(small[part[:, 1]], side))
            for part in _chunks(pairs, CHUNK)
        ]
    values, gradients = np.concatenate(scores).T if scores else np.empty((2, 0), np.float32)
    kept = (values >= MIN_VALUES) & (gradients >= MIN_GRADIENTS)
    similarity = np.minimum(values, gradients)[kept]
    order = np.argsort(-similarity, kind="stable")
    return NearPairs(rows[pairs[kept]][order], similarity[order], tuple(notes))


def _chunks(values: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [values[first : first + size] for first in range(0, len(values), size)]


def _small(images: ImageSet, rows: NDArray[np.int64], side: int) -> Tensor:
    """``(B, 1 or 3, side, side)`` uint8: the whole frame, each image from its least to its most."""
    pixels = images.pixels[rows].astype(np.float32)
    if images.channels not in (1, 3):
        spread = pixels.std(axis=(1, 2), keepdims=True)
        pixels = (pixels / np.maximum(spread, 1e-12)).mean(axis=3, keepdims=True)
    values = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    if values.shape[2:] != (side, side):
        values = interpolate(values, (side, side), mode="bilinear", antialias=True)
    values = values - values.amin((1, 2, 3), keepdim=True)
    values = values / values.amax((1, 2, 3), keepdim=True).clamp_min(1e-30)
    return (255 * values).round().to(torch.uint8).contiguous()


def _centred(small: Tensor, side: int) -> Tensor:
    """Float32 with mean 0, at most 1; two pixels by two are averaged where they are too many."""
    values = small.float() / 255
    values = values if values.shape[-1] == side else avg_pool2d(values, values.shape[-1] // side)
    return values - values.mean((2, 3), keepdim=True)


def _frequencies(small: Tensor) -> Tensor:
    """``(B, C * 11 * 6)``: magnitudes of the low frequencies under a window, of unit length."""
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


def _whitened(hashes: Tensor) -> Tensor:
    """The principal components ``(N, 48)``, their spread brought halfway to equal, unit length."""
    centred = hashes - hashes.mean(dim=0)
    spread, axes = torch.linalg.eigh(centred.T.double() @ centred.double() / len(hashes))
    spread, axes = spread.flip(0)[:HASH], axes.flip(1)[:, :HASH]
    scale = (spread + 1e-3 * spread[0]).clamp_min(1e-30) ** -0.25
    return normalize(centred @ (axes * scale).float(), dim=1)


def _nearest(hashes: Tensor) -> NDArray[np.int64]:
    """Pairs ``(P, 2)``, first < second, of each image and its nearest."""
    found: list[NDArray[np.int64]] = []
    for first in range(0, len(hashes), CHUNK):
        cosine = hashes[first : first + CHUNK] @ hashes.T
        here = torch.arange(len(cosine))
        cosine[here, here + first] = -1.0
        values, others = cosine.topk(min(NEAREST, len(hashes) - 1), dim=1)
        row, place = (values >= MIN_HASH).nonzero(as_tuple=True)
        found.append(torch.stack([row + first, others[row, place]], dim=1).numpy())
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _correlation(first: Tensor, second: Tensor) -> NDArray[np.float32]:
    """``(B, 2)``: correlation of values and of gradients at the shift where both are best.

    The middle of the first image (three quarters of its side) is laid on every place of the
    second; the values of each place are centred and of unit length.
    """
    values = _laid_on(first, second, centred=True)
    gradients = _laid_on(_gradients(first), _gradients(second), centred=False)
    best = (values.clamp_min(0) * gradients.clamp_min(0)).flatten(1).argmax(dim=1, keepdim=True)
    both = [score.flatten(1).gather(1, best) for score in (values, gradients)]
    return torch.cat(both, dim=1).numpy()


def _laid_on(first: Tensor, second: Tensor, *, centred: bool) -> Tensor:
    side = first.shape[-1]
    margin = side // 8
    inner, places = side - 2 * margin, 2 * margin + 1
    middle = first[:, :, margin:-margin, margin:-margin]
    if centred:
        middle = middle - middle.mean((2, 3), keepdim=True)
    length = middle.flatten(1).norm(dim=1).clamp_min(1e-6)
    spectrum = torch.fft.rfft2(pad(middle, (0, 2 * margin, 0, 2 * margin))).conj()
    product = (spectrum * torch.fft.rfft2(second)).sum(dim=1)
    product = torch.fft.irfft2(product, s=(side, side))[:, :places, :places]
    squares = _window_sums(second**2, inner)
    if centred:
        squares = squares - _window_sums(second, inner) ** 2 / inner**2
    laid: Tensor = product / (length[:, None, None] * squares.sum(dim=1).clamp_min(1e-8).sqrt())
    return laid


def _window_sums(values: Tensor, inner: int) -> Tensor:
    """Sums over every square of ``inner`` pixels a side."""
    sums = pad(values.double().cumsum(-1).cumsum(-2), (1, 0, 1, 0))
    sums = sums[..., inner:, :] - sums[..., :-inner, :]
    return (sums[..., inner:] - sums[..., :-inner]).float()


def _gradients(small: Tensor) -> Tensor:
    """Horizontal and vertical differences ``(B, 2, H, W)`` of the grey image, slightly blurred."""
    grey = pad(small.mean(dim=1, keepdim=True), (0, 1, 0, 1), mode="replicate")
    grey = (grey[..., :-1, :-1] + grey[..., 1:, :-1] + grey[..., :-1, 1:] + grey[..., 1:, 1:]) / 4
    across = pad(grey[..., 1:] - grey[..., :-1], (0, 1))
    down = pad(grey[..., 1:, :] - grey[..., :-1, :], (0, 0, 0, 1))
    return torch.cat([across, down], dim=1)
