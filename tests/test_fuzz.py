"""The short form of ``benchmarks/fuzz.py``: some mutations of each kind of file, slow 300."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(FOLDER))
import fuzz  # noqa: E402

sys.path.pop(0)

FEW, COUNT = 25, 300


@pytest.fixture(scope="module")
def ready() -> Iterator[ModuleType]:
    fuzz.prepared()
    yield fuzz
    shutil.rmtree(fuzz.templates(), ignore_errors=True)


@pytest.mark.parametrize(
    "count", [FEW, pytest.param(COUNT, marks=pytest.mark.slow)], ids=["few", "many"]
)
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_a_sentence_or_a_result(target: str, count: int, ready: ModuleType) -> None:
    if why := fuzz.missing(target):
        pytest.skip(why)
    outcomes, faults = fuzz.fuzzed(target, count)
    assert not faults, "\n".join(faults)
    assert sum(outcomes.values()) == count
