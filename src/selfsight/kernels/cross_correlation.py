"""The two terms of a cross-correlation matrix, without the matrix where it is the larger one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from selfsight.kernels.differentiable import again
from selfsight.kernels.gram import gram, summed, summed_squares, times_transposed
from selfsight.kernels.precision import full_precision


def plain_cross_correlation(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """`CrossCorrelation` from the D x D matrix."""
    c = a.T @ b / len(a)
    diagonal = c.diagonal()
    off = c - torch.diag(diagonal)
    return (1.0 - diagonal).square().sum(), off.square().sum()


class CrossCorrelation(torch.autograd.Function):
    """``sum_i (1 - C_ii)^2`` and ``sum_i sum_{j != i} C_ij^2`` of ``C = A'B / N``."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        n, d = a.shape
        if 4 * n < 3 * d:
            left, right = gram(a), gram(b)
            diagonal = (a * b).sum(0).div_(n)
            redundancy = summed(left * right) / n**2 - diagonal.double().square().sum()
            redundancy.clamp_min_(0.0)
            ctx.save_for_backward(a, b, diagonal, left, right)
        else:  # nothing is subtracted: the diagonal is taken out
            c = a.T @ b
            diagonal = c.diagonal() / n
            c.diagonal().zero_()
            redundancy = summed_squares(c) / n**2
            ctx.save_for_backward(a, b, diagonal, c)
        return (1.0 - diagonal).square().sum(), redundancy.to(a.dtype)

    @staticmethod
    @full_precision
    def backward(
        ctx: Any, invariance: Tensor, redundancy: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        a, b, diagonal, *products = ctx.saved_tensors
        if torch.is_grad_enabled():
            return again(plain_cross_correlation, (a, b), (invariance, redundancy))  # type: ignore[return-value]
        n = a.shape[0]
        scale = 2.0 * redundancy / n**2
        on_diagonal = 2.0 * invariance * (diagonal - 1.0) / n
        if len(products) == 2:
            left, right = products
            on_diagonal = on_diagonal - 2.0 * redundancy * diagonal / n
            # Symmetric: right = right', left = left'.
            to_a = times_transposed(right, a.T).mul_(scale)
            to_b = times_transposed(left, b.T).mul_(scale)
        else:
            (c,) = products
            to_a = times_transposed(b, c).mul_(scale)
            to_b = times_transposed(a, c.T).mul_(scale)
        return to_a.addcmul_(b, on_diagonal), to_b.addcmul_(a, on_diagonal)
