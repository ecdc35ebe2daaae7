"""The loss of Barlow Twins: the cross-correlation of two views approaches the identity."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.kernels.cross_correlation import CrossCorrelation, plain_cross_correlation
from selfsight.kernels.differentiable import transformed
from selfsight.kernels.precision import full_precision
from selfsight.losses.checks import check_pair, check_weight


@full_precision
def barlow_twins_loss(
    first: Tensor, second: Tensor, redundancy_weight: float = 5e-3, eps: float = 1e-5
) -> dict[str, Tensor]:
    """Barlow Twins (arXiv:2103.03230, eq. 1 and 2).

    ``sum_i (1 - C_ii)^2 + lambda sum_i sum_{j != i} C_ij^2`` with C the cross-correlation of the
    features over the batch. The second sum comes from ``||C||_F^2 = <Z1 Z1', Z2 Z2'>_F / N^2``
    where the batch is smaller than the embedding.

    All derivatives are exact, under `torch.func` (``grad``, ``vmap``, ``hessian``) too; a second
    derivative and a transform of `torch.func` build the D x D matrix. In fp32 a variance must fit
    the range: embeddings up to 1e18 in size.

    Args:
        first: ``(N, D)`` embeddings of one view.
        second: ``(N, D)`` embeddings of the other view of the same images.
        redundancy_weight: lambda.
        eps: added to the variances, as in the authors' batch normalisation; eq. 2 has 0.

    Returns:
        ``loss`` and its terms ``invariance`` and ``redundancy``, 0-d tensors.

    Raises:
        ValueError: shapes that do not match, fewer than two images, or a negative weight or eps.
    """
    check_pair("barlow_twins_loss", first, second)
    check_weight("barlow_twins_loss", "redundancy_weight", redundancy_weight)
    check_weight("barlow_twins_loss", "eps", eps)
    a, b = standardised(first, eps), standardised(second, eps)
    if transformed():
        invariance, redundancy = plain_cross_correlation(a, b)
    else:
        invariance, redundancy = CrossCorrelation.apply(a, b)  # type: ignore[no-untyped-call]
    return {
        "loss": invariance + redundancy_weight * redundancy,
        "invariance": invariance,
        "redundancy": redundancy,
    }


def standardised(z: Tensor, eps: float) -> Tensor:
    """Columns of ``(N, D)`` with mean 0 and (biased) variance 1."""
    # One fused operation forward and one backward. The shift changes no result and has no gradient;
    # without it the rounding of a mean that is large beside the deviation would lose digits.
    eps = max(eps, torch.finfo(z.dtype).tiny)
    return F.batch_norm(z - z.detach().mean(0), None, None, training=True, momentum=0.0, eps=eps)
