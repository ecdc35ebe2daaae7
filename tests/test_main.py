"""``python -m selfsight``."""

from __future__ import annotations

import subprocess
import sys

import selfsight


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "selfsight", *words], capture_output=True, text=True
    )


def test_it_is_the_command() -> None:
    assert _run("--version").stdout == f"selfsight {selfsight.__version__}\n"
    wrong = _run("predcit", "model", "images")
    assert wrong.returncode == 2
    assert "did you mean 'predict'" in wrong.stderr
    assert "Traceback" not in wrong.stderr
