"""Kills commands at random moments and starts them again: the end must be the same files.

    python benchmarks/chaos.py [--kills 100] [--seed 0] [--jobs simclr,evaluate,...] [--rows FILE]

Each method trains a small network on a folder of small images; each verb works on a run, a model or
an index. A command runs once undisturbed; then it is killed after a random share of that time, by
SIGKILL, SIGTERM and SIGINT in turn, and started again, until its kills are used up and it may end.
The files it leaves are compared with those of the undisturbed command, without clock times and
images per second; a file that only one of the two left counts as a difference. Prints a table in
Markdown with the exit codes of the killed commands (0: the command ended before the signal came).

With --rows, each row is added to that file as one line of JSON, and jobs that are there are not run
again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE = 20.0
"""A command that needs so many times its undisturbed seconds, and a minute, hangs."""
IMAGES = 120
YAML = """
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
EMBED = ["embed", "RUN", "DATA", "--out", "OUT/r.parquet"]
SMALL = ["--settings", "SMALL"]
ONCE = ["--fractions", "1.0", "--draws", "1"]
LABELLED = ["--labels", "LABELS", "--target", "kind"]
GENTLE = [
    "--epochs",
    "2",
    "--network.widths",
    "32",
    "64",
    "--search",
    "optimizer.lr=log(1e-5,1e-4)",
]
TUNED = ["--finetuning.epochs", "3", "--finetuning.backbone-lr", "1e-3"]
TUNED += ["--finetuning.head-lr", "1e-2"]
STUDY = ["--trials", "2", "--out", "OUT/tuning"]
Commands = list[list[str]]
VERBS: dict[str, Commands] = {
    "audit": [["audit", "DATA", "--out", "OUT/audit"]],
    "compare-starts": [["compare-starts", "DATA", "RUN", "--out", "OUT/starts.csv"]],
    "run": [
        ["run", "DATA", "--method", "simclr", *SMALL, "--out", "OUT/run", *ONCE],
    ],
    "evaluate": [["evaluate", "RUN", *MEASURED, "--out", "OUT/results"]],
    "suggest": [["suggest", "RUN", *LABELLED, "--count", "8", "--out", "OUT/suggestions"]],
    "tune probe": [["tune", "probe", "RUN", *STUDY]],
    "tune pretrain": [
        ["tune", "pretrain", "simclr", "DATA", *SMALL, *GENTLE, *STUDY],
    ],
    "tune finetune": [
        ["tune", "finetune", "RUN", *TUNED, *STUDY],
    ],
    "finetune": [["finetune", "RUN", *TUNED, "--out", "OUT/model"]],
    "predict": [["predict", "MODEL", "DATA", "--out", "OUT/predictions.csv"]],
    "embed": [EMBED],
    "merge": [
        *([*EMBED, "--shard", f"{part}/2"] for part in range(2)),
        ["merge", "OUT/r.parquet"],
    ],
    "index": [["index", "RUN", "DATA", "--out", "OUT/index"]],
    "search": [["search", "INDEX", "QUERY", "--out", "OUT/neighbours.csv"]],
    "pairs": [["pairs", "INDEX", "--out", "OUT/pairs.csv"]],
    "cluster": [["cluster", "INDEX", "--out", "OUT/clusters.csv"]],
    "explore": [["explore", "INDEX", "--out", "OUT/map.html"]],
    "export": [["export", "RUN", "--format", "onnx", "--out", "OUT/model.onnx"]],
    "report": [["report", "RUN", "--out", "OUT/report.html"]],
}
TIMED = re.compile(
    r"(^|_)(seconds|s|second|time|when|started|ended|created|date|version|checksum|processor"
    r"|memory|seen|files)$"
)
"""Names of fields and columns that hold clock times, speeds, or what the last of several processes
did. A checksum covers the clock times beside it; `files` are checksums of files that are compared
here by what they hold: the same rows of Parquet, merged twice, may have other bytes."""
COUNTED = ("tune probe", "tune pretrain", "tune finetune")
"""A trial that was killed is drawn again, so only what a study must hold is compared."""

FINAL = ("finetune", "index")
"""What it has made it does not make again, so it is not started again once it has ended."""


class Row(NamedTuple):
    """What happened to a job.

    Attributes:
        ends: exit code of a killed command -> how often.
        faults: a line on each deviation; none: all is well.
    """

    job: str
    kills: int
    ends: dict[str, int]
    faults: list[str]


def child(words: list[str], delay: float | None, number: int, limit: float) -> tuple[int, str]:
    """Runs a command in a fork; its exit code as a shell counts, and its stderr.

    A command that goes on past the limit in seconds is killed, with exit code -1.
    """
    from selfsight.cli import main

    with tempfile.TemporaryFile() as printed:
        process = os.fork()
        if process == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # nohup and `&` ignore it
            os.dup2(printed.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = 99
            try:
                code = main(words)
            except SystemExit as end:
                code = int(end.code or 0)
            finally:
                os._exit(code)
        if delay is not None:
            time.sleep(delay)
            os.kill(process, number)
        until = time.monotonic() + limit
        while (ended := os.waitpid(process, os.WNOHANG))[0] == 0:
            if time.monotonic() > until:
                os.killpg(process, signal.SIGKILL)
                os.waitpid(process, 0)
                break
            time.sleep(0.01)
        printed.seek(0)
        text = printed.read().decode(errors="replace")
    if ended[0] == 0:
        return -1, text
    code = os.waitstatus_to_exitcode(ended[1])
    return (128 - code if code < 0 else code), text


def content(path: Path) -> Any:
    """What a file holds, in a form that can be compared; without clock times.

    None: it is not compared (pages, checkpoints).
    """
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return {name: tensor.tobytes() for name, tensor in load_file(path).items()}
    if path.suffix in (".json", ".yaml"):
        text = re.sub(r"/(whole|killed)/", "/", path.read_text())
        return text if path.suffix == ".yaml" else timeless(json.loads(text))
    if path.suffix in (".npz", ".npy"):
        with open(path, "rb") as file:
            arrays = np.load(file)
            named = {"": arrays} if path.suffix == ".npy" else {k: arrays[k] for k in arrays.files}
            return {name: (array.shape, array.tobytes()) for name, array in named.items()}
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(path).to_pydict()
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return timeless(list(csv.DictReader(file)))
    if path.suffix in (".png", ".onnx"):
        return path.read_bytes()
    return None


def timeless(value: Any) -> Any:
    """Without clock times.

    Readings of the test split are only added to, so those of a command that was killed after it
    had written its results stand there twice: each is compared once.
    """
    if isinstance(value, dict):
        kept = {k: timeless(v) for k, v in value.items() if not TIMED.search(k)}
        if "test_readings" in kept:
            readings = {json.dumps(each, sort_keys=True) for each in kept["test_readings"]}
            kept["test_readings"] = sorted(readings)
        return kept
    return [timeless(each) for each in value] if isinstance(value, list) else value


def files_of(folder: Path) -> dict[str, Any]:
    """The files that a command has left, and what they hold.

    A stop writes checkpoints of its own, so that `previous.ckpt` may be there or not.
    """
    files: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        if name.startswith("cache/"):
            if path.suffix == ".tmp":
                files[name] = None
        elif path.name not in ("previous.ckpt", ".lock.json", ".lock"):
            files[name] = content(path)
    return files


def trials_of(folder: Path) -> dict[str, Any]:
    """The files of a study, and how many trials were made: what stops must not change."""
    files = dict.fromkeys(files_of(folder))
    for path in folder.rglob("trials.csv"):
        states = [row["state"] for row in csv.DictReader(path.open())]
        files[str(path.relative_to(folder))] = sum(state != "killed" for state in states)
    return files


def differences(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """A line on each file that differs."""
    lines = [f"{name} is missing" for name in sorted(one.keys() - two.keys())]
    lines += [f"{name} is left over" for name in sorted(two.keys() - one.keys())]
    both = sorted(one.keys() & two.keys())
    return lines + [f"{name} differs" for name in both if one[name] != two[name]]


def disturbed(
    commands: Commands, seconds: list[float], kills: int, draw: random.Random, turn: int
) -> tuple[Counter[str], list[str]]:
    """Kills commands so many times in all, lets each end; how the kills ended, and faults."""
    ends: Counter[str] = Counter()
    faults = []
    for place, words in enumerate(commands):
        share = kills // len(commands) + (place < kills % len(commands))
        limit = PATIENCE * seconds[place] + 60.0
        for _ in range(share):
            number = SIGNALS[turn % len(SIGNALS)]
            turn += 1
            code, printed = child(words, draw.uniform(0.0, seconds[place]), number, limit)
            expected = 128 + number
            ends[str(code)] += 1
            if code == 0 and words[0] in FINAL:
                return ends, faults
            if code not in (0, expected) or "Traceback" in printed:
                faults.append(f"exit code {code} after {number.name}: {printed[-600:]}")
            elif code == expected and number != signal.SIGKILL and "stopped by" not in printed:
                faults.append(f"no sentence after {number.name}: {printed[-600:]}")
        code, printed = child(words, None, 0, limit)
        if code:
            faults.append(f"exit code {code} at the end: {printed[-600:]}")
    return ends, faults


def row_of(job: str, kills: int, turn: int, draw: random.Random, places: dict[str, str]) -> Row:
    """Runs a job undisturbed, then with kills."""
    folder = Path(places["FOLDER"])
    files, faults, seconds, ends = [], [], [], Counter[str]()
    for form in ("whole", "killed"):
        out = folder / form / job.replace(" ", "-")
        out.mkdir(parents=True)
        os.environ["SELFSIGHT_CACHE"] = str(out / "cache")
        commands = [[placed(word, {**places, "OUT": str(out)}) for word in words]
                    for words in commands_of(job)]  # fmt: skip
        if form == "whole":
            for words in commands:
                began = time.monotonic()
                code, printed = child(words, None, 0, 600.0)
                seconds.append(time.monotonic() - began)
                faults += [f"undisturbed, exit code {code}: {printed[-600:]}"] * (code != 0)
        else:
            ends, more = disturbed(commands, seconds, kills, draw, turn)
            faults += more
        files.append(trials_of(out) if job in COUNTED else files_of(out))
    if not files[0]:
        faults.append("it has left no file")
    faults += differences(*files)
    return Row(job, sum(ends.values()), dict(sorted(ends.items())), faults)


def placed(word: str, places: dict[str, str]) -> str:
    first, slash, rest = word.partition("/")
    return places.get(first, first) + slash + rest


def commands_of(job: str) -> Commands:
    if job in VERBS:
        return VERBS[job]
    from selfsight.methods import METHODS

    settings = METHODS[job].example().plain()
    return [["pretrain", job, "DATA", *SMALL, *flags(settings), "--out", "OUT/run"]]


def flags(settings: dict[str, Any]) -> list[str]:
    words = []
    for name, value in settings.items():
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            words += [f"--method.{name}", str(value)]
        elif isinstance(value, list | tuple):
            words += [f"--method.{name}", *map(str, value)]
    return words


def prepared(folder: Path, jobs: Collection[str]) -> dict[str, str]:
    """Images, settings, and the run, model and index that some jobs work on.

    Returns:
        What the words in the commands of the jobs stand for.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number in range(IMAGES):
        kind = int(digits.target[number]) % 3
        path = folder / "images" / f"kind{kind}" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (digits.images[number] * 15.9).astype(np.uint8).repeat(2, 0).repeat(2, 1)
        Image.fromarray(pixels).save(path)
    half = [path.relative_to(folder / "images") for path in folder.glob("images/*/*[02468].png")]
    rows = [f"{path},{path.parent}" for path in sorted(half)]
    (folder / "labels.csv").write_text("\n".join(["image,kind", *rows]))
    (folder / "small.yaml").write_text(YAML)
    places = {"FOLDER": folder, "DATA": folder / "images", "SMALL": folder / "small.yaml"}
    places["LABELS"] = folder / "labels.csv"
    places |= {name: folder / name.lower() for name in ("RUN", "MODEL", "INDEX")}
    places["QUERY"] = folder / "images" / "kind0" / "000.png"
    texts = {name: str(path) for name, path in places.items()}
    os.environ["SELFSIGHT_CACHE"] = str(folder / "cache")
    needed = {word for job in jobs for words in commands_of(job) for word in words}
    steps = {
        "RUN": ["pretrain", "simclr", "DATA", *SMALL, "--method.projector", "16", "8"],
        "results": ["evaluate", "RUN", *MEASURED],
        "MODEL": ["finetune", "RUN", "--head-only", "linear"],
        "INDEX": ["index", "RUN", "DATA"],
    }
    needed |= {"RUN"} if needed & steps.keys() else set()
    needed |= {"results"} if "report" in jobs else set()
    for name, words in steps.items():
        if name not in needed:
            continue
        if name in texts:
            words = [*words, "--out", name]
        code, printed = child([texts.get(word, word) for word in words], None, 0, 600.0)
        assert code == 0, printed
    return texts


def finished(path: Path | None) -> dict[str, Row]:
    """The rows that are in a file."""
    if path is None or not path.is_file():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["job"]: Row(**line) for line in lines}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", default="")
    parser.add_argument("--rows", type=Path)
    options = parser.parse_args()

    import torch

    from selfsight.methods import method_names

    torch.set_num_threads(1)
    names = options.jobs.split(",") if options.jobs else [*method_names(), *VERBS]
    shares = [options.kills // len(names) + (i < options.kills % len(names))
              for i in range(len(names))]  # fmt: skip
    rows = finished(options.rows)
    with tempfile.TemporaryDirectory() as name:
        todo = [job for job in names if job not in rows]
        places = prepared(Path(name), todo) if todo else {}
        for number, (job, kills) in enumerate(zip(names, shares, strict=True)):
            if job in rows:
                continue
            draw = random.Random(f"{options.seed} {job}")
            rows[job] = row_of(job, kills, sum(shares[:number]), draw, places)
            if options.rows is not None:
                with options.rows.open("a") as file:
                    file.write(json.dumps(rows[job]._asdict()) + "\n")
            for fault in rows[job].faults:
                print(f"{job}: {fault}", file=sys.stderr, flush=True)
    print("| command | kills | exit codes | the same files |\n| --- | --- | --- | --- |")
    for job in names:
        row = rows[job]
        codes = ", ".join(f"{code} x {count}" for code, count in row.ends.items())
        print(f"| {job} | {row.kills} | {codes} | {'NO' if row.faults else 'yes'} |")
    return int(any(rows[job].faults for job in names))


if __name__ == "__main__":
    sys.exit(main())
