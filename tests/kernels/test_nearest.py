"""The nearest rows of a bank: the same by way of bf16 as by all cosines in fp32."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.kernels import nearest as searching
from selfsight.kernels.nearest import largest, nearest

ULPS = 2e-6
"""How far two sums of the same few hundred terms in fp32 may be apart."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """bf16 whatever the sizes and the processor; for each time, whether it answered."""
    answered: list[bool] = []
    by_bound = searching._by_bound

    def noted(*given: object) -> object:
        found = by_bound(*given)  # type: ignore[arg-type]
        answered.append(found is not None)
        return found

    monkeypatch.setattr(searching, "_pays", lambda *sizes: searching._can_sample())
    monkeypatch.setattr(searching, "_by_bound", noted)
    return answered


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def of(kind: str, rows: int, width: int, seed: int) -> Tensor:
    """Representations: about nothing, behind each other, in a narrow cone, or each twice."""
    values = drawn(rows, width, seed=seed) * torch.linspace(2.0, 0.1, width)
    if kind == "cone":
        return values * 0.2 + 1.0
    if kind == "opposite":
        return (values.abs() + 0.5) * (-1.0 if seed else 1.0)
    return values.repeat(2, 1)[:rows] if kind == "twins" else values


def joined(queries: Tensor, bank: Tensor, k: int, chunk: int | None) -> tuple[Tensor, Tensor]:
    cosines, rows = zip(*nearest(queries, bank, k, chunk), strict=True)
    return torch.cat(cosines), torch.cat(rows)


def assert_nearest(queries: Tensor, bank: Tensor, k: int, found: tuple[Tensor, Tensor]) -> None:
    """Cosines are those of the rows, no row comes twice, and none that is missing is nearer."""
    cosines, rows = found
    exact = F.normalize(queries.double(), dim=1) @ F.normalize(bank.double(), dim=1).T
    torch.testing.assert_close(cosines.double(), exact.gather(1, rows), atol=ULPS, rtol=0)
    expected = exact.topk(k, 1).values
    torch.testing.assert_close(
        cosines.double().sort(1, descending=True).values, expected, atol=ULPS, rtol=0
    )
    assert all(len(set(row)) == k for row in rows.tolist())


@pytest.mark.parametrize("kind", ["plain", "cone", "opposite", "twins"])
@pytest.mark.parametrize(
    ("count", "width", "k", "chunk"),
    [(2048, 128, 1, None), (2999, 70, 10, 16), (2048, 33, 20, 7), (4097, 515, 12, None)],
)
def test_bf16_finds_the_neighbours_of_fp32(
    kind: str, count: int, width: int, k: int, chunk: int | None, tries: list[bool]
) -> None:
    bank, queries = of(kind, count, width, 0), of(kind, 40, width, 1)
    if kind == "cone":
        assert float(F.cosine_similarity(bank[:40], queries).amin()) > 0.9
    if kind == "opposite":
        assert float(F.cosine_similarity(bank[:40], queries).amax()) < 0.0
    queries[3] = bank[5] * 3.0
    assert_nearest(queries, bank, k, joined(queries, bank, k, chunk))
    assert tries and all(tries)


def test_bf16_finds_the_same_rows(tries: list[bool]) -> None:
    bank, queries = drawn(3000, 64), drawn(50, 64, seed=1)
    by_bf16 = joined(queries, bank, 20, None)[1].sort(1).values
    exact = F.normalize(queries.double(), dim=1) @ F.normalize(bank.double(), dim=1).T
    edge = exact.topk(21, 1).values
    clear = edge[:, 19] - edge[:, 20] > ULPS  # no tie that rounding may break
    assert int(clear.sum()) > 40 and all(tries)
    assert torch.equal(by_bf16[clear], exact.topk(20, 1).indices.sort(1).values[clear])


@pytest.mark.parametrize("kind", ["one point", "few points", "zeros", "fp32 apart"])
def test_what_bf16_cannot_tell_apart_is_left_to_fp32(kind: str, tries: list[bool]) -> None:
    bank, queries = drawn(2048, 64), drawn(40, 64, seed=1)
    if kind == "one point":
        bank = torch.ones(2048, 64)
    elif kind == "few points":
        bank = bank[:8].repeat(256, 1)
    elif kind == "zeros":
        bank = torch.zeros(2048, 64)
    else:
        bank, queries = 1.0 + bank * 1e-5, 1.0 + queries * 1e-5
    assert_nearest(queries, bank, 10, joined(queries, bank, 10, 20))
    assert tries == [False]


def test_a_part_that_bf16_cannot_answer_is_searched_in_fp32(tries: list[bool]) -> None:
    bank, queries = drawn(2048, 64), drawn(64, 64, seed=1)
    queries[17] = 0.0  # not among the queries that are tried first
    assert_nearest(queries, bank, 10, joined(queries, bank, 10, 16))
    assert tries == [True, True, False, True, True]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_as_without_bf16(
    value: float, tries: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, queries = drawn(2048, 64), drawn(64, 64, seed=1)
    queries[17, 3] = value
    found = [joined(queries, bank, 10, 16)[0]]
    bank[9, 2] = value
    found.append(joined(queries, bank, 10, 16)[0])
    monkeypatch.setattr(searching, "_pays", lambda *sizes: False)
    found.append(joined(queries, bank, 10, 16)[0])
    assert found[0][17].isnan().all() and found[0].isnan().sum() == 10
    torch.testing.assert_close(found[1].sort(1)[0], found[2].sort(1)[0], equal_nan=True)
    assert True in tries and False in tries


@pytest.mark.parametrize("kind", ["plain", "cone", "opposite"])
@pytest.mark.parametrize(("width", "scale"), [(16, 1.0), (300, 1.0), (300, 1e-3)])
def test_the_bound_holds(kind: str, width: int, scale: float) -> None:
    bank, queries = of(kind, 1500, width, 0), of(kind, 64, width, 1)
    bank, queries = (F.normalize(1 - scale + scale * x, dim=1) for x in (bank, queries))
    rounded = searching._Rounded(bank)
    products, bound = rounded.products(queries)
    products = products.double().T[:, : len(bank)]
    less = (queries.double() @ rounded.mean.double())[:, None]
    for cosines in ((queries @ bank.T).double(), queries.double() @ bank.double().T):
        away = (products - (cosines - less)).abs() - 2.0**-8 * products.abs()
        assert bool((away <= bound[:, None].double()).all())
    # And is narrow enough to be of use.
    if scale == 1.0:
        assert float(bound.amax()) < 0.03
    exact = queries.double() @ bank.double().T
    cut = searching._cut(searching._maxima(rounded.products(queries)[0], 3), bound, 5)
    nearest_products = products.gather(1, exact.topk(5, 1).indices)
    assert bool((nearest_products >= cut[:, None].double()).all())


def test_places_of_what_is_true() -> None:
    mask = drawn(6, 64) > 1.0
    mask[2] = False
    expected = mask.flatten().nonzero()[:, 0]
    found = searching._true(mask, len(expected))
    assert found is not None and torch.equal(found, expected)
    assert searching._true(mask, len(expected) - 1) is None
    assert searching._true(mask | True, 40) is None


def test_bf16_is_for_large_searches_in_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    def pays(m: int, n: int, width: int, k: int, kind: torch.dtype = torch.float32) -> bool:
        queries, bank = torch.empty(m, width, dtype=kind), torch.empty(n, width, dtype=kind)
        return searching._pays(queries, bank, k)

    for fast in (True, False):
        monkeypatch.setattr(searching, "fast_bf16", lambda device, fast=fast: fast)
        assert pays(1024, 2048, 128, 32) == (fast and searching._can_sample())
    monkeypatch.setattr(searching, "fast_bf16", lambda device: True)
    assert not pays(1023, 2048, 128, 32)
    assert not pays(1024, 2047, 128, 1)
    assert not pays(1024, 2048, 127, 32)
    assert not pays(1024, 2048, 128, 33)
    assert not pays(1024, 2048, 128, 32, torch.float64)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert not pays(1024, 2048, 128, 32)


@pytest.mark.parametrize("count", [2047, 2048])
def test_both_sides_of_the_switch_give_the_same(count: int) -> None:
    bank, queries = of("plain", count, 128, 0), of("plain", 1024, 128, 1)
    assert_nearest(queries, bank, 8, joined(queries, bank, 8, None))


@pytest.mark.parametrize("columns", [5, 64, 160, 999, 1024, 8192])
@pytest.mark.parametrize("k", [1, 5])
def test_the_largest_are_those_of_topk(columns: int, k: int) -> None:
    values = drawn(30, columns)
    values[0] = -1.0
    values[0, columns // 2] = 1.0
    values[1, :10] = math.inf
    found, places = largest(values, k)
    assert torch.equal(found.sort(1, descending=True).values, values.topk(k, 1).values)
    assert torch.equal(values.gather(1, places), found)
    assert all(len(set(row)) == k for row in places.tolist())


def test_what_cannot_be_asked() -> None:
    bank = torch.rand(5, 3)
    for k in (0, 6):
        with pytest.raises(ValueError, match=f"from 1 to 5.*got {k}"):
            list(nearest(bank, bank, k))
    ((cosines, rows),) = nearest(bank[:0], bank, 2)
    assert cosines.shape == rows.shape == (0, 2)
