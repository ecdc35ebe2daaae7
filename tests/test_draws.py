"""Draws: uniform, independent, and a function of their keys alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfsight.draws import (
    FIRST_VIEW_STREAM,
    METHOD_STREAMS,
    keys_of,
    normal,
    permutation,
    uniform,
)
from selfsight.views import parameters
from selfsight.views.settings import View


def test_uniform_and_uncorrelated() -> None:
    keys = keys_of(3, 7, torch.arange(20_000))
    draws = uniform(keys, 1, 12).double()
    assert abs(draws.mean() - 0.5) < 0.005
    assert abs(draws.var() * 12 - 1) < 0.02
    assert torch.corrcoef(draws.T).fill_diagonal_(0).abs().max() < 0.04
    counts = torch.histc(draws, 50, 0, 1)
    expected = draws.numel() / 50
    assert ((counts - expected) ** 2 / expected).sum() / 49 < 1.8


def test_streams_steps_and_seeds_are_independent() -> None:
    rows = torch.arange(5_000)
    sets = [
        uniform(keys_of(seed, step, rows), stream, 1)[:, 0]
        for seed, step, stream in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2**40, 0, 0)]
    ]
    correlations = torch.corrcoef(torch.stack(sets)).fill_diagonal_(0)
    assert correlations.abs().max() < 0.06


@given(st.integers(0, 2**62), st.integers(0, 2**31), st.integers(1, 40))
def test_rows_do_not_depend_on_their_batch(seed: int, step: int, n: int) -> None:
    rows = torch.arange(n)
    whole = uniform(keys_of(seed, step, rows), 5, 3)
    part = uniform(keys_of(seed, step, rows[n // 2 :]), 5, 3)
    assert torch.equal(whole[n // 2 :], part)
    assert whole.min() >= 0 and whole.max() < 1


def test_keys_differ() -> None:
    keys = torch.cat([keys_of(0, step, torch.arange(4096)) for step in range(20)])
    assert len(keys.unique()) == len(keys)
    assert keys.min() >= 0


def test_normal() -> None:
    draws = normal(keys_of(0, 0, torch.arange(50_000)), 0, 2).double()
    assert draws.isfinite().all()
    assert abs(draws.mean()) < 0.01
    assert abs(draws.std() - 1) < 0.01
    assert abs((draws**4).mean() - 3) < 0.1


def test_permutation() -> None:
    a, b = permutation(0, 0, 100), permutation(0, 1, 100)
    assert torch.equal(a.sort().values, torch.arange(100))
    assert not torch.equal(a, b)
    assert torch.equal(a, permutation(0, 0, 100))


def test_streams_of_methods_and_views_are_apart() -> None:
    """Whatever the number of the view: its streams lie above those reserved for methods."""
    used: set[int] = set()
    asked = parameters.uniform

    def noted(keys: torch.Tensor, stream: int, n: int) -> torch.Tensor:
        used.add(stream)
        return asked(keys, stream, n)

    view = View(noise=0.1, gain=0.1, channel_dropout=0.1)
    keys = keys_of(0, 0, torch.arange(4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parameters, "uniform", noted)
        for index in (0, 1, 9):
            parameters.draw(view, keys, index, 8, 8)
            parameters.draw_channels(view, keys, index, 3)
    assert used and min(used) >= FIRST_VIEW_STREAM == METHOD_STREAMS.stop


def test_no_two_steps_share_the_keys_of_shifted_rows() -> None:
    """With 32 bits of state some 24 of these pairs of steps would, shifted by a few rows."""
    rows = torch.arange(256)
    keys = torch.stack([keys_of(12345, step, rows) for step in range(20_000)])
    assert len(keys.unique()) == keys.numel()
    assert int(keys.min()) >= 0 and int(keys.max()) < 2**62
    bits = (keys[::37].flatten()[:, None] >> torch.arange(62)) & 1
    assert (bits.double().mean(0) - 0.5).abs().max() < 0.01


def test_each_word_of_a_key_depends_on_seed_step_and_row() -> None:
    """Either word alone repeats as often as chance has it, over rows, steps and seeds."""
    rows = torch.arange(20_000)
    over = [
        keys_of(0, 0, rows),
        torch.cat([keys_of(0, step, rows[:1]) for step in range(10_000)]),
        torch.cat([keys_of(seed << 31, 0, rows[:1]) for seed in range(10_000)]),
    ]
    for keys in over:
        for word in (keys & 0xFFFFFFFF, keys >> 32):
            assert len(word.unique()) > len(word) - 6  # 0.2 expected at most
