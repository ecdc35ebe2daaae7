"""Every verb as a command: never silent under a pseudo-terminal, and one object with ``--json``.

``pytest -m slow -s tests/test_waiting.py`` prints the table of docs/waiting.md.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from selfsight.verbs import VERBS

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")


class Silence(NamedTuple):
    """The longest time without a byte.

    Attributes:
        seconds: of it.
        step: the line that was shown at that time; ``start`` before the first.
        wall: seconds that the command took.
        shown: everything that was printed.
    """

    seconds: float
    step: str
    wall: float
    shown: str


def longest_silence(words: list[str]) -> Silence:
    """Runs a command under a pseudo-terminal, from its start to its last byte."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "selfsight", *words]
    began = last = time.monotonic()
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, close_fds=True)
    os.close(child)
    shown, longest, step = b"", 0.0, "start"
    while True:
        ready, _, _ = select.select([parent], [], [], 60)
        try:
            part = os.read(parent, 65536) if ready else b""
        except OSError:  # Linux: the other end was closed
            part = b""
        now = time.monotonic()
        if not part:
            break
        if now - last > longest:
            longest, step = now - last, last_line(shown)
        shown, last = shown + part, now
    os.close(parent)
    assert process.wait() == 0, shown.decode()
    return Silence(longest, step, now - began, shown.decode())


def last_line(shown: bytes) -> str:
    """What stood on the last line of the terminal, without numbers."""
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[\w?", "", shown.decode(errors="replace")))
    lines = [line.strip() for line in lines if line.strip()]
    return re.split(r"\s{2,}| \d", lines[-1])[0][:60] if lines else "start"


LATER = {"compare-starts", "merge"}
"""Verbs that need more than the digits; their steps are those of other verbs."""
SMALL = ["--limit", "300", "--epochs", "2", "--backbone", "resnet20", "--batch-size", "32"]


def commands(folder: Path) -> dict[str, list[str]]:
    """Verb -> its words; each takes what those before it wrote."""
    run, model, index = (str(folder / name) for name in ("run", "model", "index"))
    new = str(folder / "new.npy")
    np.save(new, np.random.default_rng(0).integers(0, 255, (100, 8, 8), np.uint8))
    words = {
        "audit": ["digits", "--out", str(folder / "audit")],
        "pretrain": ["simclr", "digits", *SMALL, "--out", run],
        "run": ["digits", *SMALL, "--draws", "2", "--out", str(folder / "all")],
        "evaluate": [run, "--fractions", "0.1", "1", "--draws", "2"],
        "suggest": [run, new, "-n", "20", "--out", str(folder / "sheet")],
        "tune probe": [run, "--trials", "3"],
        "tune pretrain": ["simclr", "digits", *SMALL, "--trials", "2", "--out", str(folder / "t")],
        "tune finetune": [
            run,
            "--trials",
            "2",
            "--finetuning.epochs",
            "1",
            "--finetuning.min-steps",
            "20",
        ],
        "finetune": [run, "--head-only", "linear", "--out", model],
        "predict": [model, "digits", "--out", str(folder / "predictions.csv")],
        "embed": [run, "digits", "--out", str(folder / "representations.parquet")],
        "index": [run, "digits", "--out", index],
        "search": [index, "digits#0", "--out", str(folder / "similar.csv")],
        "pairs": [index, "--out", str(folder / "pairs.csv")],
        "cluster": [index, "--out", str(folder / "clusters.csv")],
        "explore": [index, "--out", str(folder / "map.html")],
        "export": [model, "--out", str(folder / "model.onnx")],
        "report": [run, str(folder / "all")],
        "list-methods": [],
        "cache": [],
        "completion": ["bash"],
    }
    return {name: words[name] for name in VERBS if name not in LATER}


def test_every_verb_is_timed(tmp_path: Path) -> None:
    assert set(commands(tmp_path)) | LATER >= set(VERBS)


def test_the_step_is_named() -> None:
    assert last_line(b"a line\r\n\r\x1b[Kdecoding images 3 of 9  2/s") == "decoding images"
    assert last_line(b"") == "start"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_verb_is_silent(tmp_path: Path) -> None:
    print("\n| verb | takes | longest silence | during |", "| --- | --- | --- | --- |", sep="\n")
    longest = 0.0
    for name, words in commands(tmp_path).items():
        one = longest_silence([*name.split(), *words])
        print(f"| {name} | {one.wall:.0f} s | {one.seconds:.1f} s | {one.step} |", flush=True)
        assert "\x1b[K" in one.shown or one.seconds < 2.0, name
        longest = max(longest, one.seconds)
    # A loaded machine wakes the thread late; a step that says nothing takes far longer.
    assert longest < 5.0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_json_is_one_object_and_quiet_is_quiet(tmp_path: Path) -> None:
    for name, words in commands(tmp_path).items():
        command = [sys.executable, "-m", "selfsight", *name.split(), *words, "--json", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, (name, done.stderr)
        assert json.loads(done.stdout)["verb"] == name
        assert all(line.startswith("Warning") for line in done.stderr.splitlines()), done.stderr
