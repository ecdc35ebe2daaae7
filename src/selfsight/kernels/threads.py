"""How many threads a computation on the CPU takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

WORTH_SHARING = 6e7
"""Multiplications and additions below which waiting for another thread costs more than it saves
(``benchmarks/threads.py``)."""


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Inside, torch computes with so many threads; None: with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def beside_scipy(work: float) -> Iterator[None]:
    """Inside, torch and an optimiser of SciPy take turns without waiting for each other's threads.

    Each has a pool of its own, whose threads spin for a while after their work: where the two
    alternate, they take the cores from each other, and small fits take up to sixty times as long.
    BLAS gets one thread, and torch too where there is little work.

    Args:
        work: multiplications and additions of torch between two steps of the optimiser.
    """
    with _pools().limit(limits=1, user_api="blas"), threads(1 if work < WORTH_SHARING else None):
        yield


@cache
def _pools() -> Any:
    """The libraries with threads of their own; found once, for that takes milliseconds."""
    import scipy.optimize  # noqa: F401  (brings its BLAS)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
