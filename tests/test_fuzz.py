"""The short form of ``benchmarks/fuzz.py``: 150 mutations of each kind of file."""

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

COUNT = 150


@pytest.fixture(scope="module")
def ready() -> Iterator[ModuleType]:
    fuzz.prepared()
    yield fuzz
    shutil.rmtree(fuzz.templates(), ignore_errors=True)


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_a_sentence_or_a_result(target: str, ready: ModuleType) -> None:
    if why := fuzz.missing(target):
        pytest.skip(why)
    outcomes, faults = fuzz.fuzzed(target, COUNT)
    assert not faults, "\n".join(faults)
    assert sum(outcomes.values()) == COUNT
