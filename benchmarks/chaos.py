"""Kills commands at random moments and starts them again: the end must be the same bytes.

    python benchmarks/chaos.py [--kills 100] [--seed 0] [--jobs simclr,dino,evaluate,...]

Each method trains a small network on digits; each verb works on a small run. A command is first
done once without a kill; then another one is killed after a random share of that time, by SIGKILL,
SIGTERM and SIGINT in turn, and started again with the next kill, until its kills are used up and it
is left to end. Prints a table of Markdown: how the kills ended (a command may also have ended
before the signal came), and whether the result equals the undisturbed one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
YAML = """
limit: 128
batch_size: 32
epochs: 4
log_every: 1
monitor_images: 30
checkpoint_steps: 2
device: cpu
backbone: resnet18
network: {widths: [4, 8], depths: [1, 1]}
"""
MEASURED = ["--fractions", "0.5", "1.0", "--draws", "2", "--probes", "knn", "linear"]
VERBS = {
    "evaluate": ["evaluate", "RUN", *MEASURED, "--out", "OUT"],
    "embed": ["embed", "RUN", "digits", "--out", "OUT/representations.npz"],
    "finetune": ["finetune", "RUN", "--head-only", "linear", "--out", "OUT/model"],
    "export": ["export", "RUN", "--format", "torchvision", "--out", "OUT/state.safetensors"],
    "report": ["report", "RUN", "--out", "OUT/report.html"],
}


def child(words: list[str], delay: float | None, number: int) -> tuple[int, float, str]:
    """Runs a command in a fork; its exit code as a shell counts, its seconds, what it printed."""
    from selfsight.cli import main

    read, write = os.pipe()
    began = time.monotonic()
    process = os.fork()
    if process == 0:
        os.dup2(write, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 99
        try:
            code = main(words)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)
    os.close(write)
    if delay is not None:
        time.sleep(delay)
        os.kill(process, number)
    with os.fdopen(read, encoding="utf-8", errors="replace") as file:
        printed = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return (128 - code if code < 0 else code), time.monotonic() - began, printed


def result_of(path: Path) -> dict[str, Any]:
    """What a command has left, without what holds clock times."""
    from safetensors.numpy import load_file

    found: dict[str, Any] = {}
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        name = str(file.relative_to(path))
        if file.suffix == ".safetensors":
            found[name] = {k: v.tobytes() for k, v in load_file(file).items()}
        elif file.name == "results.json":
            found[name] = json.loads(file.read_text())["records"]
        elif file.name == "metrics.csv":
            found[name] = file.read_bytes()
        elif file.suffix == ".npz" and "representations" in file.stem:
            with np.load(file) as arrays:
                found[name] = {k: arrays[k].tobytes() for k in arrays.files}
        elif file.suffix == ".tmp":
            found[name] = "a leftover"
    return found


def disturbed(
    words: list[str], out: Path, seconds: float, kills: int, draw: random.Random, turn: int
) -> tuple[Counter[str], list[str]]:
    """Kills a command so many times, lets it end, and says how the kills ended."""
    ends: Counter[str] = Counter()
    faults = []
    for kill in range(kills):
        number = SIGNALS[(turn + kill) % len(SIGNALS)]
        code, _, printed = child(words, draw.uniform(0.0, seconds), number)
        expected = 128 + number
        ends[f"{code}"] += 1
        if code not in (0, expected) or "Traceback" in printed:
            faults.append(f"exit code {code} after {number.name}: {printed[-400:]}")
        if code == expected and number != signal.SIGKILL and "stopped by" not in printed:
            faults.append(f"no sentence after {number.name}: {printed[-400:]}")
    code, _, printed = child(words, None, 0)
    if code:
        faults.append(f"exit code {code} at the end: {printed[-400:]}")
    return ends, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", default="")
    options = parser.parse_args()

    import torch

    from selfsight.evaluation import protocol  # noqa: F401 (imported once, before the forks)
    from selfsight.methods import method_names
    from selfsight.training import pretrain  # noqa: F401

    torch.set_num_threads(1)
    names = options.jobs.split(",") if options.jobs else [*method_names(), *VERBS]
    draw = random.Random(options.seed)
    shares = [options.kills // len(names) + (i < options.kills % len(names))
              for i in range(len(names))]  # fmt: skip
    wrong = turn = 0
    print("| command | kills | exit codes | same result |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small.yaml").write_text(YAML)
        train = ["digits", "--settings", str(folder / "small.yaml"), "--out"]
        run = folder / "run"
        if set(names) & set(VERBS):
            code, _, printed = child(["pretrain", "simclr", *train, str(run)], None, 0)
            assert code == 0, printed
        for job, kills in zip(names, shares, strict=True):
            results, faults, ends = [], [], Counter[str]()
            seconds = 0.0
            for form in ("whole", "killed"):
                out = folder / form / job
                words = (
                    [w.replace("RUN", str(run)).replace("OUT", str(out)) for w in VERBS[job]]
                    if job in VERBS
                    else ["pretrain", job, *train, str(out)]
                )
                if form == "whole":
                    code, seconds, printed = child(words, None, 0)
                    faults += [f"exit code {code}: {printed[-400:]}"] * (code != 0)
                else:
                    ends, more = disturbed(words, out, seconds, kills, draw, turn)
                    faults += more
                results.append(result_of(out))
            turn += kills
            same = results[0] == results[1] and bool(results[0] or job == "report")
            wrong += (not same) + len(faults)
            codes = ", ".join(f"{code} x {count}" for code, count in sorted(ends.items()))
            print(f"| {job} | {kills} | {codes} | {'yes' if same else 'NO'} |", flush=True)
            for fault in faults:
                print(f"{job}: {fault}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
