"""Gram matrices and products by blocks equal the plain ones, whatever the layout."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from selfsight.kernels import gram
from selfsight.kernels.gram import smaller_gram, summed, summed_squares, times_transposed

sides = st.integers(1, 24)


@given(sides, sides, st.integers(0, 1000))
@settings(deadline=None)
def test_both_grams_have_one_norm(n: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d, generator=generator, dtype=torch.float64)
    small = smaller_gram(a)
    assert len(small) == min(n, d)
    plain = (a.T @ a).square().sum()
    torch.testing.assert_close(summed_squares(small), plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(300, 700), (700, 300)])
def test_strips_of_a_gram_matrix(shape: tuple[int, int]) -> None:
    """More rows than a strip, and the transposed side, whose strips would have gaps."""
    a = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    plain = a @ a.T if shape[0] < shape[1] else a.T @ a
    torch.testing.assert_close(smaller_gram(a), plain, rtol=1e-4, atol=1e-3)


def test_gaps_between_rows_do_not_reach_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reference code would take them, 500 times slower."""
    calls = 0

    def linear(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return a @ b.T

    if gram.product_for(torch.ones(1, 1), ours=True) is F.linear:
        pytest.skip("this build of torch has no product by oneDNN")
    monkeypatch.setattr(gram, "tuning", lambda: True)
    monkeypatch.setattr(F, "linear", linear)
    whole = torch.randn(40, 60, generator=torch.Generator().manual_seed(0))
    dense, gaps = whole[:, :30].contiguous(), whole[:, :30]
    for a, b, expected in (
        (dense, dense, 0),
        (dense.T, dense.T, 0),
        (gaps, dense, 1),
        (dense, gaps, 1),
        (gaps.T, gaps.T, 1),
    ):
        calls = 0
        torch.testing.assert_close(times_transposed(a, b), a @ b.T)
        assert calls == expected


def test_long_sums_keep_their_digits() -> None:
    values = torch.rand(300, 3000)
    exact = values.double()
    assert abs(summed(values) / exact.sum() - 1) < 1e-7
    assert abs(summed_squares(values) / exact.square().sum() - 1) < 1e-7
