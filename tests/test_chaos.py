"""The short form of ``benchmarks/chaos.py``: a few kills of a training and of a verb."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "chaos.py"


@pytest.mark.parametrize(
    ("kills", "jobs"),
    [
        ("3", "embed"),
        pytest.param("16", "simclr,evaluate,finetune,merge,tune probe", marks=pytest.mark.slow),
    ],
)
def test_a_few_kills(heard_signals: None, kills: str, jobs: str) -> None:
    words = ["--kills", kills, "--seed", "3", "--jobs", jobs]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = done.stdout.splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [f"| {job}" for job in jobs.split(",")]
    assert all(row.endswith("| yes |") for row in rows)
