"""NT-Xent, the loss of SimCLR."""

from __future__ import annotations

import torch
from torch import Tensor

from selfsight.kernels.differentiable import transformed
from selfsight.kernels.nt_xent import BoundedNTXent, SpreadNTXent, plain_nt_xent
from selfsight.kernels.precision import full_precision
from selfsight.losses.checks import check_pair, check_positive


@full_precision
def nt_xent_loss(first: Tensor, second: Tensor, temperature: float | Tensor = 0.5) -> Tensor:
    """NT-Xent (arXiv:2002.05709, eq. 1), averaged over both directions of all pairs.

    ``l(i, j) = -log exp(s_ij / t) / sum_{k != i} exp(s_ik / t)`` with cosines ``s`` over the 2N
    embeddings of the batch. The log-sum-exp is streamed over tiles (`selfsight.kernels.nt_xent`):
    memory grows with N, not with its square. Cosines do not depend on the length of an embedding,
    however small or large; one of zeros has cosines of 0 and no gradient.

    All derivatives are exact, under `torch.func` (``grad``, ``vmap``, ``hessian``) too. A second
    derivative, a transform of `torch.func` and a learned temperature take memory that grows with
    the square of N. In fp32 the loss keeps its digits however small it is, down to 1e-38.

    Args:
        first: ``(N, D)`` embeddings of one view.
        second: ``(N, D)`` embeddings of the other view of the same images.
        temperature: t; a 0-d tensor where it is learned.

    Returns:
        The loss, a 0-d tensor, never negative.

    Raises:
        ValueError: shapes that do not match, fewer than two images, or t not above 0.
    """
    check_pair("nt_xent_loss", first, second)
    check_positive("nt_xent_loss", "temperature", temperature)
    loss: Tensor
    if transformed() or isinstance(temperature, Tensor):
        (loss,) = plain_nt_xent(first, second, temperature)
    # Cosines are bounded, so exp(s / t) needs no shift down to 0.05: it is at most 5e8.
    elif temperature >= 0.05:
        gradient = torch.is_grad_enabled() and (first.requires_grad or second.requires_grad)
        loss = BoundedNTXent.apply(  # type: ignore[no-untyped-call]
            first, second, temperature, gradient
        )
    else:
        loss = SpreadNTXent.apply(first, second, temperature)  # type: ignore[no-untyped-call]
    return loss
