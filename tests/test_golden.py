"""Golden values: short trainings, the leaks and (slow) the demo give what they gave before.

On the machine that wrote them weights and metrics are equal to the last bit; on another one to what
its products round differently. ``tests/golden/record.py PART --write`` writes them anew, with a
change that means to move them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden"


def kept(part: str) -> Any:
    return json.loads((GOLDEN / f"{part}.json").read_text())


def made(part: str) -> Any:
    """In a process of its own: the number of threads is fixed before torch is imported."""
    done = subprocess.run(
        [sys.executable, str(GOLDEN / "record.py"), part], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout[done.stdout.index("{\n") :])


def numbers(lines: list[str]) -> list[float]:
    return [float(cell) for line in lines[1:] for cell in line.split(",") if cell]


def test_short_trainings_are_what_they_were() -> None:
    before, now = kept("trainings"), made("trainings")
    assert before["trainings"].keys() == now["trainings"].keys()
    for method, was in before["trainings"].items():
        found = now["trainings"][method]
        if before["machine"] == now["machine"]:
            assert found == was
        assert found["metrics"][0] == was["metrics"][0]
        assert numbers(found["metrics"]) == pytest.approx(numbers(was["metrics"]), rel=0.05)


def test_leaks_are_refused_in_the_same_words() -> None:
    assert made("leaks")["leaks"] == kept("leaks")["leaks"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_has_the_same_records() -> None:
    before, now = kept("demo"), made("demo")
    if before["machine"] != now["machine"]:
        pytest.skip(f"the records were written on {before['machine']}")
    assert now["demo"] == before["demo"]
