"""Weighted nearest neighbours on representations, with the number of neighbours chosen inside the
labelled subset.

Cosine similarity and votes ``exp(similarity / temperature)`` are those of arXiv:1805.01978,
section 3.4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from selfsight.kernels.nearest import nearest

TEMPERATURE = 0.1
NEIGHBOURS = (1, 2, 5, 10, 20, 50, 100, 200)


def neighbours(
    queries: Tensor,
    bank: Tensor,
    k: int,
    *,
    query_groups: Tensor | None = None,
    bank_groups: Tensor | None = None,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The ``k`` most similar rows of the bank by cosine, most similar first.

    Args:
        queries: ``(M, F)``.
        bank: ``(N, F)``.
        k: at most ``N``.
        query_groups: ``(M,)``; with `bank_groups`, rows of a query's own group are no neighbours
            (their similarity is ``-inf``): the leave-one-group-out form.
        bank_groups: ``(N,)``.
        chunk: queries at once; None: 1024, or without groups what is fastest.

    Returns:
        Similarities ``(M, k)`` and rows of the bank ``(M, k)``.
    """
    if query_groups is None or bank_groups is None:
        found = [_sorted(*part) for part in nearest(queries, bank, k, chunk)]
    else:
        queries, bank = F.normalize(queries, dim=1), F.normalize(bank, dim=1)
        asked = torch.split(queries, chunk or 1024), torch.split(query_groups, chunk or 1024)
        found = [
            _outside(part, own, bank, bank_groups, k) for part, own in zip(*asked, strict=True)
        ]
    similarity, index = zip(*found, strict=True)
    return torch.cat(similarity), torch.cat(index)


def _sorted(similarity: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    similarity, order = similarity.sort(1, descending=True)
    return similarity, index.gather(1, order)


def _outside(
    queries: Tensor, groups: Tensor, bank: Tensor, bank_groups: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """As `neighbours`, of rows at unit length, with groups."""
    similarity = F.linear(queries, bank)
    top = similarity.masked_fill_(groups[:, None] == bank_groups, -torch.inf).topk(k, dim=1)
    return top.values, top.indices


def vote(similarity: Tensor, labels: Tensor, classes: int, temperature: float) -> Tensor:
    """Class probabilities ``(M, classes)`` from neighbours, each with weight ``exp(s / T)``.

    Args:
        similarity: ``(M, k)``, ``-inf`` for a neighbour that does not count.
        labels: ``(M, k)`` int64 class of each neighbour.
        classes: how many there are.
        temperature: T.
    """
    best = similarity[:, :1].clamp_min(-1.0)  # most similar first; keeps exp from overflowing
    weight = torch.exp((similarity - best) / temperature)
    votes = similarity.new_zeros(len(similarity), classes)
    votes.scatter_add_(1, labels, weight)
    return votes / votes.sum(1, keepdim=True).clamp_min(1e-30)


def choose_neighbours(
    bank: Tensor,
    labels: Tensor,
    groups: Tensor,
    classes: int,
    *,
    temperature: float = TEMPERATURE,
    grid: tuple[int, ...] = NEIGHBOURS,
    queries: int = 5000,
    seed: int = 0,
) -> int:
    """The number of neighbours with the best accuracy when each labelled row is left out in turn,
    together with its group; the smallest of equals.

    Args:
        bank: ``(n, F)`` representations of the labelled subset.
        labels: ``(n,)`` int64.
        groups: ``(n,)`` int64.
        classes: how many there are.
        temperature: of the votes.
        grid: numbers of neighbours tried.
        queries: a larger subset is asked at this many of its rows, drawn by `seed`.
        seed: of that draw.
    """
    largest = int(torch.bincount(groups).max())
    grid = tuple(k for k in grid if k <= len(bank) - largest) or (1,)
    rows = torch.arange(len(bank))
    if len(bank) > queries:
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(bank), generator=generator)[:queries]
    rows = rows.to(bank.device)
    similarity, index = neighbours(
        bank[rows], bank, min(max(grid), len(bank)), query_groups=groups[rows], bank_groups=groups
    )
    near = labels[index]
    right = [
        (vote(similarity[:, :k], near[:, :k], classes, temperature).argmax(1) == labels[rows])
        .sum()
        .item()
        for k in grid
    ]
    return grid[right.index(max(right))]
