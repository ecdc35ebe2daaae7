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
from sklearn.datasets import load_digits

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


SMALL = ["--limit", "300", "--epochs", "2", "--backbone", "resnet20", "--batch-size", "32"]


def commands(folder: Path) -> list[list[str]]:
    """The words of each command; each takes what those before it wrote."""

    def at(name: str) -> str:
        return str(folder / name)

    run, model, index, new = at("run"), at("model"), at("index"), at("new.npy")
    np.save(new, np.random.default_rng(0).integers(0, 255, (100, 8, 8), np.uint8))
    parts, table = at("parts.parquet"), at("representations.parquet")
    digit = load_digits().target
    rows = [f"digits#{row},{value}" for row, value in enumerate(digit)]
    (folder / "labels.csv").write_text("\n".join(["row_id,digit", *rows]) + "\n")
    tuned = ["--finetuning.epochs", "1", "--finetuning.min-steps", "20"]
    features = [table, "--labels", at("labels.csv"), "--target", "digit", "--out", at("features")]
    return [
        ["audit", "digits", "--out", at("audit")],
        ["compare-starts", "digits", "--max-images", "200"],
        ["pretrain", "simclr", "digits", *SMALL, "--out", run],
        ["run", "digits", *SMALL, "--draws", "2", "--out", at("all")],
        ["evaluate", run, "--fractions", "0.1", "1", "--draws", "2"],
        ["evaluate", run, "--fractions", "1", "--probes", "linear", "--corruptions"],
        ["audit", "digits", "--run", run, "--out", at("labels")],
        ["audit", new, "--run", run, "--against", "digits", "--out", at("drift")],
        ["suggest", run, new, "-n", "20", "--out", at("sheet")],
        ["tune", "probe", run, "--trials", "3"],
        ["tune", "pretrain", "simclr", "digits", *SMALL, "--trials", "2", "--out", at("t")],
        ["tune", "finetune", run, "--trials", "2", *tuned],
        ["finetune", run, "--head-only", "linear", "--out", model],
        ["predict", model, "digits", "--out", at("predictions.csv")],
        ["embed", run, "digits", "--out", table],
        ["embed", run, "digits", "--out", parts, "--shard", "0/1"],
        ["merge", parts],
        ["evaluate", "--features", *features],
        ["index", run, "digits", "--out", index],
        ["search", index, "digits#0", "--out", at("similar.csv")],
        ["pairs", index, "--out", at("pairs.csv")],
        ["pairs", index, "--draw", "300", "--out", at("drawn.csv")],
        ["cluster", index, "--out", at("clusters.csv")],
        ["explore", index, "--out", at("map.html")],
        ["export", model, "--out", at("model.onnx")],
        ["report", run, at("all")],
        ["list-methods"],
        ["cache"],
        ["completion", "bash"],
    ]


def verb_of(words: list[str]) -> str:
    """The verb that a command begins with."""
    return " ".join(words[: 2 if words[0] == "tune" else 1])


MARKS = ("--run", "--against", "--corruptions", "--features", "--draw", "--shard")
"""Flags that tell commands of one verb apart."""


def title_of(words: list[str]) -> str:
    """The verb and the flag that makes this command another one: ``audit --against``."""
    marks = [word for word in words if word in MARKS]
    return " ".join([verb_of(words), *marks[-1:]])


def test_every_verb_is_timed(tmp_path: Path) -> None:
    words = commands(tmp_path)
    assert {verb_of(one) for one in words} == set(VERBS)
    titles = [title_of(one) for one in words]
    assert len(set(titles)) == len(titles) and {"audit --against", "merge"} <= set(titles)


def test_the_step_is_named() -> None:
    assert last_line(b"a line\r\n\r\x1b[Kdecoding images 3 of 9  2/s") == "decoding images"
    assert last_line(b"") == "start"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_verb_is_silent(tmp_path: Path) -> None:
    print("\n| verb | takes | longest silence | during |", "| --- | --- | --- | --- |", sep="\n")
    longest = 0.0
    for words in commands(tmp_path):
        name, one = title_of(words), longest_silence(words)
        print(f"| {name} | {one.wall:.0f} s | {one.seconds:.1f} s | {one.step} |", flush=True)
        assert "\x1b[K" in one.shown or one.seconds < 2.0, name
        longest = max(longest, one.seconds)
    # A loaded machine wakes the thread late; a step that says nothing takes far longer.
    assert longest < 5.0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_json_is_one_object_and_quiet_is_quiet(tmp_path: Path) -> None:
    for words in commands(tmp_path):
        name = verb_of(words)
        command = [sys.executable, "-m", "selfsight", *words, "--json", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, (name, done.stderr)
        assert json.loads(done.stdout)["verb"] == name
        assert all(line.startswith("Warning") for line in done.stderr.splitlines()), done.stderr
