"""Measures of representations, on tensors of any device: nearest neighbours, rank, collapse."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.kernels.nearest import nearest


@torch.no_grad()
def knn_predict(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    *,
    num_classes: int,
    k: int = 200,
    temperature: float = 0.1,
    chunk: int | None = None,
) -> Tensor:
    """Scores ``(M, num_classes)`` of the weighted nearest neighbours; each row sums to 1.

    The k neighbours of largest cosine s vote for their class with weight ``exp(s / temperature)``
    (Wu et al., arXiv:1805.01978, section 3.4). Exact; never holds an M x N matrix.

    Args:
        bank: ``(N, F)`` labelled representations.
        bank_labels: ``(N,)`` int64 in [0, num_classes).
        queries: ``(M, F)``.
        num_classes: how many classes there are.
        k: neighbours; all of the bank where it is smaller.
        temperature: of the weights.
        chunk: queries at a time; None: so many that their cosines fill 64 MiB at most.

    Raises:
        ValueError: sizes that do not match, labels out of range, or no neighbours.
    """
    _check_knn(bank, bank_labels, queries, num_classes, k, temperature)
    parts = nearest(queries, bank, min(k, len(bank)), chunk)
    votes = [vote(c, bank_labels[rows], num_classes, temperature) for c, rows in parts]
    return torch.cat(votes) if votes else queries.new_zeros(0, num_classes)


def vote(cosines: Tensor, labels: Tensor, num_classes: int, temperature: float) -> Tensor:
    """Class probabilities ``(M, num_classes)`` from neighbours with weight ``exp(s / T)``.

    Args:
        cosines: ``(M, k)``; ``-inf`` for a neighbour without a vote. Zeros where none has one.
        labels: ``(M, k)`` int64 class of each neighbour.
        num_classes: how many classes there are.
        temperature: T.
    """
    # Against the largest, which keeps exp in range at any temperature.
    best = cosines.amax(1, keepdim=True).clamp_min(-1.0)
    votes = cosines.new_zeros(len(cosines), num_classes)
    votes.scatter_add_(1, labels, ((cosines - best) / temperature).exp())
    return votes / votes.sum(1, keepdim=True).clamp_min(1e-30)


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
            (their cosine is ``-inf``): the leave-one-group-out form.
        bank_groups: ``(N,)``.
        chunk: queries at once; None: 1024, or without groups the fastest.

    Returns:
        Cosines ``(M, k)`` and rows of the bank ``(M, k)``.
    """
    cosines, rows = [], []
    if query_groups is None or bank_groups is None:
        for near, index in nearest(queries, bank, k, chunk):
            near, order = near.sort(1, descending=True)
            cosines.append(near)
            rows.append(index.gather(1, order))
    else:
        size, bank = chunk or 1024, F.normalize(bank, dim=1)
        queries = F.normalize(queries, dim=1)
        for part, own in zip(
            torch.split(queries, size), torch.split(query_groups, size), strict=True
        ):
            all_of = F.linear(part, bank).masked_fill_(own[:, None] == bank_groups, -torch.inf)
            top = all_of.topk(k, dim=1)
            cosines.append(top.values)
            rows.append(top.indices)
    return torch.cat(cosines), torch.cat(rows)


def _check_knn(
    bank: Tensor, labels: Tensor, queries: Tensor, num_classes: int, k: int, temperature: float
) -> None:
    if bank.dim() != 2 or queries.dim() != 2 or bank.shape[1] != queries.shape[1]:
        raise ValueError(
            f"bank {tuple(bank.shape)} and queries {tuple(queries.shape)} must be (N, F) and "
            "(M, F)."
        )
    if labels.shape != bank.shape[:1] or not len(bank):
        raise ValueError(
            f"bank_labels {tuple(labels.shape)} must hold one label for each of the "
            f"{len(bank)} representations in the bank, at least one."
        )
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise ValueError(
            f"bank_labels must lie in [0, {num_classes}); leave out images without a label."
        )
    if k < 1 or not temperature > 0:
        raise ValueError(f"k ({k}) must be 1 or more and temperature ({temperature}) above 0.")


@torch.no_grad()
def effective_rank(x: Tensor) -> Tensor:
    """RankMe: how many directions ``(N, F)`` representations use, 0-d float64.

    ``exp(-sum_k p_k log p_k)`` with ``p_k = sigma_k / sum(sigma) + 1e-7`` over the singular values
    (arXiv:2210.02885, equations 1 and 2), from 1 to min(N, F); NaN where a value is not finite.
    The singular values are roots of the eigenvalues of the smaller Gram matrix, in float64.
    """
    values = _spectrum(x).sqrt()
    p = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny) + 1e-7
    return (-(p * p.log()).sum()).exp()


@torch.no_grad()
def alpha_req(x: Tensor, first: int = 1, last: int | None = None) -> Tensor:
    """Decay of the eigenvalues of the covariance of ``(N, F)``, 0-d float64.

    The slope of ``-log(lambda_i)`` over ``log(i)``, by least squares (alpha-ReQ, arXiv:2202.05808):
    near 1 for representations that serve well, large for collapsed ones. Eigenvalues below 1e-12
    of the largest are rounding and are left out; NaN with fewer than two of them.

    Args:
        x: representations.
        first: the first eigenvalue that counts, from 1.
        last: the last one; None: all.
    """
    values = _spectrum(x - x.mean(0, keepdim=True)).flip(0)
    values = values[first - 1 : last]
    index = torch.arange(first, first + len(values), dtype=values.dtype, device=values.device)
    keep = values > 1e-12 * values.amax() if len(values) else values > 0
    index, values = index[keep].log(), -values[keep].log()
    index, values = index - index.mean(), values - values.mean()
    return (index * values).sum() / (index * index).sum()


def _spectrum(x: Tensor) -> Tensor:
    """Squared singular values of ``(N, F)``, ascending, float64; NaN where x is not finite."""
    x = x.double()
    gram = x.T @ x if x.shape[1] <= x.shape[0] else x @ x.T
    if not bool(gram.isfinite().all()):
        return gram.new_full(gram.shape[:1], math.nan)
    values: Tensor = torch.linalg.eigvalsh(gram)
    return values.clamp_min(0.0)


@torch.no_grad()
def alignment(x: Tensor, y: Tensor, alpha: float = 2.0) -> Tensor:
    """Mean of ``||x_i - y_i|| ** alpha`` over normalised pairs ``(N, F)``; 0-d, 0 is best.

    arXiv:2005.10242, section 4.1.1.
    """
    difference = F.normalize(x, dim=1) - F.normalize(y, dim=1)
    distance: Tensor = difference.norm(dim=1)
    return distance.pow(alpha).mean()


@torch.no_grad()
def uniformity(x: Tensor, t: float = 2.0, chunk: int = 2048) -> Tensor:
    """``log(mean(exp(-t ||x_i - x_j||^2)))`` over pairs of normalised ``(N, F)``, 0-d float64.

    arXiv:2005.10242, section 4.1.2. 0: all in one point; lower is more uniform. Never holds an
    N x N matrix; NaN with fewer than two rows.
    """
    x = F.normalize(x.double(), dim=1)
    pairs = len(x) * (len(x) - 1)
    total = x.new_zeros(())
    for rows in torch.split(x, chunk):
        total = total + (2.0 * t * (rows @ x.T - 1.0)).exp().sum()
    itself = (2.0 * t * ((x * x).sum(1) - 1.0)).exp().sum()
    return ((total - itself) / pairs).log()


@torch.no_grad()
def standard_deviation_of_normalised(x: Tensor) -> Tensor:
    """Mean over features of the deviation of L2-normalised ``(N, F)``, times sqrt(F); 0-d.

    Near 1 for representations spread over the sphere, 0 for collapsed ones (SimSiam,
    arXiv:2011.10566, section 4.1).
    """
    return F.normalize(x, dim=1).std(0, correction=0).mean() * math.sqrt(x.shape[1])
