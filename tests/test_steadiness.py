"""The short form of ``benchmarks/steadiness.py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "steadiness.py"


@pytest.mark.slow
def test_memory_and_files_stay_flat() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--steps", "2000", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert len(answer["looks"]) >= 100
    assert answer["files"] <= 0
    assert answer["mib"] < 4.0
