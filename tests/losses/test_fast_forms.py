"""The fast losses against their plain forms over random shapes, precisions and autocast."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from selfsight.kernels import gram
from selfsight.kernels import nt_xent as similarities
from selfsight.losses.barlow_twins import barlow_twins_loss
from selfsight.losses.dino import dino_loss
from selfsight.losses.nt_xent import nt_xent_loss
from selfsight.losses.vicreg import vicreg_loss

Loss = Callable[..., Tensor]
CLOSE = {torch.float64: 1e-10, torch.float32: 1e-4}
COUNTS, WIDTHS, SEEDS = st.integers(2, 48), st.integers(2, 48), st.integers(0, 10_000)
DTYPES = st.sampled_from([torch.float64, torch.float32])


def plain_nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    z = F.normalize(torch.cat([first, second]), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(first)))


def plain_barlow(first: Tensor, second: Tensor) -> Tensor:
    a, b = ((z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt() for z in (first, second))
    c = a.T @ b / len(a)
    off = c.square().sum() - c.diagonal().square().sum()
    return (1 - c.diagonal()).square().sum() + 5e-3 * off


def plain_vicreg(first: Tensor, second: Tensor) -> Tensor:
    total = 25 * F.mse_loss(first, second)
    for z in (first, second):
        centred = z - z.mean(0)
        covariance = centred.T @ centred / (len(z) - 1)
        off = covariance - torch.diag(covariance.diagonal())
        total = total + off.square().sum() / z.shape[1]
        total = total + 12.5 * F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean()
    return total


def plain_dino(student: list[Tensor], teacher: list[Tensor], centre: Tensor) -> Tensor:
    terms = [
        -(((t - centre) / 0.05).softmax(1) * (s / 0.1).log_softmax(1)).sum(1).mean()
        for i, t in enumerate(teacher)
        for j, s in enumerate(student)
        if i != j
    ]
    return torch.stack(terms).mean()


def drawn(count: int, n: int, d: int, seed: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(n, d, generator=generator, dtype=torch.float64)
    views = [
        (base + torch.randn(n, d, generator=generator, dtype=torch.float64)) for _ in range(count)
    ]
    return [view.to(dtype) for view in views]


def value_and_gradient(loss: Loss, inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    value = loss(*leaves)
    gradients = torch.autograd.grad(value, leaves)
    return value.detach().double(), torch.cat([g.flatten() for g in gradients]).double()


def agree(fast: Loss, plain: Loss, inputs: list[Tensor], floor: float = 1e-2) -> None:
    """fp32 is held against the plain form in float64: what it ought to be.

    Args:
        fast: the form in the package.
        plain: the definition.
        inputs: embeddings.
        floor: what lies below it is rounding of larger numbers, and is held against it.
    """
    close = CLOSE[inputs[0].dtype]
    value, gradient = value_and_gradient(fast, inputs)
    wanted, slope = value_and_gradient(plain, [x.double() for x in inputs])
    assert (value - wanted).abs() <= close * wanted.abs().clamp_min(floor)
    assert (gradient - slope).norm() <= close * slope.norm().clamp_min(floor)


@given(
    COUNTS,
    WIDTHS,
    SEEDS,
    DTYPES,
    st.sampled_from([0.5, 0.1, 0.05, 0.049]),
    st.sampled_from([similarities.Tiling(block=8, least=4, strip=3), similarities.ELSEWHERE]),
)
@settings(deadline=None, max_examples=60)
def test_nt_xent(
    n: int, d: int, seed: int, dtype: torch.dtype, temperature: float, tiling: similarities.Tiling
) -> None:
    """Blocks so small that few rows are several groups, the last one not full; and all in one."""
    before, similarities.ON_CPU = similarities.ON_CPU, tiling
    try:
        agree(
            lambda a, b: nt_xent_loss(a, b, temperature),
            lambda a, b: plain_nt_xent(a, b, temperature),
            drawn(2, n, d, seed, dtype),
            floor=0.1,  # differences of numbers as large as 1 / 0.05
        )
    finally:
        similarities.ON_CPU = before


@given(COUNTS, WIDTHS, SEEDS, DTYPES)
@settings(deadline=None, max_examples=40)
def test_barlow_twins(n: int, d: int, seed: int, dtype: torch.dtype) -> None:
    """Strips of 8 rows; a batch of more than 3/4 of the width takes the other product."""
    # Two or three images standardise to almost +-1: their gradient is rounding alone.
    with strips_of(8):
        agree(
            lambda a, b: barlow_twins_loss(a, b)["loss"],
            plain_barlow,
            drawn(2, n + 6, d, seed, dtype),
        )


@given(COUNTS, WIDTHS, SEEDS, DTYPES)
@settings(deadline=None, max_examples=40)
def test_vicreg(n: int, d: int, seed: int, dtype: torch.dtype) -> None:
    with strips_of(8):
        agree(lambda a, b: vicreg_loss(a, b)["loss"], plain_vicreg, drawn(2, n, d, seed, dtype))


@given(st.integers(1, 6), st.integers(2, 40), st.integers(0, 3), SEEDS, DTYPES)
@settings(deadline=None, max_examples=40)
def test_dino(n: int, k: int, local: int, seed: int, dtype: torch.dtype) -> None:
    made = drawn(5 + local, n, k, seed, dtype)
    centre, teacher, student = made[0].mean(0, keepdim=True), made[1:3], made[3:]
    agree(
        lambda *s: dino_loss(s, teacher, centre, 0.1, 0.05),
        lambda *s: plain_dino(list(s), [t.double() for t in teacher], centre.double()),
        student,
        floor=1.0,  # probabilities are subtracted and divided by 0.1
    )


class strips_of:  # noqa: N801 (reads as a phrase)
    """Narrower strips, so that small matrices have several."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __enter__(self) -> None:
        self.before, gram.STRIP = gram.STRIP, self.rows

    def __exit__(self, *error: object) -> None:
        gram.STRIP = self.before


LOSSES: dict[str, Loss] = {
    "nt_xent": lambda a, b: nt_xent_loss(a, b, 0.2),
    "nt_xent below 0.05": lambda a, b: nt_xent_loss(a, b, 0.04),
    "barlow_twins": lambda a, b: barlow_twins_loss(a, b)["loss"],
    "vicreg": lambda a, b: vicreg_loss(a, b)["loss"],
    "dino": lambda a, b: dino_loss([a, b], [a, b], torch.zeros(1, a.shape[1])),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(24, 90), (90, 24)])
def test_autocast_changes_nothing(name: str, shape: tuple[int, int]) -> None:
    """A loss inside an autocast region is what it is outside."""
    inputs = drawn(2, *shape, 0, torch.float32)
    value, gradient = value_and_gradient(LOSSES[name], inputs)

    def inside(*views: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            assert (views[0] @ views[1].T).dtype == torch.bfloat16
            return LOSSES[name](*views)

    again, slope = value_and_gradient(inside, inputs)
    assert torch.equal(again, value)
    assert torch.equal(slope, gradient)
    with torch.autocast("cpu", torch.bfloat16):  # backward as well
        _, slope = value_and_gradient(LOSSES[name], inputs)
    assert torch.equal(slope, gradient)


@pytest.mark.parametrize("name", LOSSES)
def test_half_embeddings_are_widened(name: str) -> None:
    inputs = [x.bfloat16() for x in drawn(2, 12, 20, 0, torch.float32)]
    value = LOSSES[name](*inputs)
    assert value.dtype == torch.float32
    assert torch.equal(value, LOSSES[name](*(x.float() for x in inputs)))
