"""Each loss against its paper's formula, written out; value and gradient in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from selfsight.kernels import nt_xent as similarities
from selfsight.kernels.nt_xent import ON_CPU
from selfsight.losses.barlow_twins import barlow_twins_loss
from selfsight.losses.dino import dino_loss
from selfsight.losses.nt_xent import nt_xent_loss
from selfsight.losses.vicreg import vicreg_loss

SHAPES = [(2, 3), (5, 4), (16, 40), (40, 16), (30, 40), (31, 40)]
"""On both sides of each switch between the two Gram matrices."""


def embeddings(n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(n, d, generator=generator, dtype=torch.float64) for _ in range(2)]
    made[1] = 0.6 * made[0] + 0.8 * made[1] + 0.3
    return made[0].requires_grad_(), made[1].requires_grad_()


def agree(fast: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor) -> None:
    a, b = fast(*inputs), plain(*inputs)
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
    left = torch.autograd.grad(a, inputs)
    right = torch.autograd.grad(b, inputs)
    for x, y in zip(left, right, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-10)


def plain_nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """arXiv:2002.05709, eq. 1, averaged as in algorithm 1."""
    z = torch.cat([first, second])
    n = len(first)
    total = z.new_zeros(())
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        cosines = torch.stack([z[i] @ z[k] / (z[i].norm() * z[k].norm()) for k in range(2 * n)])
        weights = (cosines / temperature).exp()
        total = total - (weights[j] / (weights.sum() - weights[i])).log()
    return total / (2 * n)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [0.5, 0.05, 0.049])
def test_nt_xent(shape: tuple[int, int], temperature: float) -> None:
    agree(
        lambda a, b: nt_xent_loss(a, b, temperature),
        lambda a, b: plain_nt_xent(a, b, temperature),
        *embeddings(*shape),
    )


@pytest.mark.parametrize("temperature", [0.2, 0.02])
def test_nt_xent_over_several_blocks(temperature: float) -> None:
    first, second = embeddings(ON_CPU.block + 37, 8)

    def plain(a: Tensor, b: Tensor) -> Tensor:
        z = torch.nn.functional.normalize(torch.cat([a, b]), dim=1)
        logits = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
        partner = torch.arange(len(z)).roll(len(a))
        return torch.nn.functional.cross_entropy(logits, partner)

    agree(lambda a, b: nt_xent_loss(a, b, temperature), plain, first, second)


@pytest.mark.parametrize("rows", [24, ON_CPU.block + 37])
def test_nt_xent_backward_twice(rows: int) -> None:
    """The first backward goes on with what forward began, the second one begins anew."""
    inputs = embeddings(rows, 8)
    loss = nt_xent_loss(*inputs, 0.2)
    once = torch.autograd.grad(loss, inputs, retain_graph=True)
    again = torch.autograd.grad(loss, inputs)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


def test_nt_xent_compiled() -> None:
    inputs = [z.float().detach().requires_grad_() for z in embeddings(ON_CPU.block + 37, 8)]
    compiled = torch.compile(nt_xent_loss, fullgraph=True, backend="aot_eager")
    wanted, got = nt_xent_loss(*inputs, 0.2), compiled(*inputs, 0.2)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(got, inputs), torch.autograd.grad(wanted, inputs)
    )


@pytest.mark.parametrize("wanted", [True, False])
def test_nt_xent_makes_a_gradient_only_where_one_is_wanted(
    wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Work(similarities._Work):
        def __init__(self, z: Tensor, partners: Tensor, *, gradient: bool) -> None:
            super().__init__(z, partners, gradient=gradient)
            made.append(self)

    monkeypatch.setattr(similarities, "_Work", Work)
    with torch.set_grad_enabled(wanted):
        nt_xent_loss(*embeddings(24, 8))
    assert [work.gradient is not None for work in made] == [wanted]
    assert not made[0].rooms and made[0].factors is None  # nothing is left for backward to use


def test_nt_xent_is_finite_at_tiny_temperatures() -> None:
    first, second = (z.float().detach().requires_grad_() for z in embeddings(64, 8))
    loss = nt_xent_loss(first, second, 0.005)
    loss.backward()
    assert loss.isfinite() and first.grad is not None and first.grad.isfinite().all()


def plain_barlow(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """arXiv:2103.03230, eq. 1 and 2 on embeddings centred along the batch."""
    a, b = first - first.mean(0), second - second.mean(0)
    c = torch.empty(a.shape[1], a.shape[1], dtype=a.dtype)
    c = (a.T @ b) / ((a**2).sum(0).sqrt()[:, None] * (b**2).sum(0).sqrt()[None, :])
    total = c.new_zeros(())
    for i in range(len(c)):
        for j in range(len(c)):
            total = total + ((1 - c[i, i]) ** 2 if i == j else weight * c[i, j] ** 2)
    return total


@pytest.mark.parametrize("shape", SHAPES)
def test_barlow_twins(shape: tuple[int, int]) -> None:
    agree(
        lambda a, b: barlow_twins_loss(a, b, 0.02, eps=0.0)["loss"],
        lambda a, b: plain_barlow(a, b, 0.02),
        *embeddings(*shape),
    )


def plain_vicreg(first: Tensor, second: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """arXiv:2105.04906, eq. 1-6; eq. 5 over N and D, eq. 1 averaged over the two views."""
    n, d = first.shape
    s = sum(((a - b) ** 2).sum() for a, b in zip(first, second, strict=True)) / (n * d)
    v, c = first.new_zeros(()), first.new_zeros(())
    for z in (first, second):
        deviations = torch.stack([(z[:, j].var() + 1e-4).sqrt() for j in range(d)])
        v = v + torch.clamp(1 - deviations, min=0).sum() / d / 2
        covariance = sum(torch.outer(row, row) for row in z - z.mean(0)) / (n - 1)
        c = c + (covariance**2).sum() / d - (covariance.diagonal() ** 2).sum() / d
    return weights[0] * s + weights[1] * v + weights[2] * c


@pytest.mark.parametrize("shape", SHAPES)
def test_vicreg(shape: tuple[int, int]) -> None:
    weights = (25.0, 25.0, 1.5)
    agree(
        lambda a, b: vicreg_loss(a, b, *weights)["loss"],
        lambda a, b: plain_vicreg(a, b, weights),
        *embeddings(*shape),
    )


def plain_dino(student: list[Tensor], teacher: list[Tensor], centre: Tensor) -> Tensor:
    """arXiv:2104.14294, eq. 1-3 and algorithm 1, over pairs of different views."""
    terms = []
    for t, taught in enumerate(teacher):
        p = ((taught - centre) / 0.06).softmax(1).detach()
        for s, said in enumerate(student):
            if s != t:
                terms.append(-(p * (said / 0.1).log_softmax(1)).sum(1).mean())
    return sum(terms, torch.zeros((), dtype=centre.dtype)) / len(terms)


@pytest.mark.parametrize("local", [0, 1, 6])
def test_dino(local: int) -> None:
    generator = torch.Generator().manual_seed(local)
    views = [torch.randn(7, 11, generator=generator).double() for _ in range(4 + local)]
    teacher, student = views[:2], [view.requires_grad_() for view in views[2:]]
    centre = torch.randn(1, 11, generator=generator).double()
    agree(
        lambda *s: dino_loss(s, teacher, centre, 0.1, 0.06),
        lambda *s: plain_dino(list(s), teacher, centre),
        *student,
    )


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: nt_xent_loss(a, b, 0.2),
        lambda a, b: barlow_twins_loss(a, b)["loss"],
        lambda a, b: vicreg_loss(a, b)["loss"],
    ],
    ids=["nt_xent", "barlow_twins", "vicreg"],
)
@pytest.mark.parametrize("shape", [(64, 256), (256, 64)])
def test_fp32_stays_close_to_float64(
    loss: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, int]
) -> None:
    exact = embeddings(*shape)
    single = [z.detach().float().requires_grad_() for z in exact]
    a, b = loss(*exact), loss(*single)
    torch.testing.assert_close(b.double(), a, rtol=1e-5, atol=0)
    for x, y in zip(torch.autograd.grad(a, exact), torch.autograd.grad(b, single), strict=True):
        assert (x - y).norm() < 1e-4 * x.norm()
