"""The short form of ``benchmarks/chaos.py``: a few kills of a training and of a verb."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "chaos.py"


def test_a_few_kills(heard_signals: None) -> None:
    words = ["--kills", "6", "--seed", "3", "--jobs", "simclr,embed"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = done.stdout.splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| simclr", "| embed"]
    assert all(row.endswith("| yes |") for row in rows)
