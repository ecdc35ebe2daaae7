"""The short form of ``benchmarks/damage.py``: files of a run, damaged before they are read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from selfsight.cli import main

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import damage

sys.path.pop(0)

READ = ("settings.yaml", "splits.parquet", "backbone.safetensors", "environment.json")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return damage.two_runs(tmp_path_factory.mktemp("runs"))


def right(
    runs: tuple[Path, Path], folder: Path, verb: str, names: tuple[str, ...], ways: list[str]
) -> int:
    """Runs cells of a verb; fails with all that are wrong. Names may be the beginnings of names."""

    def chosen(_: str, name: str, how: str) -> bool:
        return name.startswith(names) and how in ways

    results, wrong = damage.cells(runs, folder, [verb], chosen)
    assert not wrong, "\n".join(wrong)
    return len(results)


def test_files_of_the_training(runs: tuple[Path, Path], tmp_path: Path) -> None:
    assert right(runs, tmp_path, "embed", READ, list(damage.DAMAGE)) == 28


def test_what_a_page_reads(runs: tuple[Path, Path], tmp_path: Path) -> None:
    names = ("results.json", "predictions.parquet", "metrics.csv", "samples.npz")
    assert right(runs, tmp_path, "report", names, ["bit flip", "rows swapped", "a folder"]) == 12


def test_what_an_evaluation_reads(runs: tuple[Path, Path], tmp_path: Path) -> None:
    assert right(runs, tmp_path, "evaluate", ("representations/trained",), ["rows swapped"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("verb", damage.VERBS)
def test_the_whole_table(runs: tuple[Path, Path], tmp_path: Path, verb: str) -> None:
    assert right(runs, tmp_path, verb, ("",), list(damage.DAMAGE)) >= 70


def test_a_run_is_not_written_to_where_results_go_elsewhere(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    run = runs[0]
    before = {path: os.stat(path).st_mtime_ns for path in run.rglob("*")}
    assert main(["evaluate", str(run), *damage.MEASURED, "--out", str(tmp_path / "out")]) == 0
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    assert {path: os.stat(path).st_mtime_ns for path in run.rglob("*")} == before
    assert damage.outcome("evaluate", tmp_path / "out") == damage.outcome("evaluate", run)
