"""A subject is a run by its path and the hash of its weights; its name is unique."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selfsight.cli import main
from selfsight.data.imageset import ImageSet
from selfsight.evaluation.controls import controls_of
from selfsight.evaluation.protocol import evaluate
from selfsight.evaluation.results import Results
from selfsight.evaluation.settings import Evaluate
from selfsight.runs.run import Run
from selfsight.vocabulary import run_names

MakeRun = Callable[..., Path]
QUICK: dict[str, Any] = {"fractions": (1.0,), "probes": ("knn",), "clusters": False}


def means(results: Results) -> dict[str, float]:
    """Accuracy of each subject; a subject that stands twice is an error."""
    rows = [row for row in results.values if row["metric"] == "accuracy"]
    assert len({row["subject"] for row in rows}) == len(rows)
    return {row["subject"]: row["mean"] for row in rows}


def measured(run: Path, digits: ImageSet, *controls: Path) -> Results:
    settings = Evaluate(run=str(run), controls=tuple(map(str, controls)), **QUICK)
    return evaluate(settings, digits)


def test_two_runs_of_one_name_are_two_subjects(
    digits: ImageSet, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(digits)
    first = make_run(digits, tmp_path / "study1" / "best", seed=1)
    second = make_run(digits, tmp_path / "study2" / "best", seed=2)
    results = measured(run, digits, first, second)
    alone = [
        means(measured(make_run(digits), digits, control))["best"] for control in (first, second)
    ]
    together = means(results)
    assert [together["study1/best"], together["study2/best"]] == alone
    assert {d["control"] for d in results.differences} == {"study1/best", "study2/best", "chance"}
    kept = json.loads(results.path.read_text())["subjects"]
    assert kept["study1/best"]["run"] == str(first.resolve())
    assert kept["study1/best"]["weights"] != kept["study2/best"]["weights"]


@pytest.mark.parametrize("name", ["trained", "pixels", "chance"])
def test_a_folder_may_have_the_name_of_a_subject(
    name: str, digits: ImageSet, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(digits)
    other = make_run(digits, tmp_path / "runs" / name, seed=1)
    results = measured(run, digits, other)
    assert set(means(results)) == {"trained", f"runs/{name}", "chance"}
    assert means(results)["trained"] == means(measured(make_run(digits), digits))["trained"]


def test_a_run_is_one_subject_by_any_path(
    digits: ImageSet, make_run: MakeRun, tmp_path: Path
) -> None:
    other = make_run(digits, tmp_path / "other", seed=1)
    link = tmp_path / "link"
    link.symlink_to(other, target_is_directory=True)
    controls = controls_of(["pixels", str(other), str(link), str(other / ".." / "other")])
    assert [c.path if isinstance(c, Run) else c for c in controls] == ["pixels", other.resolve()]


def test_results_that_are_kept_do_not_mix_two_runs(
    digits: ImageSet, make_run: MakeRun, tmp_path: Path
) -> None:
    """The second evaluation of other images names another run called ``best``."""
    run = make_run(digits)
    measured(run, digits, make_run(digits, tmp_path / "study1" / "best", seed=1))
    few = digits.take(range(0, 500, 2)).changed(name="few")
    measured(run, few, make_run(digits, tmp_path / "study2" / "best", seed=2))
    kept = Results.read(run / "results.json")
    assert set(kept.subjects) == {"trained", "best", "study2/best"}
    by_data = {(row["data"], row["subject"]) for row in kept.values} - {("digits", "trained")}
    few = {("few", name) for name in ("trained", "study2/best", "chance")}
    assert by_data == {("digits", "best"), ("digits", "chance"), *few}


def test_names_are_the_shortest_ends_of_paths() -> None:
    paths = [Path(p) for p in ("/a/x/best", "/b/x/best", "/c/one", "/d/start")]
    assert run_names(paths) == ["a/x/best", "b/x/best", "one", "d/start"]
    assert run_names([Path("/a/one")], ["one"]) == ["a/one"]
    assert run_names([Path("/trained")]) == ["//trained"]


def test_an_unknown_control_is_one_sentence(
    digits: ImageSet, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(make_run(digits)), "--controls", "nowhere/best", "--device", "cpu"]
    assert main(words) == 2
    assert "run nowhere/best: there is no such folder." in capsys.readouterr().err
