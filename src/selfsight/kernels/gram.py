"""Squared Frobenius norms of products, from the smaller of the two Gram matrices.

``||A'A||_F^2 = ||AA'||_F^2``: with fewer rows than columns the N x N side is cheaper than the D x D
side. A Gram matrix is symmetric: on a CPU only the blocks on and above its diagonal are computed.
Rows are summed in the input's precision, then added in float64: one fp32 sum over all entries
would lose four digits to cancellation in the callers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.kernels.memory_pages import allowed, tuning

STRIP = 128
"""Rows of a strip of a Gram matrix on a CPU."""


def smaller_gram(a: Tensor) -> Tensor:
    """``AA'`` or ``A'A`` of an ``(N, D)`` tensor, whichever is smaller: their norms are equal."""
    return gram(a) if a.shape[0] < a.shape[1] else gram(a.T)


def summed(values: Tensor) -> Tensor:
    """The sum of a matrix: rows in its own precision, then float64."""
    return values.sum(1).double().sum()


def summed_squares(values: Tensor) -> Tensor:
    """The sum of the squares of a matrix, with no matrix of squares."""
    rows: Tensor = torch.linalg.vector_norm(values, dim=1)
    return rows.double().square().sum()


def gram(a: Tensor) -> Tensor:
    """``(N, N)`` products of the rows of ``(N, D)``; symmetric to the last bit on a CPU."""
    n = len(a)
    if a.device.type != "cpu" or n <= STRIP or torch.compiler.is_compiling():
        return a @ a.T
    a = a.contiguous()  # strips of a transposed matrix have gaps
    out = a.new_empty(n, n)
    for first in range(0, n, STRIP):
        last = min(first + STRIP, n)
        strip = times_transposed(a[first:last], a[first:])
        out[first:last, first:] = strip
        out[last:, first:last] = strip[:, last - first :].T
    return out


def times_transposed(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.T``; in a training of selfsight by oneDNN where this build of torch has it.

    Args:
        a: ``(N, K)``.
        b: ``(M, K)``.
    """
    return product_for(a, ours=tuning())(a, b)


def product_for(like: Tensor, *, ours: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """What `times_transposed` takes for tensors like this one; `F.linear` where in doubt.

    oneDNN against the BLAS behind `F.linear` on one AVX-512 core of an AMD EPYC: 1.1 to 1.2 times
    as fast on square products, three times where ``a`` has ten rows. The call is a private one of
    torch, so it stays inside trainings and fits of selfsight (`selfsight.kernels.memory_pages`).

    Args:
        like: one of the tensors.
        ours: whether the product is part of a training or a fit of selfsight.
    """
    plain = like.device.type != "cpu" or like.dtype != torch.float32
    if plain or torch.compiler.is_compiling() or not (ours and allowed()):
        return F.linear
    if not _onednn():
        return F.linear
    onednn = torch.ops.mkldnn._linear_pointwise

    def product(a: Tensor, b: Tensor) -> Tensor:
        # With gaps between its rows oneDNN takes a product to its reference code: 500 times slower.
        if not (_dense(a) and _dense(b)):
            return F.linear(a, b)
        return cast(Tensor, onednn(a, b, None, "none", [], ""))

    return product


def _dense(matrix: Tensor) -> bool:
    return matrix.is_contiguous() or matrix.T.is_contiguous()


@cache
def _onednn() -> bool:
    """Whether this build of torch has the product."""
    one = torch.ones(1, 1)
    try:
        torch.ops.mkldnn._linear_pointwise(one, one, None, "none", [], "")
    except (AttributeError, RuntimeError):
        return False
    return True
