"""Near-duplicates: one picture re-encoded, brightened, mirrored, turned, cropped or marked.

Every step works on small grey versions in which each pixel is centred and scaled by its own
neighbourhood: brightness and contrast drop out, and a watermark changes only what lies under it.

1. *Candidates.* A 16 x 16 version of each image, projected to 64 numbers, is compared with the
   versions of all others in each of the eight orientations of the square; the nearest few stay.
   So do the nearest by the magnitudes of the low spatial frequencies, which a shift does not
   change.
2. *Verification.* The two of a pair are laid on each other at every shift of up to an eighth of the
   side, as they are and enlarged by a ninth, and compared block by block. They are near-duplicates
   where the better half of sixteen blocks agrees, or where they agree as a whole without a shift,
   as they do after a strong compression.

The thresholds prefer a missed pair to a wrong one: textures of one material look alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, normalize, pad

from selfsight.console import progress
from selfsight.data.imageset import ImageSet

MIN_SIDE = 16
MAX_IMAGES = 100_000
THUMBNAIL = 16
COMPONENTS = 64
FREQUENCIES = 6
HASH = 48
MIN_HASH = 0.65
NEAREST = 5
MIN_COSINE = 0.5
BLOCKS = 4
MIN_BLOCKS = 0.68
"""Correlation that the better half of the blocks must reach."""
MIN_WHOLE = 0.5
"""Correlation of the whole images without a shift that is enough as well."""
ENLARGED = 10 / 9
"""A crop of nine tenths of the side, brought back to full size."""
CHUNK = 512
ORIENTATIONS = [(mirrored, turns) for mirrored in (False, True) for turns in range(4)]
_TYPICAL_DEVIATION = 40.0  # of a photograph, in levels of 255


@dataclass(frozen=True)
class NearPairs:
    """Pairs of rows, most similar first.

    Attributes:
        rows: ``(P, 2)`` int64, first < second.
        similarity: ``(P,)`` float32, the larger of the correlations by blocks and as a whole.
        notes: what was left out.
    """

    rows: NDArray[np.int64]
    similarity: NDArray[np.float32]
    notes: tuple[str, ...] = ()


def near_duplicates(images: ImageSet, rows: NDArray[np.int64], seed: int = 0) -> NearPairs:
    """The near-duplicates among the rows, which must hold no blank images.

    Images below 16 pixels are too small to compare; above 100,000 images a random draw is searched.
    """
    nothing = NearPairs(np.empty((0, 2), np.int64), np.empty(0, np.float32))
    notes: list[str] = []
    if min(images.height, images.width) < MIN_SIDE:
        note = f"Images below {MIN_SIDE} pixels are too small to look for near-duplicates."
        return NearPairs(nothing.rows, nothing.similarity, (note,))
    if len(rows) < 2:
        return nothing
    if len(rows) > MAX_IMAGES:
        draw = np.random.default_rng([seed, 4]).choice(rows, MAX_IMAGES, replace=False)
        notes.append(f"Near-duplicates were looked for in a draw of {MAX_IMAGES:,} images.")
        rows = np.sort(draw)
    side = 64 if min(images.height, images.width) >= 64 else 32
    with torch.inference_mode():
        scale = _scale(images, rows)
        small = torch.cat([_small(images, part, side, scale) for part in _chunks(rows, 1024)])
        pairs, similarity = _verified(small, _candidates(small))
    order = np.argsort(-similarity, kind="stable")
    return NearPairs(rows[pairs][order], similarity[order], tuple(notes))


def _chunks(values: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [values[first : first + size] for first in range(0, len(values), size)]


def _grey(images: ImageSet, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """``(B, H, W)``; channels that are no colours count by their own spread."""
    pixels = np.nan_to_num(images.pixels[rows].astype(np.float32))
    if images.channels not in (1, 3):
        spread = pixels.std(axis=(1, 2), keepdims=True)
        pixels = pixels / np.maximum(spread, 1e-12)
    grey: NDArray[np.float32] = pixels.mean(axis=3)
    return grey


def _scale(images: ImageSet, rows: NDArray[np.int64]) -> float:
    """What brings the values of the set to levels of 255."""
    if images.pixels.dtype == np.uint8 and images.channels in (1, 3):
        return 1.0
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), 256)).astype(np.int64)]
    deviation = float(np.median(_grey(images, some).std(axis=(1, 2))))
    return _TYPICAL_DEVIATION / max(deviation, 1e-30)


def _small(images: ImageSet, rows: NDArray[np.int64], side: int, scale: float) -> Tensor:
    """``(B, 1, side, side)`` uint8, the whole frame with a mean of 128."""
    values = torch.from_numpy(_grey(images, rows))[:, None]
    if values.shape[2:] != (side, side):
        values = interpolate(values, (side, side), mode="bilinear", antialias=True)
    values = (values - values.mean((2, 3), keepdim=True)) * scale + 128
    return values.round().clamp(0, 255).to(torch.uint8)


def _mean_around(values: Tensor, radius: int) -> Tensor:
    padded = pad(values, (radius, radius, radius, radius), mode="reflect")
    return avg_pool2d(padded, 2 * radius + 1, 1)


def _local(values: Tensor, radius: int, floor: float) -> Tensor:
    """Each pixel less the mean around it, over the deviation around it (plus ``floor`` levels)."""
    centred = values - _mean_around(values, radius)
    return centred / (_mean_around(centred.square(), radius).sqrt() + floor)


def _oriented(values: Tensor, orientation: int) -> Tensor:
    mirrored, turns = ORIENTATIONS[orientation]
    return torch.rot90(values.flip(-1) if mirrored else values, turns, (-2, -1))


def _enlarged(values: Tensor, factor: float) -> Tensor:
    """The middle of the frame at a larger scale, as large as the frame."""
    side = values.shape[-1]
    larger = round(side * factor)
    if larger == side:
        return values
    values = interpolate(values, (larger, larger), mode="bicubic", antialias=True)
    start = (larger - side) // 2
    return values[..., start : start + side, start : start + side]


def _thumbnails(values: Tensor) -> Tensor:
    """``(B, 1, 16, 16)``, local and bounded, so that no mark or edge outweighs the rest."""
    values = interpolate(values, (THUMBNAIL, THUMBNAIL), mode="bilinear", antialias=True)
    values = _local(values, 4, 0.5).clamp(-1.0, 1.0)
    return values - values.mean((2, 3), keepdim=True)


def _candidates(small: Tensor) -> Tensor:
    """``(P, 3)`` int64: two rows, first < second, and the orientation of the first."""
    parts = torch.split(small, 1024)
    bank = torch.cat([normalize(_thumbnails(part.float()).flatten(1), dim=1) for part in parts])
    # Halfway between the two scales that are verified: near enough to both.
    middle = 1 + (ENLARGED - 1) / 2
    asked = torch.cat([_thumbnails(_enlarged(part.float(), middle)) for part in parts])
    spread, axes = torch.linalg.eigh((bank.T @ bank).double())
    spread, axes = spread.flip(0)[:COMPONENTS], axes.flip(1)[:, :COMPONENTS]
    projection = (axes * (spread + 1e-3 * spread[0]) ** -0.25).float()
    bank = normalize(bank @ projection, dim=1)
    hashes = _whitened(torch.cat([_frequencies(part.float()) for part in parts]))
    with progress("near-duplicates", (len(ORIENTATIONS) + 1) * len(small)) as bar:
        found = [_nearest(hashes, hashes, MIN_HASH, 0, bar)]
        for orientation in range(len(ORIENTATIONS)):
            queries = normalize(_oriented(asked, orientation).flatten(1), dim=1) @ projection
            queries = normalize(queries, dim=1)
            found.append(_nearest(queries, bank, MIN_COSINE, orientation, bar))
    pairs: Tensor = torch.unique(torch.cat(found), dim=0)
    return pairs


def _nearest(queries: Tensor, bank: Tensor, least: float, orientation: int, bar: Any) -> Tensor:
    """``(P, 3)``: each query with its few nearest others, and the orientation."""
    found = []
    for first in range(0, len(queries), CHUNK):
        cosine = queries[first : first + CHUNK] @ bank.T
        here = torch.arange(len(cosine))
        cosine[here, here + first] = -1.0
        values, others = cosine.topk(min(NEAREST, len(bank) - 1), dim=1)
        row, place = (values >= least).nonzero(as_tuple=True)
        pair = torch.stack([row + first, others[row, place]], dim=1)
        found.append(torch.cat([pair, torch.full((len(pair), 1), orientation)], dim=1))
        bar.update(len(cosine))
    return torch.cat(found)


def _frequencies(small: Tensor) -> Tensor:
    """``(B, 11 * 6)``: magnitudes of the low frequencies under a window, of unit length."""
    small = small if small.shape[-1] == 32 else avg_pool2d(small, small.shape[-1] // 32)
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


def _verified(small: Tensor, candidates: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Pairs ``(P, 2)`` that are near-duplicates, first < second, and their similarity."""
    best: dict[tuple[int, int], float] = {}
    with progress("comparing near-duplicates", len(candidates)) as bar:
        for orientation in range(len(ORIENTATIONS)):
            here = candidates[candidates[:, 2] == orientation]
            for part in torch.split(here, CHUNK) if len(here) else ():
                first = _oriented(small[part[:, 0]].float(), orientation)
                second = small[part[:, 1]].float()
                blocks, whole = _agreement(first, second)
                kept = (blocks >= MIN_BLOCKS) | (whole >= MIN_WHOLE)
                similarity = torch.maximum(blocks, whole)[kept].tolist()
                for (one, other, _), value in zip(part[kept].tolist(), similarity, strict=True):
                    pair = (min(one, other), max(one, other))
                    best[pair] = max(best.get(pair, 0.0), value)
                bar.update(len(part))
    pairs = np.array(sorted(best), np.int64).reshape(-1, 2)
    return pairs, np.array([best[one, other] for one, other in pairs.tolist()], np.float32)


def _agreement(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """``(B,)`` correlation of the better half of the blocks, and of the whole without a shift."""
    second_local = _detail(second)
    blocks = torch.stack(
        [_block_correlation(_detail(_enlarged(first, f)), second_local) for f in (1.0, ENLARGED)]
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
