"""Squared sums from the smaller Gram matrix equal the plain product, value and gradient."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfsight.gram import sum_of_squares_between, sum_of_squares_within

sides = st.integers(1, 24)


@given(sides, sides, st.integers(0, 1000))
@settings(deadline=None)
def test_equal_to_the_plain_form(n: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = (
        torch.randn(n, d, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(2)
    )
    pairs = [
        (sum_of_squares_between(a, b), (a.T @ b).square().sum()),
        (sum_of_squares_within(a), (a.T @ a).square().sum()),
    ]
    for fast, plain in pairs:
        torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-10)
        inputs = (a, b) if fast is pairs[0][0] else (a,)
        left = torch.autograd.grad(3 * fast, inputs)
        right = torch.autograd.grad(3 * plain, inputs)
        for x, y in zip(left, right, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-10)
