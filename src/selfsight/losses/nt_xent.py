"""NT-Xent, the loss of SimCLR."""

from __future__ import annotations

import torch
from torch import Tensor

from selfsight.kernels.nt_xent import BoundedNTXent, SpreadNTXent
from selfsight.kernels.precision import full_precision


@full_precision
def nt_xent_loss(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent (arXiv:2002.05709, eq. 1), averaged over both directions of all pairs.

    ``l(i, j) = -log exp(s_ij / t) / sum_{k != i} exp(s_ik / t)`` with cosines ``s`` over the 2N
    embeddings of the batch. The log-sum-exp is streamed over tiles (`selfsight.kernels.nt_xent`):
    memory grows with N, not with its square.

    Args:
        first: ``(N, D)`` embeddings of one view.
        second: ``(N, D)`` embeddings of the other view of the same images.
        temperature: t.

    Returns:
        The loss, a 0-d tensor.

    Raises:
        ValueError: no pair at all.
    """
    if not len(first):
        raise ValueError("nt_xent_loss needs at least one pair of embeddings; there is none.")
    # Cosines are bounded, so exp(s / t) needs no shift down to 0.05: it is at most 5e8.
    loss: Tensor
    if temperature >= 0.05:
        gradient = torch.is_grad_enabled() and (first.requires_grad or second.requires_grad)
        loss = BoundedNTXent.apply(  # type: ignore[no-untyped-call]
            first, second, temperature, gradient
        )
    else:
        loss = SpreadNTXent.apply(first, second, temperature)  # type: ignore[no-untyped-call]
    return loss
