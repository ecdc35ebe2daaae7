"""Losses that draw representations of the same class together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.console import counted
from selfsight.data.imageset import TargetKind
from selfsight.kernels.precision import full_precision
from selfsight.losses.checks import check_positive, check_rows, check_weight


def same_class_weights(targets: Tensor, kind: TargetKind) -> Tensor:
    """How much two rows are of the same class: ``(M, M)`` float, symmetric, 0 on the diagonal.

    Classes: 1 where both are known and equal. Several labels: the Jaccard overlap ``|a & b| /
    |a | b|`` over the labels known in both; 1 where neither has any of those, 0 where there is
    none.

    Args:
        targets: class int64 ``(M,)``, -1 unknown; labels float ``(M, K)``, NaN unknown.
        kind: of the target: class, identity or labels.

    Raises:
        ValueError: targets of another shape.
    """
    wanted = 2 if kind == "labels" else 1
    if targets.dim() != wanted:
        letters = "(M, K)" if wanted == 2 else "(M,)"
        raise ValueError(
            f"same_class_weights: targets of kind {kind!r} must be {letters} (got "
            f"{tuple(targets.shape)})."
        )
    if kind == "labels":
        known = (~targets.isnan()).to(targets.dtype)
        has = torch.where(targets.isnan(), torch.zeros_like(targets), targets)
        both = has @ has.T
        either = has @ known.T + known @ has.T - both
        weights = torch.where(either > 0, both / either.clamp_min(1.0), torch.ones_like(both))
        weights = weights * (known @ known.T > 0).to(weights.dtype)
    else:
        same = (targets[:, None] == targets[None]) & (targets >= 0)[:, None]
        weights = same.float()
    return weights * (1.0 - torch.eye(len(weights), device=weights.device, dtype=weights.dtype))


@full_precision
def same_class_correlation_loss(
    z: Tensor, weights: Tensor, redundancy_weight: float = 5e-3, eps: float = 1e-5
) -> Tensor:
    """The objective of Barlow Twins (arXiv:2103.03230, eq. 1 and 2) over same-class pairs.

    With ``w_ij`` the weight of a pair and ``W`` their sum, the pairs are a distribution whose
    marginals give row i the probability ``p_i = sum_j w_ij / W``. Each feature is standardised
    under it, ``a_i = (z_i - mu) / sqrt(sigma^2 + eps)`` with ``mu = sum_i p_i z_i`` and ``sigma^2 =
    sum_i p_i (z_i - mu)^2``, and the cross-correlation of the two ends of a pair is ::

        C_kl = sum_ij w_ij a_ik a_jl / W
        loss = [ sum_k (1 - C_kk)^2 + lambda sum_k sum_{l != k} C_kl^2 ] / F

    The division by F keeps the weight of the term the same for any backbone.

    Args:
        z: ``(M, F)`` representations of all images and views.
        weights: ``(M, M)`` symmetric, not negative; 0 where a row is no pair (unknown, itself).
        redundancy_weight: lambda.
        eps: added to the variances.

    Returns:
        The loss, a 0-d tensor; 0, with a gradient of 0, where there is no pair.

    Raises:
        ValueError: shapes that do not match, no image, or a negative weight or eps.
    """
    _check_weights("same_class_correlation_loss", z, weights)
    check_weight("same_class_correlation_loss", "redundancy_weight", redundancy_weight)
    check_weight("same_class_correlation_loss", "eps", eps)
    weights = weights.to(z.dtype)
    total = weights.sum()
    pairs = total.clamp_min(torch.finfo(z.dtype).tiny)
    share = weights.sum(1) / pairs
    centred = z - share @ z
    a = centred * torch.rsqrt(share @ centred.square() + eps)
    cross = a.T @ (weights @ a) / pairs
    diagonal = cross.diagonal()
    invariance = (1.0 - diagonal).square().sum()
    # In float64: two near sums are subtracted.
    squares = cross.square().sum(1).double().sum()
    redundancy = (squares - diagonal.double().square().sum()).to(z.dtype)
    exists = (total > 0).to(z.dtype)
    return exists * (invariance + redundancy_weight * redundancy) / z.shape[1]


@full_precision
def supcon_loss(z: Tensor, weights: Tensor, known: Tensor, temperature: float = 0.1) -> Tensor:
    """SupCon (arXiv:2004.11362, eq. 2), averaged over the rows that have a positive.

    ``L_i = -1/|P(i)| sum_{p in P(i)} log exp(z_i z_p / t) / sum_{a in A(i)} exp(z_i z_a / t)`` on
    normalised z; A(i) are the other rows with a known target. For several labels the mean over
    positives is weighted by ``weights``.

    Args:
        z: ``(M, F)``, not normalised.
        weights: ``(M, M)`` from `same_class_weights`.
        known: ``(M,)`` bool.
        temperature: t.

    Returns:
        The loss, a 0-d tensor; 0, with a gradient of 0, where there is no pair.

    Raises:
        ValueError: shapes that do not match, no image, or t not above 0.
    """
    _check_weights("supcon_loss", z, weights)
    if tuple(known.shape) != (len(z),):
        raise ValueError(
            f"supcon_loss: known {tuple(known.shape)} must say of each of the "
            f"{counted(len(z), 'row')} "
            "whether its target is known."
        )
    check_positive("supcon_loss", "temperature", temperature)
    weights = weights.to(z.dtype)
    # Cosines do not depend on the size of a row: its squares are kept in the numbers' range.
    largest = z.detach().abs().amax(1, keepdim=True)
    z = F.normalize(z / torch.where(largest > 0, largest, 1.0), dim=1)
    cosines = z @ z.T / temperature
    itself = torch.eye(len(z), device=z.device, dtype=torch.bool)
    # Finite: a row without any other known row must not give NaN.
    others = cosines.masked_fill(~known[None] | itself, -1e9)
    likelihood = cosines - others.logsumexp(1, keepdim=True)
    count = weights.sum(1)
    anchors = count > 0
    of_row = -(weights * likelihood).sum(1) / torch.where(anchors, count, torch.ones_like(count))
    kept = torch.where(anchors, of_row, torch.zeros_like(of_row))
    return kept.sum() / anchors.sum().clamp_min(1)


def _check_weights(loss: str, z: Tensor, weights: Tensor) -> None:
    check_rows(loss, "z", z)
    if not len(z):
        raise ValueError(f"{loss}: z needs one row or more; there is none.")
    if tuple(weights.shape) != (len(z), len(z)):
        raise ValueError(
            f"{loss}: weights {tuple(weights.shape)} must be ({len(z)}, {len(z)}), a weight for "
            "each pair of rows of z."
        )
