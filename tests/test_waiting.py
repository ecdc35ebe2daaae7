"""Under a pseudo-terminal a command shows a sign at least every two seconds."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")


def longest_silence(words: list[str]) -> tuple[float, str]:
    """Seconds without a byte, after the first one and before the end; and all that was shown."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "selfsight", *words]
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, close_fds=True)
    os.close(child)
    shown, longest, last = b"", 0.0, time.monotonic()
    while True:
        ready, _, _ = select.select([parent], [], [], 60)
        try:
            part = os.read(parent, 65536) if ready else b""
        except OSError:  # Linux: the other end was closed
            part = b""
        now = time.monotonic()
        if shown:
            longest = max(longest, now - last)
        if not part:
            break
        shown, last = shown + part, now
    os.close(parent)
    assert process.wait() == 0, shown.decode()
    return longest, shown.decode()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_verb_is_silent(tmp_path: Path) -> None:
    run, model = str(tmp_path / "run"), str(tmp_path / "model")
    small = ["--limit", "300", "--epochs", "2", "--backbone", "resnet20", "--batch-size", "32"]
    table = {}
    for words in (
        ["audit", "digits", "--out", str(tmp_path / "audit")],
        ["pretrain", "simclr", "digits", *small, "--out", run],
        ["evaluate", run, "--fractions", "0.1", "1", "--draws", "2"],
        ["tune", "probe", run, "--trials", "3"],
        ["finetune", run, "--head-only", "linear", "--out", model],
        ["predict", model, "digits", "--out", str(tmp_path / "p.csv")],
        ["report", run],
    ):
        silence, shown = longest_silence(words)
        table[" ".join(words[:2])] = silence
        assert "\x1b[K" in shown or silence < 2.0, words
    print(*(f"{seconds:5.1f} s  {name}" for name, seconds in table.items()), sep="\n")
    # A loaded machine wakes the thread late; a step that says nothing takes far longer.
    assert max(table.values()) < 5.0, table
