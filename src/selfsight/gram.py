"""Squared Frobenius norms of products, from the smaller of the two Gram matrices.

``||A'B||_F^2 = <AA', BB'>_F`` and ``||A'A||_F^2 = ||AA'||_F^2``: with fewer rows than columns the
N x N side is cheaper than the D x D side. Rows are summed in the input's precision, then added in
float64: one fp32 sum over all entries would lose four digits to cancellation in the callers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def sum_of_squares_between(a: Tensor, b: Tensor) -> Tensor:
    """``||A'B||_F^2`` of two ``(N, D)`` tensors: 0-d, float64, differentiable once."""
    if 4 * a.shape[0] < 3 * a.shape[1]:
        total: Tensor = _Between.apply(a, b)  # type: ignore[no-untyped-call]
        return total
    return _summed((a.T @ b).square())


def sum_of_squares_within(a: Tensor) -> Tensor:
    """``||A'A||_F^2`` of an ``(N, D)`` tensor: 0-d, float64, differentiable once."""
    total: Tensor = _Within.apply(a)  # type: ignore[no-untyped-call]
    return total


def _summed(squares: Tensor) -> Tensor:
    return squares.sum(1).double().sum()


class _Between(torch.autograd.Function):
    """Both Gram matrices are symmetric, so each gradient is one product instead of two."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        left, right = a @ a.T, b @ b.T
        ctx.save_for_backward(a, b, left, right)
        return _summed(left * right)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        a, b, left, right = ctx.saved_tensors
        scale = 2.0 * grad.to(a.dtype)
        return (right @ a).mul_(scale), (left @ b).mul_(scale)


class _Within(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        small = a @ a.T if a.shape[0] < a.shape[1] else a.T @ a
        ctx.save_for_backward(a, small)
        return _summed(small.square())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        a, small = ctx.saved_tensors
        out = small @ a if a.shape[0] < a.shape[1] else a @ small
        return out.mul_(4.0 * grad.to(a.dtype))
