"""Squared Frobenius norms of products, from the smaller of the two Gram matrices.

``||A'A||_F^2 = ||AA'||_F^2``: with fewer rows than columns the N x N side is cheaper than the D x D
side. Rows are summed in the input's precision, then added in
float64: one fp32 sum over all entries would lose four digits to cancellation in the callers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def sum_of_squares_within(a: Tensor) -> Tensor:
    """``||A'A||_F^2`` of an ``(N, D)`` tensor: 0-d, float64, differentiable once."""
    total: Tensor = _Within.apply(a)  # type: ignore[no-untyped-call]
    return total


def summed(values: Tensor) -> Tensor:
    """The sum of a matrix: rows in its own precision, then float64."""
    return values.sum(1).double().sum()


def summed_squares(values: Tensor) -> Tensor:
    """The sum of the squares of a matrix, with no matrix of squares."""
    rows: Tensor = torch.linalg.vector_norm(values, dim=1)
    return rows.double().square().sum()


class _Within(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        small = a @ a.T if a.shape[0] < a.shape[1] else a.T @ a
        ctx.save_for_backward(a, small)
        return summed_squares(small)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        a, small = ctx.saved_tensors
        out: Tensor = small @ a if a.shape[0] < a.shape[1] else a @ small
        return out.mul_(4.0 * grad.to(a.dtype))
