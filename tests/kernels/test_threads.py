"""Threads of torch and of BLAS around an optimiser of SciPy."""

from __future__ import annotations

import pytest
import torch
from threadpoolctl import threadpool_info

from selfsight.kernels.threads import WORTH_SHARING, beside_scipy, threads


@pytest.fixture(autouse=True)
def two_threads():  # type: ignore[no-untyped-def]
    with threads(2):
        yield


def blas() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.parametrize(("work", "inside"), [(0.0, 1), (WORTH_SHARING, 2)])
def test_blas_has_one_thread_and_torch_as_many_as_the_work_is_worth(
    work: float, inside: int
) -> None:
    before = blas()
    with beside_scipy(work):
        assert torch.get_num_threads() == inside and blas() == {1}
    assert torch.get_num_threads() == 2 and blas() == before


def test_threads_are_given_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), beside_scipy(0.0):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2
    with threads(None):
        assert torch.get_num_threads() == 2
