"""The three terms of VICReg and their gradient, from the smaller of the two Gram matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from selfsight.kernels.gram import smaller_gram, summed_squares, times_transposed
from selfsight.kernels.precision import full_precision


class VarianceInvarianceCovariance(torch.autograd.Function):
    """The three terms; of what is made, one Gram matrix a view is kept for backward.

    With ``c`` the centred view and ``G = cc'`` (or ``c'c``, the smaller), the gradient of the
    covariance term is ``Gc`` and a factor for each column of ``c``, that of the variance term a
    factor for each column. Their columns sum to zero as those of ``c`` do: the mean adds nothing.
    """

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        n, d = first.shape
        invariance = summed_squares(first - second) / (n * d)
        spread = covariance = invariance.new_zeros(())
        kept = []
        for z in (first, second):
            mean = z.mean(0)
            centred = z - mean
            small = smaller_gram(centred)
            variance = centred.square().sum(0) / (n - 1)
            deviation = torch.sqrt(variance + eps)
            spread = spread + torch.relu(1.0 - deviation).mean() / 2
            total = summed_squares(small) / (n - 1) ** 2
            covariance = covariance + (total - variance.double().square().sum()) / d
            kept += [mean, small, variance, deviation]
        ctx.save_for_backward(first, second, *kept)
        return invariance.to(first.dtype), spread.to(first.dtype), covariance.to(first.dtype)

    @staticmethod
    @once_differentiable
    @full_precision
    def backward(
        ctx: Any, invariance: Tensor, spread: Tensor, covariance: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        first, second, *kept = ctx.saved_tensors
        n, d = first.shape
        apart = invariance * (2.0 / (n * d))
        along = covariance * (4.0 / ((n - 1) ** 2 * d))
        out = []
        for z, other, (mean, small, variance, deviation) in (
            (first, second, kept[:4]),
            (second, first, kept[4:]),
        ):
            below = (deviation < 1.0) / deviation
            factors = covariance * variance * (4.0 / ((n - 1) * d))
            factors = factors + spread * below * (0.5 / ((n - 1) * d))
            # Of c = z - mean only products with z are made in full: Gc = Gz, and the rest of the
            # mean is one row.
            if n < d:
                made, row = times_transposed(small, z.T).mul_(along), mean * factors
            else:
                made = times_transposed(z, small).mul_(along)
                row = mean * factors - (mean @ small) * along
            made.addcmul_(z, apart - factors).addcmul_(other, -apart).add_(row)
            out.append(made)
        return out[0], out[1], None
