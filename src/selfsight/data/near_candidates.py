"""Which images may be near-duplicates: the nearest few of each by two small descriptions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from selfsight.console import progress
from selfsight.data.near_similarity import (
    CHUNK,
    ENLARGED,
    ORIENTATIONS,
    enlarged,
    frequencies,
    oriented,
    thumbnails,
)

COMPONENTS = 64
HASH = 48
MIN_HASH = 0.65
NEAREST = 5
MIN_COSINE = 0.5


class Versions:
    """Small grey versions of images, with the descriptions by which they are searched.

    Attributes:
        small: ``(N, 1, S, S)`` uint8.
        asked: ``(N, 1, 16, 16)`` thumbnails of the middle, which are turned and looked up.
        bank: ``(N, 64)`` principal components of the thumbnails, of unit length.
    """

    def __init__(self, small: Tensor) -> None:
        self.small = small
        parts = torch.split(small, 1024)
        bank = torch.cat([normalize(thumbnails(part.float()).flatten(1), dim=1) for part in parts])
        # Halfway between the two scales that are compared: near enough to both.
        middle = 1 + (ENLARGED - 1) / 2
        self.asked = torch.cat([thumbnails(enlarged(part.float(), middle)) for part in parts])
        spread, axes = torch.linalg.eigh((bank.T @ bank).double())
        spread, axes = spread.flip(0)[:COMPONENTS], axes.flip(1)[:, :COMPONENTS]
        self._projection = (axes * (spread + 1e-3 * spread[0]) ** -0.25).float()
        self.bank = normalize(bank @ self._projection, dim=1)

    def queries(self, rows: Tensor | slice, orientation: int) -> Tensor:
        """``(B, 64)`` the rows in an orientation."""
        turned = oriented(self.asked[rows], orientation).flatten(1)
        return normalize(normalize(turned, dim=1) @ self._projection, dim=1)

    def candidates(self, count: int | None = None) -> Tensor:
        """``(P, 3)`` int64: two rows, and the orientation of the first.

        Args:
            count: the first ones are compared with all after them; None: all with all.
        """
        own, start = slice(0, count), count or 0
        parts = torch.split(self.small, 1024)
        hashes = _whitened(torch.cat([frequencies(part.float()) for part in parts]))
        asked = len(hashes[own])
        with progress("near-duplicates", (len(ORIENTATIONS) + 1) * asked) as bar:
            nearest = [_nearest(hashes[own], hashes[start:], MIN_HASH, 0, start, bar)]
            for orientation in range(len(ORIENTATIONS)):
                queries = self.queries(own, orientation)
                bank = self.bank[start:]
                nearest.append(_nearest(queries, bank, MIN_COSINE, orientation, start, bar))
        pairs: Tensor = torch.unique(torch.cat(nearest), dim=0)
        return pairs


def _nearest(
    queries: Tensor, bank: Tensor, least: float, orientation: int, start: int, bar: Any
) -> Tensor:
    """``(P, 3)``: each query with its few nearest others, and the orientation.

    The bank begins at row ``start``; at 0 it holds the queries themselves.
    """
    pairs = []
    for first in range(0, len(queries), CHUNK):
        cosine = queries[first : first + CHUNK] @ bank.T
        if not start:
            here = torch.arange(len(cosine))
            cosine[here, here + first] = -1.0
        values, others = cosine.topk(min(NEAREST, len(bank) - (not start)), dim=1)
        row, place = (values >= least).nonzero(as_tuple=True)
        pair = torch.stack([row + first, others[row, place] + start], dim=1)
        pairs.append(torch.cat([pair, torch.full((len(pair), 1), orientation)], dim=1))
        bar.update(len(cosine))
    return torch.cat(pairs)


def _whitened(hashes: Tensor) -> Tensor:
    """The principal components ``(N, 48)``, their spread brought halfway to equal, unit length."""
    centred = hashes - hashes.mean(dim=0)
    spread, axes = torch.linalg.eigh(centred.T.double() @ centred.double() / len(hashes))
    spread, axes = spread.flip(0)[:HASH], axes.flip(1)[:, :HASH]
    scale = (spread + 1e-3 * spread[0]).clamp_min(1e-30) ** -0.25
    return normalize(centred @ (axes * scale).float(), dim=1)
