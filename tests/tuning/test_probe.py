"""`tune probe`: nested, leak-free, repeatable."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from selfsight.cli import main
from selfsight.data.imageset import ImageSet, Target
from selfsight.files import read_json
from selfsight.fitting.folds import groups_of
from selfsight.tuning.probe import TuneProbe, prepare, tune_probe
from selfsight.tuning.record import Tuned

SHORT = {"epochs": 6, "min_steps": 1}
SPACE = ("probe.lr=log(1e-3,0.1)", "probe.depth=0..2", "probe.width=8,16", "probe.dropout=0..0.3")


def tuned(run: Path, out: Path, images: ImageSet | None = None, **options: Any) -> Tuned:
    settings = {"trials": 5, "probe": SHORT, "search": SPACE, **options}
    found = tune_probe(TuneProbe(run=str(run), out=str(out), **settings), images)
    assert found is not None
    return found


def choices(out: Path) -> list[dict[str, str]]:
    """What was chosen and scored, without times and names of workers."""
    with open(out / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in ("seconds", "worker")} for row in rows]


@pytest.fixture(scope="module")
def first(run: Path, digits: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return tuned(run, tmp_path_factory.mktemp("study") / "a", digits)


def of_numbers(images: ImageSet) -> ImageSet:
    digit = images.targets["digit"].values.astype(np.float32)
    values = np.stack([digit, -2 * digit], 1)
    values[::7, 1] = np.nan
    return replace(images, targets={"size": Target("size", "number", values, ("a", "b"))})


def of_labels(images: ImageSet) -> ImageSet:
    digit = images.targets["digit"].values
    values = np.stack([digit % 2, digit > 4], 1).astype(np.float32)
    values[::9, 0] = np.nan
    side = np.unique(images.splits, return_inverse=True)[1]  # no group is on two sides
    groups = np.arange(len(images)) // 4 + len(images) * side
    target = Target("marks", "labels", values, ("odd", "large"))
    return replace(images, targets={"marks": target}, groups=groups.astype(np.int64))


def test_the_files_of_a_study(first: Tuned, run: Path) -> None:
    names = ("study.journal", "trials.csv", "best.yaml", "tuning.json", "report.html")
    assert all((first.folder / name).is_file() for name in names)
    found = read_json(first.folder / "tuning.json")
    assert found["trials"]["made"] == 5
    assert found["again"]["equal"]
    assert "5 trials" in str(first)
    page = (first.folder / "report.html").read_text()
    assert "5 trials" in page
    best = yaml.safe_load((first.folder / "best.yaml").read_text())
    assert best == {
        "run": str(run),
        "target": "digit",
        "head_only": "mlp",
        "probe": found["best"]["settings"],
    }


def test_the_best_settings_give_the_recorded_value_exactly(
    first: Tuned, run: Path, digits: ImageSet, tmp_path: Path
) -> None:
    best = yaml.safe_load((first.folder / "best.yaml").read_text())["probe"]
    search = ("probe.lr=log(1e-3,0.1)",)
    again = tuned(run, tmp_path / "again", digits, trials=1, search=search, probe=best)
    assert again.best["settings"] == first.best["settings"]
    assert again.best["value"] == first.best["value"]


def test_the_same_seed_gives_the_same_study_and_another_seed_does_not(
    first: Tuned, run: Path, digits: ImageSet, tmp_path: Path
) -> None:
    same = tuned(run, tmp_path / "same", digits)
    assert choices(same.folder) == choices(first.folder)
    other = tuned(run, tmp_path / "other", digits, seed=1, trials=3)
    assert choices(other.folder)[1:] != choices(first.folder)[1:3]


def test_no_choice_depends_on_test(
    run: Path, make_run: Any, digits: ImageSet, tmp_path: Path, first: Tuned
) -> None:
    """Test images and labels are replaced by noise: every trial and the best stay the same."""
    draw = np.random.default_rng(0)
    test = digits.rows("test")
    pixels = digits.pixels.copy()
    pixels[test] = draw.integers(0, 255, pixels[test].shape)
    target = digits.targets["digit"]
    values = target.values.copy()
    values[test] = draw.integers(0, 10, len(test))
    planted = replace(digits, pixels=pixels, targets={"digit": replace(target, values=values)})
    spoiled = tuned(make_run(planted, tmp_path / "run"), tmp_path / "study", planted)
    assert choices(spoiled.folder) == choices(first.folder)
    assert spoiled.best["settings"] == first.best["settings"]
    assert spoiled.found["test"] != first.found["test"]


def test_test_labels_that_are_not_numbers_change_no_choice(
    make_run: Any, digits: ImageSet, tmp_path: Path
) -> None:
    images = of_numbers(digits)
    run = make_run(images, tmp_path / "run")
    whole = tuned(run, tmp_path / "whole", images, trials=3)
    blind = replace(images, targets={"size": images.targets["size"].without(images.rows("test"))})
    found = tuned(run, tmp_path / "blind", blind, trials=3)
    assert choices(found.folder) == choices(whole.folder)
    assert whole.found["test"] is not None
    assert found.found["test"] is None
    assert "no reading of test" in str(found)


def test_test_is_read_once_however_often_the_command_is_given(
    run: Path, digits: ImageSet, tmp_path: Path
) -> None:
    one = tuned(run, tmp_path, digits, trials=2)
    readings = one.found["test_readings"]
    pairs = [(r["probe"], r["subject"]) for r in readings]
    assert len(set(pairs)) == len(pairs)
    assert ("tuned", "trained") in pairs
    assert {("tuned", "untrained"), ("tuned", "pixels"), ("linear", "trained")} <= set(pairs)
    again = tuned(run, tmp_path, digits, trials=2)
    assert again.found["test_readings"] == readings
    more = tuned(run, tmp_path, digits, trials=6)
    same = more.best["number"] == one.best["number"]
    assert len(more.found["test_readings"]) == len(readings) * (1 if same else 2)
    assert more.found["trials"]["made"] == 6


def test_a_group_is_on_one_side(make_run: Any, digits: ImageSet, tmp_path: Path) -> None:
    images = of_labels(digits)
    run = make_run(images, tmp_path / "run")
    labels = prepare(TuneProbe(run=str(run)), images).labels
    assert not np.isin(labels.subset.rows, images.rows("test")).any()
    groups = groups_of(images.groups, labels.subset.rows)
    assert int(labels.folds.max()) == 4
    for group in np.unique(groups):
        assert len(set(labels.folds[groups == group].tolist())) == 1
    found = tuned(run, tmp_path / "study", images, trials=3)
    assert found.found["metric"] == "mAP"
    assert found.found["again"]["equal"]


def test_one_fold_is_the_validation_split(run: Path, digits: ImageSet) -> None:
    problem = prepare(TuneProbe(run=str(run), folds=1, probe=SHORT), digits)
    held = problem.labels.subset.rows[problem.labels.held]
    assert np.array_equal(held, digits.rows("validation"))
    trained = problem.run({}, lambda number, best: None, 0).trained
    assert trained.looks.output.shape == (len(held), 10)
    assert len(trained.stack.weights[0]) == 1


def test_a_share_of_the_labels(run: Path, digits: ImageSet) -> None:
    whole = prepare(TuneProbe(run=str(run)), digits).labels.subset.rows
    part = prepare(TuneProbe(run=str(run), label_fraction=0.25), digits).labels.subset.rows
    assert set(part) < set(whole)
    assert len(part) == round(0.25 * len(whole))


def test_a_trial_that_diverges_is_pruned(run: Path, digits: ImageSet, tmp_path: Path) -> None:
    search = ("probe.lr=1e-3,1e30", "probe.optimizer=sgd", "probe.depth=2")
    found = tuned(run, tmp_path, digits, trials=6, search=search, seed=3)
    rows = choices(tmp_path)
    diverged = [row for row in rows if row["state"] == "pruned"]
    assert diverged
    assert all("diverged" in row["reason"] for row in diverged)
    assert found.best["settings"]["lr"] == 1e-3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--search", "lr=0..1"], "probe.lr"),
        (["--search", "probe.lr=0..1"], "search probe.lr=0"),
        (["--search", "probe.rate=0..1"], "rate"),
        (["--search", "nowhere.yaml"], "nowhere.yaml"),
        (["--metric", "accuracies"], "did you mean 'accuracy'"),
        (["--target", "digt"], "did you mean 'digit'"),
        (["--label-fraction", "0.01"], "too few to choose by: it takes 20"),
        (["--join"], "no study to join"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str],
    said: str,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["tune", "probe", str(run), "--out", str(tmp_path), *words]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed
