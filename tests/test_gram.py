"""Squared sums from the smaller Gram matrix equal the plain product, value and gradient."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfsight.gram import sum_of_squares_within, summed, summed_squares

sides = st.integers(1, 24)


@given(sides, sides, st.integers(0, 1000))
@settings(deadline=None)
def test_equal_to_the_plain_form(n: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d, generator=generator, dtype=torch.float64).requires_grad_()
    fast, plain = sum_of_squares_within(a), (a.T @ a).square().sum()
    torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-10)
    (left,) = torch.autograd.grad(3 * fast, a)
    (right,) = torch.autograd.grad(3 * plain, a)
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


def test_long_sums_keep_their_digits() -> None:
    values = torch.rand(300, 3000)
    exact = values.double()
    assert abs(summed(values) / exact.sum() - 1) < 1e-7
    assert abs(summed_squares(values) / exact.square().sum() - 1) < 1e-7
