"""The nearest rows of a bank are those of all cosines, with ties and odd sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.kernels.nearest import largest, nearest

ULPS = 2e-6
"""How far two sums of the same few hundred terms in fp32 may be apart."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
def test_the_nearest_are_those_of_all_cosines(
    kind: str, count: int, width: int, k: int, chunk: int | None
) -> None:
    bank, queries = of(kind, count, width, 0), of(kind, 40, width, 1)
    if kind == "cone":
        assert float(F.cosine_similarity(bank[:40], queries).amin()) > 0.9
    if kind == "opposite":
        assert float(F.cosine_similarity(bank[:40], queries).amax()) < 0.0
    queries[3] = bank[5] * 3.0
    assert_nearest(queries, bank, k, joined(queries, bank, k, chunk))


@pytest.mark.parametrize("kind", ["one point", "few points", "zeros"])
def test_ties_name_no_row_twice(kind: str) -> None:
    bank, queries = drawn(2048, 64), drawn(40, 64, seed=1)
    if kind == "one point":
        bank = torch.ones(2048, 64)
    elif kind == "few points":
        bank = bank[:8].repeat(256, 1)
    else:
        bank = torch.zeros(2048, 64)
    assert_nearest(queries, bank, 10, joined(queries, bank, 10, 20))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_query_that_is_not_finite_spoils_no_other(value: float) -> None:
    bank, queries = drawn(2048, 64), drawn(64, 64, seed=1)
    whole, _ = joined(queries, bank, 10, 16)
    queries[17, 3] = value
    found, _ = joined(queries, bank, 10, 16)
    assert found[17].isnan().all() and found.isnan().sum() == 10
    others = torch.arange(64) != 17
    torch.testing.assert_close(found[others].sort(1)[0], whole[others].sort(1)[0])


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
