"""Every file of a run folder, damaged in seven ways, before every verb that reads it.

A verb names the damaged file, or gives what it gives from the undamaged run: no traceback, and no
other result in silence. The suite takes a part of the table, the slow test all of it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsight.cli import main
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
    assert main(["pretrain", "simclr", "digits", *words]) == 0
    assert main(["evaluate", str(run), *MEASURED]) == 0
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of other seeds."""
    folder = tmp_path_factory.mktemp("runs")
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
        *["finetune", str(run), "--mode", "linear", "--out", str(run.parent / "model")]
    ],
    "embed": lambda run, folder: ["embed", str(run), "digits", "--out", str(run.parent / "r.npz")],
    "export": lambda run, folder: [
        *["export", str(run), "--format", "torchvision", "--out", str(run.parent / "s.safetensors")]
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
        paths = [*sorted(run.parent.glob("model/*.safetensors")), run.parent / "s.safetensors"]
        return [path.read_bytes() for path in paths if path.is_file()]
    return None


def files_of(run: Path) -> list[str]:
    skip = (".lock", "report.html")
    paths = [p for p in run.rglob("*") if p.is_file() and p.name not in skip]
    return sorted(str(p.relative_to(run)) for p in paths)


def table(
    runs: tuple[Path, Path],
    tmp_path: Path,
    verbs: list[str],
    chosen: Callable[[str, str, str], bool],
    capsys: pytest.CaptureFixture[str],
) -> int:
    """Runs the cells that are chosen; fails with all cells that are wrong."""
    run, other = runs
    folder = run.parent.parent
    wrong, count = [], 0
    for verb in verbs:
        reference = tmp_path / "reference" / "run"
        shutil.copytree(run, reference)
        code, expected = main(VERBS[verb](reference, folder)), outcome(verb, reference)
        assert code == 0, capsys.readouterr().err
        shutil.rmtree(reference.parent)
        for name in files_of(run):
            for how, damage in DAMAGE.items():
                if not chosen(verb, name, how):
                    continue
                count += 1
                copy = tmp_path / "copy" / "run"
                shutil.copytree(run, copy)
                damage(copy / name, other / name)
                capsys.readouterr()
                try:
                    code = main(VERBS[verb](copy, folder))
                except SystemExit as stop:
                    code = 100 + int(stop.code or 0)
                printed = capsys.readouterr().err
                cell = f"{verb} x {name} x {how}"
                if code == 2:
                    if str(tmp_path) not in printed.splitlines()[-1] and name not in printed:
                        wrong.append(f"{cell}: no file is named: {printed[-300:]}")
                elif code != 0:
                    wrong.append(f"{cell}: exit code {code}: {printed[-600:]}")
                elif (result := outcome(verb, copy)) != expected:
                    wrong.append(f"{cell}: another result: {str(result)[:200]}")
                shutil.rmtree(copy.parent)
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong)
    return count


READ = ("settings.yaml", "splits.parquet", "backbone.safetensors", "environment.json")


def test_files_of_the_training(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def chosen(verb: str, name: str, how: str) -> bool:
        return name in READ and (len(name) + len(how)) % 2 == 0

    assert table(runs, tmp_path, ["embed"], chosen, capsys) >= 10


def test_what_an_evaluation_and_its_page_read(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(verb: str, name: str, how: str) -> bool:
        return name in ("results.json", "predictions.parquet", "metrics.csv", "samples.npz")

    def evaluate(verb: str, name: str, how: str) -> bool:
        return name.startswith("representations/trained") and how in ("rows swapped", "bit flip")

    assert table(runs, tmp_path, ["report"], report, capsys) == 28
    assert table(runs, tmp_path, ["evaluate"], evaluate, capsys) == 2


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_the_whole_table(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert table(runs, tmp_path, [verb], lambda *_: True, capsys) >= 70


def test_a_run_is_not_written_to_where_results_go_elsewhere(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs[0]
    before = {path: os.stat(path).st_mtime_ns for path in run.rglob("*")}
    assert main(["evaluate", str(run), *MEASURED, "--out", str(tmp_path / "out")]) == 0
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    assert {path: os.stat(path).st_mtime_ns for path in run.rglob("*")} == before
    assert outcome("evaluate", tmp_path / "out") == outcome("evaluate", run)
