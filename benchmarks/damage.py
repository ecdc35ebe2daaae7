"""Damages each file of a run folder in seven ways, before every verb that reads it.

    python benchmarks/damage.py [--verbs evaluate,report]

A verb names the damaged file and stops with exit code 2, or gives what it gives from the undamaged
run: no traceback, and no other result in silence. Prints a table: how many files each verb refused
and how many it did not need, or made again, for each damage; and every cell that is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfsight.cli import main as command
from selfsight.evaluation.results import Results

WORDS = ["--limit", "160", "--batch-size", "32", "--epochs", "1"]
SMALL = "monitor_images: 0\nnetwork: {widths: [4, 8], depths: [1, 1]}\n"
SMALL += "method: {name: simclr, projector: [16, 8]}\n"
MEASURED = ["--fractions", "1.0", "--probes", "knn", "--controls", "untrained"]


def made(folder: Path, seed: int) -> Path:
    """A run with everything in it."""
    folder.mkdir()
    (folder / "small.yaml").write_text(SMALL)
    run = folder / "run"
    words = ["--settings", str(folder / "small.yaml"), "--seed", str(seed), "--device", "cpu"]
    words += ["--backbone", "resnet18", "--out", str(run), *WORDS]
    assert command(["pretrain", "simclr", "digits", *words]) == 0
    assert command(["evaluate", str(run), *MEASURED]) == 0
    return run


def two_runs(folder: Path) -> tuple[Path, Path]:
    """Two runs of different seeds."""
    return made(folder / "one", 0), made(folder / "two", 1)


def rows_swapped(path: Path, other: Path) -> None:
    """The same values in another order, in a file that is valid as such."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        pq.write_table(table.take(np.roll(np.arange(len(table)), 1)), path)
    elif path.suffix == ".safetensors":
        from safetensors import safe_open
        from safetensors.numpy import save_file

        with safe_open(path, framework="np") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        moved = {name: np.roll(t, 1, 0) if t.ndim else t for name, t in tensors.items()}
        save_file(moved, path, metadata=header)
    elif path.suffix == ".npz":
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        np.savez_compressed(
            path, **{n: np.roll(a, 1, 0) if a.ndim else a for n, a in arrays.items()}
        )
    elif path.suffix == ".json" and isinstance(content := json.loads(path.read_text()), dict):
        path.write_text(json.dumps(dict(reversed(rolled(content).items())), indent=1))
    else:
        lines = path.read_bytes().splitlines()
        path.write_bytes(b"\n".join([lines[0], *reversed(lines[1:])]))


def rolled(content: dict[str, Any]) -> dict[str, Any]:
    return {k: v[1:] + v[:1] if isinstance(v, list) else v for k, v in content.items()}


def bit_flipped(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    path.write_bytes(content)


def replaced(path: Path, other: Path) -> None:
    if other.is_file():
        shutil.copy(other, path)
    else:
        path.unlink()


def folder_instead(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path, Path], object]] = {
    "empty": lambda path, other: path.write_bytes(b""),
    "first third": lambda path, other: path.write_bytes(
        path.read_bytes()[: path.stat().st_size // 3]
    ),
    "bit flip": bit_flipped,
    "rows swapped": rows_swapped,
    "another run's": replaced,
    "deleted": lambda path, other: path.unlink(),
    "a folder": folder_instead,
}


def pretrained(run: Path, folder: Path) -> list[str]:
    words = ["--settings", str(folder / "one" / "small.yaml"), "--seed", "0", "--device", "cpu"]
    return ["pretrain", "simclr", "digits", *words, "--backbone", "resnet18", *WORDS]


VERBS: dict[str, Callable[[Path, Path], list[str]]] = {
    "pretrain": lambda run, folder: [*pretrained(run, folder), "--out", str(run)],
    "evaluate": lambda run, folder: ["evaluate", str(run), *MEASURED],
    "report": lambda run, folder: ["report", str(run), "--out", str(run.parent / "page.html")],
    "finetune": lambda run, folder: [
        *["finetune", str(run), "--head-only", "linear", "--out", str(run.parent / "model")]
    ],
    "embed": lambda run, folder: ["embed", str(run), "digits", "--out", str(run.parent / "r.npz")],
    "export": lambda run, folder: [
        *["export", str(run), "--format", "onnx", "--out", str(run.parent / "model.onnx")]
    ],
}


def outcome(verb: str, run: Path) -> Any:
    """What a verb has made, in a form that can be compared."""
    if verb == "evaluate":
        return Results.read(run / "results.json").records
    if verb == "embed":
        with np.load(run.parent / "r.npz") as file:
            return file["representations"].tobytes()
    if verb in ("finetune", "export"):
        paths = [*sorted(run.parent.glob("model/*.safetensors")), run.parent / "model.onnx"]
        return [path.read_bytes() for path in paths if path.is_file()]
    return None


def files_of(run: Path) -> list[str]:
    skip = (".lock", "report.html")
    paths = [p for p in run.rglob("*") if p.is_file() and p.name not in skip]
    return sorted(str(p.relative_to(run)) for p in paths)


Cell = tuple[str, str, str]
"""Verb, file, damage."""


def cells(
    runs: tuple[Path, Path],
    folder: Path,
    verbs: Sequence[str],
    chosen: Callable[[str, str, str], bool] = lambda *_: True,
) -> tuple[dict[Cell, str], list[str]]:
    """Runs the cells that are chosen.

    Args:
        runs: of `two_runs`; they are copied.
        folder: for the copies.
        verbs: of `VERBS`.
        chosen: verb, file and damage -> whether it is run.

    Returns:
        ``refused`` or ``same`` of each cell, and a line on each that is wrong.
    """
    run, other = runs
    settings = run.parent.parent
    results: dict[Cell, str] = {}
    wrong: list[str] = []
    for verb in verbs:
        reference = folder / "reference" / "run"
        shutil.copytree(run, reference)
        code, printed = quiet(VERBS[verb](reference, settings))
        expected = outcome(verb, reference)
        if code != 0:
            raise RuntimeError(f"{verb} of the undamaged run: {printed}")
        shutil.rmtree(reference.parent)
        for name in files_of(run):
            for how, damage in DAMAGE.items():
                if not chosen(verb, name, how):
                    continue
                copy = folder / "copy" / "run"
                shutil.copytree(run, copy)
                damage(copy / name, other / name)
                code, printed = quiet(VERBS[verb](copy, settings))
                cell = f"{verb} x {name} x {how}"
                results[verb, name, how] = "refused" if code == 2 else "same"
                if "Traceback" in printed:
                    wrong.append(f"{cell}: a traceback: {printed[-600:]}")
                elif code == 2:
                    if str(folder) not in printed.splitlines()[-1] and name not in printed:
                        wrong.append(f"{cell}: no file is named: {printed[-300:]}")
                elif code != 0:
                    wrong.append(f"{cell}: exit code {code}: {printed[-600:]}")
                elif (result := outcome(verb, copy)) != expected:
                    wrong.append(f"{cell}: another result: {str(result)[:200]}")
                shutil.rmtree(copy.parent)
    return results, wrong


def quiet(words: list[str]) -> tuple[int, str]:
    """Exit code of a command, and what it printed on stderr."""
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = command(words)
        except SystemExit as stop:
            code = 100 + int(stop.code or 0)
    return code, printed.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--verbs", default=",".join(VERBS))
    given = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    count, wrong = 0, []
    print("| verb | " + " | ".join(DAMAGE) + " |\n| --- |" + " --- |" * len(DAMAGE))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = two_runs(folder)
        for verb in given.verbs.split(","):
            results, more = cells(runs, folder / verb, [verb])
            count, wrong = count + len(results), wrong + more
            ends = Counter((how, end) for (_, _, how), end in results.items())
            row = [f"{ends[how, 'refused']} refused, {ends[how, 'same']} same" for how in DAMAGE]
            print(f"| {verb} | " + " | ".join(row) + " |", flush=True)
    print(f"\n{count} cells, {len(wrong)} wrong.")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
