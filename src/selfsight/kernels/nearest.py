"""The rows of a bank that are most similar to each query by cosine; exact."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 64
"""Columns of the cosines are padded to a multiple of it, for maxima over blocks."""


@torch.no_grad()
def nearest(
    queries: Tensor, bank: Tensor, k: int, chunk: int | None = None, *, unit: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """The k most similar rows of the bank, some queries at a time; never an M x N matrix.

    Args:
        queries: ``(M, F)`` of any length.
        bank: ``(N, F)`` of any length.
        k: at most N.
        chunk: queries at a time; None: so many that their cosines fill 64 MiB.
        unit: the rows of the bank have length 1 already. For a single query, bringing them to
            that length takes ten times as long as the search.

    Yields:
        Cosines ``(m, k)`` and rows of the bank ``(m, k)`` of the next m queries, in no order.

    Raises:
        ValueError: k is not from 1 to N.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k: must be from 1 to {len(bank)}, the rows of the bank (got {k}).")
    if not len(queries):
        yield queries.new_zeros(0, k), torch.zeros(0, k, dtype=torch.int64, device=queries.device)
        return
    queries = F.normalize(queries, dim=1)
    bank = bank if unit else F.normalize(bank, dim=1)
    rows = min(chunk or max(16, (1 << 24) // len(bank)), len(queries))
    # One buffer: fresh memory of this size costs as much as sorting it.
    buffer = bank.new_empty(rows, len(bank) + -len(bank) % BLOCK)
    for part in torch.split(queries, rows):
        cosines = buffer[: len(part)]
        torch.mm(part, bank.T, out=cosines[:, : len(bank)])
        cosines[:, len(bank) :] = -math.inf  # whole blocks for `largest`
        yield largest(cosines, k)


def largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row of a contiguous tensor and their columns, unsorted; exact.

    They lie in the k blocks of columns with the largest maxima. A maximum over blocks is much
    faster than a sort, and leaves few columns to sort, or to thin out again in the same way.
    """
    rows, columns = values.shape
    block = 32
    while block > 2 and (columns % block or columns // block < 4 * k):
        block //= 2
    if block == 2:
        top = values.topk(k, 1, sorted=False)
        return top.values, top.indices
    blocks = values.view(-1, block)
    maxima = blocks.amax(1).view(rows, -1)
    best = maxima.topk(k, 1, sorted=False).indices
    first = torch.arange(rows, device=values.device)[:, None] * maxima.shape[1]
    kept = blocks.index_select(0, (best + first).flatten()).view(rows, -1)
    found, place = largest(kept, k)
    return found, best.gather(1, place // block) * block + place % block
