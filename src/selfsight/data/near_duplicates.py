"""Near-duplicates: one picture re-encoded, brightened, mirrored, turned, cropped or marked.

1. *Candidates.* A 16 x 16 version of each image, projected to 64 numbers, is compared with the
   versions of all others in each of the eight orientations of the square; the nearest few stay.
   So do the nearest by the magnitudes of the low spatial frequencies, which a shift does not
   change.
2. *Similarity.* The two of a pair are laid on each other (see `selfsight.data.near_similarity`).
   The better half of sixteen blocks must agree, or the whole.
3. *Significance.* The two must be much more alike than either is to its other nearest images (see
   `selfsight.data.near_significance`). Digits, aligned faces and smooth textures all resemble each
   other; a fixed threshold takes them for copies. Two that are each other's least likely partner
   need less than others.

A missed pair is better than a wrong one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.console import progress
from selfsight.data.imageset import ImageSet
from selfsight.data.near_candidates import Versions
from selfsight.data.near_significance import MAX_P, MAX_P_OF_BEST, chances
from selfsight.data.near_similarity import CHUNK, agreement, level_scale, oriented, small_versions

MIN_SIDE = 16
MAX_IMAGES = 100_000
MIN_BLOCKS = 0.68
"""Correlation that the better half of the blocks must reach."""
MIN_WHOLE = 0.5
"""Correlation of the whole images without a shift that is enough as well."""
PART = 128
"""Images whose candidates are compared at once."""
ALIKE = 0.5
"""Share of images with a similar one above which a set may be too uniform to search."""

FEW = 2
"""Similar images that an image of which there are copies may have."""

MIN_LONE = 0.8
"""Correlation that is enough for two images with no more than that, whatever their neighbours."""

CROWDED = 0.1
"""Share of the images with a similar one that have more than a few, above which all is a crowd."""

MIN_CLEAR = 0.75
"""Share of the images with a similar one that have a significantly similar one in a set that is
searched although most images have a similar one: a set of copies."""


@dataclass(frozen=True)
class NearPairs:
    """Pairs of rows, most similar first.

    Attributes:
        rows: ``(P, 2)`` int64, first < second.
        similarity: ``(P,)`` float32, the larger of the correlations by blocks and as a whole.
        notes: what was not searched.
    """

    rows: NDArray[np.int64]
    similarity: NDArray[np.float32]
    notes: tuple[str, ...] = ()


def near_duplicates(images: ImageSet, rows: NDArray[np.int64], seed: int = 0) -> NearPairs:
    """The near-duplicates among the rows, which must hold no blank images.

    Images below 16 pixels are too small to compare; above 100,000 images a random draw is searched.

    Args:
        images: of any form.
        rows: that are compared with each other.
        seed: of the draw.
    """
    notes = _too_small(images)
    if notes or len(rows) < 2:
        return _no_pairs(notes)
    rows, notes = _drawn(rows, seed)
    pairs, similarity, more = _search(_versions([(images, np.sort(rows))]), None)
    return NearPairs(np.sort(rows)[pairs], similarity, (*notes, *more))


def near_between(
    first: ImageSet,
    rows: NDArray[np.int64],
    second: ImageSet,
    others: NDArray[np.int64],
    seed: int = 0,
) -> NearPairs:
    """Near-duplicates of rows of one set among rows of another, neither of them blank.

    Args:
        first: a set.
        rows: of it.
        second: a set of the same form; it may be the first.
        others: rows of it; above 100,000 a random draw is searched.
        seed: of the draw.

    Returns:
        Pairs of a row of the first set and a row of the second.
    """
    notes = _too_small(first)
    if notes or not len(rows) or not len(others):
        return _no_pairs(notes)
    others, notes = _drawn(others, seed)
    pairs, similarity, more = _search(_versions([(first, rows), (second, others)]), len(rows))
    both = np.stack([rows[pairs[:, 0]], others[pairs[:, 1] - len(rows)]], axis=1)
    return NearPairs(both, similarity, (*notes, *more))


def _no_pairs(notes: tuple[str, ...]) -> NearPairs:
    return NearPairs(np.empty((0, 2), np.int64), np.empty(0, np.float32), notes)


def _too_small(images: ImageSet) -> tuple[str, ...]:
    if min(images.height, images.width) >= MIN_SIDE:
        return ()
    return (f"Images below {MIN_SIDE} pixels are too small to look for near-duplicates.",)


def _drawn(rows: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if len(rows) <= MAX_IMAGES:
        return rows, ()
    draw = np.random.default_rng([seed, 4]).choice(rows, MAX_IMAGES, replace=False)
    return draw, (f"Near-duplicates were looked for in a draw of {MAX_IMAGES:,} images.",)


@torch.inference_mode()
def _versions(parts: list[tuple[ImageSet, NDArray[np.int64]]]) -> Tensor:
    """``(N, 1, S, S)`` uint8: small grey versions, of side 32 or 64."""
    images, rows = parts[0]
    side = 64 if min(images.height, images.width) >= 64 else 32
    scale = level_scale(images, rows)
    return torch.cat(
        [
            small_versions(images, rows[start : start + 1024], side, scale)
            for images, rows in parts
            for start in range(0, len(rows), 1024)
        ]
    )


@torch.inference_mode()
def _search(
    small: Tensor, count: int | None
) -> tuple[NDArray[np.int64], NDArray[np.float32], tuple[str, ...]]:
    """Pairs ``(P, 2)`` of rows, most similar first, their similarity, and notes.

    A set in which most images have a similar one, and only some of these a significantly similar
    one, is given up: everything in it looks alike.

    Args:
        small: ``(N, 1, S, S)``.
        count: the first ones are compared with all after them; None: all with all.
    """
    versions = Versions(small)
    candidates = versions.candidates(count)
    order = np.random.default_rng(0).permutation(count or len(small))
    of = np.argsort(candidates[:, 0].numpy(), kind="stable")
    first = candidates[:, 0].numpy()[of]
    similar: dict[tuple[int, int], float] = {}
    unlikely: dict[tuple[int, int], float] = {}
    listed: set[tuple[int, int]] = set()
    alike, looked = 0, 0
    with progress("comparing near-duplicates", len(order)) as bar:
        for start in range(0, len(order), PART):
            part = order[start : start + PART]
            low, high = np.searchsorted(first, part), np.searchsorted(first, part, "right")
            places = [of[a:b] for a, b in zip(low, high, strict=True)]
            pairs, similarity = _similar(small, candidates[np.concatenate(places)])
            alike, looked = alike + len(np.unique(pairs[:, 0])), looked + len(part)
            chance = chances(versions, pairs)
            for pair, value, p in zip(pairs.tolist(), similarity, chance, strict=True):
                key = (min(pair[:2]), max(pair[:2]))
                similar[key] = max(similar.get(key, 0.0), float(value))
                unlikely[key] = min(unlikely.get(key, 1.0), float(p))
                if p <= MAX_P:
                    listed.add(key)
            bar.update(len(part))
            if looked < len(order) and alike > ALIKE * looked and len(listed) < 0.01 * looked:
                break
    if looked == len(order):
        listed |= _lone(similar) | _best(unlikely)
    pairs = np.array(sorted(listed), np.int64).reshape(-1, 2)
    values = np.array([similar[one, other] for one, other in pairs.tolist()], np.float32)
    by_similarity = np.argsort(-values, kind="stable")
    notes: tuple[str, ...] = ()
    paired = len(np.intersect1d(pairs, order[:looked]))
    if alike > ALIKE * looked and paired < MIN_CLEAR * alike:
        pairs, values, by_similarity = pairs[:0], values[:0], by_similarity[:0]
        notes = (
            "Most images resemble many others as much as a copy would, so near-duplicates cannot "
            "be distinguished from them and are not listed.",
        )
    return pairs[by_similarity], values[by_similarity], notes


def _lone(similar: dict[tuple[int, int], float]) -> set[tuple[int, int]]:
    """Similar pairs that need not be significant: copies come in pairs, look-alikes in crowds.

    Args:
        similar: pairs and their similarity.
    """
    partners = Counter(row for pair in similar for row in pair)
    crowded = sum(count > FEW for count in partners.values())
    if crowded > CROWDED * len(partners):
        return set()
    return {
        pair
        for pair, value in similar.items()
        if value >= MIN_LONE and max(partners[row] for row in pair) <= FEW
    }


def _best(unlikely: dict[tuple[int, int], float]) -> set[tuple[int, int]]:
    """Pairs that are the least likely by chance of both of their images, and unlikely enough.

    Args:
        unlikely: pairs and the probability of such a resemblance by chance.
    """
    least: dict[int, float] = {}
    for pair, chance in unlikely.items():
        for row in pair:
            least[row] = min(least.get(row, 1.0), chance)
    return {
        pair
        for pair, chance in unlikely.items()
        if chance <= MAX_P_OF_BEST and all(chance <= least[row] for row in pair)
    }


def _similar(small: Tensor, candidates: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Candidates ``(P, 3)`` that are similar enough, and how similar."""
    kept: list[Tensor] = [torch.empty((0, 3), dtype=torch.int64)]
    values: list[Tensor] = [torch.empty(0)]
    for orientation in range(8):
        here = candidates[candidates[:, 2] == orientation]
        for part in torch.split(here, CHUNK) if len(here) else ():
            one = oriented(small[part[:, 0]].float(), orientation)
            blocks, whole = agreement(one, small[part[:, 1]].float())
            enough = (blocks >= MIN_BLOCKS) | (whole >= MIN_WHOLE)
            kept.append(part[enough])
            values.append(torch.maximum(blocks, whole)[enough])
    return torch.cat(kept).numpy(), torch.cat(values).numpy()
