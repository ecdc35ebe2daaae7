"""The losses at their edges: large means, extreme scales, equal rows, low temperatures,
second derivatives and the transforms of `torch.func`. References are written in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from selfsight.distributed import all_sum
from selfsight.losses import (
    barlow_twins_loss,
    dino_loss,
    nt_xent_loss,
    same_class_correlation_loss,
    supcon_loss,
    vicreg_loss,
)

Loss = Callable[[Tensor, Tensor], Tensor]


def plain_nt_xent(temperature: float | Tensor) -> Loss:
    def loss(first: Tensor, second: Tensor) -> Tensor:
        z = torch.cat([first, second])
        lengths = z.norm(dim=1, keepdim=True)
        z = z / torch.where(lengths > 0, lengths, torch.inf)
        logits = z @ z.T / temperature
        itself = torch.eye(len(z), dtype=torch.bool)
        partner = itself.roll(len(first), 0)
        others = logits.masked_fill(itself | partner, -torch.inf).logsumexp(1)
        return F.softplus(others - logits[partner]).mean()

    return loss


def plain_barlow_twins(first: Tensor, second: Tensor) -> Tensor:
    a, b = ((z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt() for z in (first, second))
    c = a.T @ b / len(a)
    off = c - torch.diag(c.diagonal())
    return (1 - c.diagonal()).square().sum() + 5e-3 * off.square().sum()


def plain_vicreg(first: Tensor, second: Tensor) -> Tensor:
    total = 25 * (first - second).square().mean()
    for z in (first, second):
        centred = z - z.mean(0)
        covariance = centred.T @ centred / (len(z) - 1)
        off = covariance - torch.diag(covariance.diagonal())
        total = total + off.square().sum() / z.shape[1]
        total = total + 12.5 * F.relu(1 - (covariance.diagonal() + 1e-4).sqrt()).mean()
    return total


FAST: dict[str, Loss] = {
    "nt_xent": lambda a, b: nt_xent_loss(a, b, 0.2),
    "nt_xent below 0.05": lambda a, b: nt_xent_loss(a, b, 0.04),
    "barlow_twins": lambda a, b: barlow_twins_loss(a, b)["loss"],
    "vicreg": lambda a, b: vicreg_loss(a, b)["loss"],
}
PLAIN: dict[str, Loss] = {
    "nt_xent": plain_nt_xent(0.2),
    "nt_xent below 0.05": plain_nt_xent(0.04),
    "barlow_twins": plain_barlow_twins,
    "vicreg": plain_vicreg,
}
NAMES, SHAPES = list(FAST), [(6, 9), (9, 6)]


def drawn(n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    base, first, second = torch.randn(3, n, d, generator=generator, dtype=torch.float64)
    return base + 0.5 * first, base + 0.5 * second


def value_and_slopes(loss: Loss, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    leaves = [z.detach().clone().requires_grad_() for z in (first, second)]
    value = loss(*leaves)
    slopes = torch.autograd.grad(value, leaves)
    return value.detach().double(), torch.cat([s.flatten() for s in slopes]).double()


def apart(a: Tensor, b: Tensor, floor: float = 0.0) -> float:
    return float((a - b).norm() / b.norm().clamp_min(max(floor, 1e-300)))


@pytest.mark.parametrize("name", ["barlow_twins", "vicreg"])
@pytest.mark.parametrize("mean", [100.0, 1_000.0, 10_000.0])
@pytest.mark.parametrize("shape", [(32, 64), (64, 16)])
def test_large_means_cost_no_digits(name: str, mean: float, shape: tuple[int, int]) -> None:
    """fp32 features whose mean is up to 10,000 deviations, beside float64 on the same numbers."""
    first, second = ((z + mean).float() for z in drawn(*shape))
    value, slopes = value_and_slopes(FAST[name], first, second)
    wanted, exact = value_and_slopes(PLAIN[name], first.double(), second.double())
    assert apart(value, wanted) < 1e-6
    assert apart(slopes, exact) < 1e-6


def test_large_means_between_classes_cost_few_digits() -> None:
    first, _ = drawn(12, 8)
    labels = torch.arange(12) % 3
    weights = (labels[:, None] == labels).double() - torch.eye(12, dtype=torch.float64)

    def loss(z: Tensor, _: Tensor) -> Tensor:
        return same_class_correlation_loss(z, weights)

    z = (first + 1_000.0).float()
    value, slopes = value_and_slopes(lambda a, b: loss(a, b) + 0 * b.sum(), z, z)
    wanted, exact = value_and_slopes(lambda a, b: loss(a, b) + 0 * b.sum(), z.double(), z.double())
    assert apart(value, wanted) < 1e-4
    assert apart(slopes, exact) < 1e-4


def penalty(loss: Loss, first: Tensor, second: Tensor | None) -> Tensor:
    """The gradient, by a weight, of a gradient penalty on the input above that weight."""
    weight = (torch.eye(first.shape[1], dtype=torch.float64) + 0.1).requires_grad_()
    x = first.clone().requires_grad_()
    a = (x @ weight).tanh()
    b = a if second is None else (second @ weight).tanh()
    value = (loss(a, b) + loss(2 * b, a)) ** 2
    (slope,) = torch.autograd.grad(value, x, create_graph=True)
    (found,) = torch.autograd.grad(slope.square().sum(), weight)
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("twice", [False, True], ids=["two views", "one tensor twice"])
def test_gradient_penalties_from_upstream(name: str, shape: tuple[int, int], twice: bool) -> None:
    first, second = drawn(*shape)
    other = None if twice else second
    found, exact = (penalty(form[name], first, other) for form in (FAST, PLAIN))
    assert apart(found, exact) < 1e-9


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(4, 5), (5, 4)])
def test_finite_differences(name: str, shape: tuple[int, int]) -> None:
    inputs = [z.requires_grad_() for z in drawn(*shape)]
    assert torch.autograd.gradcheck(FAST[name], inputs)
    assert torch.autograd.gradgradcheck(FAST[name], inputs)


JIT = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
"""torch's own forward mode uses it."""


@JIT
@pytest.mark.parametrize("name", NAMES)
def test_torch_func(name: str) -> None:
    first, second = drawn(6, 5)
    fast, plain = FAST[name], PLAIN[name]
    close = {"rtol": 1e-9, "atol": 1e-9}
    for transform in (torch.func.grad, torch.func.hessian, torch.func.jacfwd):
        torch.testing.assert_close(
            transform(fast)(first, second), transform(plain)(first, second), **close
        )
    first[0] = 0.0  # the gradient of a row of zeros is one convention in both forms
    _, slopes = value_and_slopes(fast, first, second)
    torch.testing.assert_close(slopes[:30].view(6, 5), torch.func.grad(fast)(first, second))
    stacks = torch.stack([first, second]), torch.stack([second, 2 * first])
    slopes = torch.func.vmap(torch.func.grad(fast))(*stacks)
    for row in range(2):
        exact = torch.func.grad(plain)(stacks[0][row], stacks[1][row])
        torch.testing.assert_close(slopes[row], exact, **close)
    assert fast(first.to("meta"), second.to("meta")).shape == ()


def dino_views(n: int = 4, k: int = 7) -> tuple[list[Tensor], list[Tensor], Tensor]:
    views = [z for seed in range(3) for z in drawn(n, k, seed)]
    return [v.requires_grad_() for v in views[:3]], views[3:5], views[5].mean(0)


def plain_dino(student: list[Tensor], teacher: list[Tensor], centre: Tensor) -> Tensor:
    terms = [
        -(((t - centre) / 0.04).softmax(1) * (s / 0.1).log_softmax(1)).sum(1).mean()
        for i, t in enumerate(teacher)
        for j, s in enumerate(student)
        if i != j
    ]
    return torch.stack(terms).mean()


@JIT
def test_dino_checks_its_gradient_and_has_all_derivatives_under_torch_func() -> None:
    student, teacher, centre = dino_views()

    def loss(*views: Tensor) -> Tensor:
        return dino_loss(list(views), teacher, centre)

    assert torch.autograd.gradcheck(loss, student)
    found = torch.func.hessian(loss)(*(s.detach() for s in student))
    exact = torch.func.hessian(lambda *s: plain_dino(list(s), teacher, centre))(
        *(s.detach() for s in student)
    )
    torch.testing.assert_close(found, exact)
    views = [[z.to("meta") for z in side] for side in (student, teacher)]
    assert dino_loss(*views, centre.to("meta")).shape == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("squared", [False, True])
def test_dino_refuses_a_second_derivative(dtype: torch.dtype, squared: bool) -> None:
    """From inputs upstream and by the loss itself, never a wrong number."""
    student, teacher, centre = dino_views()
    x = student[0].detach().to(dtype).requires_grad_()
    weight = torch.eye(7, dtype=dtype).requires_grad_()
    fixed = [t.to(dtype) for t in teacher]
    loss = dino_loss([x @ weight, (x + 1) @ weight], fixed, centre.to(dtype))
    (slope,) = torch.autograd.grad(loss**2 if squared else loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="dino_loss has no second derivative"):
        slope.square().sum().backward()


def test_dino_refuses_a_second_backward_in_fp32() -> None:
    student, teacher, centre = dino_views()
    leaves = [s.detach().float().requires_grad_() for s in student]
    loss = dino_loss(leaves, [t.float() for t in teacher], centre.float())
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="compute the loss again"):
        loss.backward()


def test_a_learned_temperature_has_its_gradient() -> None:
    first, second = drawn(6, 5)
    found, exact = (torch.tensor(t, dtype=torch.float64).requires_grad_() for t in (0.2, 0.2))
    nt_xent_loss(first, second, found).backward()
    plain_nt_xent(exact)(first, second).backward()
    torch.testing.assert_close(found.grad, exact.grad)


@pytest.mark.parametrize("temperature", [0.5, 0.2, 0.1, 0.05, 0.02, 0.01])
def test_small_nt_xent_keeps_its_digits(temperature: float) -> None:
    """fp32 pairs so close that the loss is far below 1 / 2^24, beside float64."""
    first, noise = drawn(16, 32)
    first, second = first.float(), (first + 1e-3 * noise).float()
    value, slopes = value_and_slopes(lambda a, b: nt_xent_loss(a, b, temperature), first, second)
    wanted, exact = value_and_slopes(plain_nt_xent(temperature), first.double(), second.double())
    close = 1e-6 / temperature  # an exponent of 1 / t, rounded
    assert float(value) >= 0
    assert apart(value, wanted) < close
    assert apart(slopes, exact) < 10 * close


@given(
    st.sampled_from(NAMES),
    st.integers(2, 12),
    st.integers(1, 12),
    st.integers(0, 1_000),
    st.integers(-20, 20),
    st.sampled_from(["", "equal rows", "constant rows", "rows of zeros", "equal views"]),
    st.sampled_from([torch.float32, torch.float64]),
)
@settings(deadline=None, max_examples=150)
def test_any_scale_and_any_rows(
    name: str, n: int, d: int, seed: int, power: int, rows: str, dtype: torch.dtype
) -> None:
    first, second = drawn(n, d, seed)
    if rows == "equal rows":
        first[1:] = first[0]
    elif rows == "constant rows":
        second[: n // 2 + 1] = 1.0
    elif rows == "rows of zeros":
        first[0] = 0.0
    elif rows == "equal views":
        second = first.clone()
    single = dtype == torch.float32
    limits = {"barlow_twins": 18, "vicreg": 8}  # the docstrings' range of fp32
    if single and power > limits.get(name, 20):
        return
    first, second = ((z * 10.0**power).to(dtype) for z in (first, second))
    value, slopes = value_and_slopes(FAST[name], first, second)
    wanted, exact = value_and_slopes(PLAIN[name], first.double(), second.double())
    assert value.isfinite() and slopes.isfinite().all()
    assert value >= 0
    # What lies below a floor is rounding of larger numbers: of 1, of slopes of size 1 / scale, and
    # of the powers of the deviations in a covariance.
    floor, steepest = 1.0, 10.0**-power
    if name == "vicreg":
        size = float(torch.cat([first, second]).double().abs().max())
        floor, steepest = 1.0 + d * size**4, 1.0 + d * size**3
    elif name == "barlow_twins":
        floor, steepest = float(d), d * min(10.0**-power, 400.0)  # at most 1 / sqrt(eps)
    close = 1e-4 if single else 1e-9
    assert (value - wanted).abs() <= close * max(float(wanted), floor)
    if n == 2 and name == "barlow_twins":
        return  # two images standardise to +-1: their gradient is rounding of larger numbers
    assert (slopes - exact).norm() <= close * max(float(exact.norm()), steepest)


def test_supcon_does_not_depend_on_the_scale() -> None:
    z, _ = drawn(8, 5)
    labels = torch.arange(8) % 2
    weights = (labels[:, None] == labels).double() - torch.eye(8, dtype=torch.float64)
    known = torch.ones(8, dtype=torch.bool)
    wanted = supcon_loss(z, weights, known)
    for scale in (1e-20, 1e-8, 1e8, 1e20):
        found = supcon_loss((z * scale).float(), weights, known)
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=0)


def test_all_sum_of_one_process_has_all_derivatives() -> None:
    x = torch.tensor(2.0, requires_grad=True)
    (slope,) = torch.autograd.grad(all_sum(x**3), x, create_graph=True)
    (second,) = torch.autograd.grad(slope, x)
    assert float(second) == 12.0
