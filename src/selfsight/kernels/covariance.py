"""The three terms of VICReg and their gradient, from the smaller of the two Gram matrices."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from selfsight.kernels.differentiable import again
from selfsight.kernels.gram import smaller_gram, summed_squares, times_transposed
from selfsight.kernels.precision import full_precision


def plain_terms(first: Tensor, second: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """`VarianceInvarianceCovariance` from the D x D matrices."""
    n, d = first.shape
    invariance = (first - second).square().mean()
    variance = covariance = invariance.new_zeros(())
    for z in (first, second):
        centred = z - z.mean(0)
        matrix = centred.T @ centred / (n - 1)
        diagonal = matrix.diagonal()
        variance = variance + torch.relu(1.0 - torch.sqrt(diagonal + eps)).mean() / 2
        covariance = covariance + (matrix - torch.diag(diagonal)).square().sum() / d
    return invariance, variance, covariance


class VarianceInvarianceCovariance(torch.autograd.Function):
    """The three terms; of what is made, one Gram matrix a view is kept for backward.

    With ``c`` the centred view, the gradient of the covariance term is ``cc'c`` (or ``c(c'c)``, by
    the smaller matrix) without what the diagonal of ``c'c`` adds, a factor for each column of
    ``c``; that of the variance term is a factor for each column. The view is centred again in
    backward: products with a mean that is large beside the deviation would lose the digits that
    count. So would the rounding of that mean: the columns of the gradient sum to zero, and what
    they sum to in fp32 is subtracted.
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
            if n < d:
                variance = centred.square().sum(0) / (n - 1)
                total = summed_squares(small) / (n - 1) ** 2
                off = (total - variance.double().square().sum()).clamp_min_(0.0)
            else:  # nothing is subtracted: the diagonal is taken out
                variance = small.diagonal() / (n - 1)
                small.diagonal().zero_()
                off = summed_squares(small) / (n - 1) ** 2
            deviation = torch.sqrt(variance + eps)
            spread = spread + torch.relu(1.0 - deviation).mean() / 2
            covariance = covariance + off / d
            kept += [mean, small, variance, deviation]
        ctx.save_for_backward(first, second, *kept)
        ctx.eps = eps
        return invariance.to(first.dtype), spread.to(first.dtype), covariance.to(first.dtype)

    @staticmethod
    @full_precision
    def backward(
        ctx: Any, invariance: Tensor, spread: Tensor, covariance: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        first, second, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():
            form, slopes = partial(plain_terms, eps=ctx.eps), (invariance, spread, covariance)
            return *again(form, (first, second), slopes), None  # type: ignore[return-value]
        n, d = first.shape
        apart = invariance * (2.0 / (n * d))
        along = covariance * (4.0 / ((n - 1) ** 2 * d))
        difference = first - second
        out = []
        for z, sign, (mean, small, variance, deviation) in (
            (first, 1.0, kept[:4]),
            (second, -1.0, kept[4:]),
        ):
            centred = z - mean
            below = (deviation < 1.0) / deviation
            factors = spread * below * (0.5 / ((n - 1) * d))
            if n < d:
                factors = factors + covariance * variance * (4.0 / ((n - 1) * d))
                made = times_transposed(small, centred.T).mul_(along)
            else:
                made = times_transposed(centred, small).mul_(along)
            made.addcmul_(centred, -factors)
            made.sub_(made.mean(0)).addcmul_(difference, apart, value=sign)
            out.append(made)
        return out[0], out[1], None
