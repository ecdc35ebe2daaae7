"""`tune finetune`: nested, leak-free, repeatable."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from selfsight.cli import main
from selfsight.data.imageset import ImageSet, Target
from selfsight.fitting.finetune import LOOKS
from selfsight.fitting.folds import groups_of
from selfsight.fitting.recipe import FineTuning
from selfsight.fitting.stopping import Stopping
from selfsight.tuning.finetune import (
    FinetuneProblem,
    TuneFinetuning,
    prepare,
    tune_finetuning,
)
from selfsight.tuning.record import Tuned

SPACE = (
    "finetuning.backbone_lr=log(1e-4,1e-2)",
    "finetuning.dropout=0..0.5",
    "finetuning.batch_size=16,32",
)
BUDGETED = FinetuneProblem.default
SHORT = {"min_steps": 40, "epochs": 1, "batch_size": 32}


@pytest.fixture(autouse=True)
def short_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default fine-tuning tries six pairs of rates over 500 steps: one pair, 20 steps here."""
    one = FineTuning(backbone_lr=1e-3, head_lr=1e-2, epochs=1, min_steps=20)
    monkeypatch.setattr(FinetuneProblem, "default", one)


def tuned(run: Path, out: Path, images: ImageSet, **options: Any) -> Tuned:
    settings = {"trials": 3, "search": SPACE, "finetuning": SHORT, **options}
    found = tune_finetuning(TuneFinetuning(run=str(run), out=str(out), **settings), images)
    assert found is not None
    return found


def choices(out: Path) -> list[dict[str, str]]:
    with open(out / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in ("seconds", "worker")} for row in rows]


@pytest.fixture(scope="module")
def few(digits: ImageSet) -> ImageSet:
    return digits.take(np.arange(200))


@pytest.fixture(scope="module")
def small(make_run: Any, few: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = make_run(few, tmp_path_factory.mktemp("run") / "run")
    return folder


def test_the_best_is_trained_again_and_reads_test_once_beside_its_controls(
    small: Path, few: ImageSet, tmp_path: Path
) -> None:
    found = tuned(small, tmp_path, few)
    assert found.found["again"]["equal"]
    assert found.found["trials"]["made"] == 3
    pairs = [(r["probe"], r["subject"]) for r in found.found["test_readings"]]
    assert sorted(pairs) == [
        ("finetune", "trained"),
        ("linear", "trained"),
        ("tuned", "scratch"),
        ("tuned", "trained"),
    ]
    again = tuned(small, tmp_path, few)
    assert again.found["test_readings"] == found.found["test_readings"]
    page = (tmp_path / "report.html").read_text()
    assert "3 trials" in page
    assert "default fine-tuning" in page
    best = yaml.safe_load((tmp_path / "best.yaml").read_text())["finetuning"]
    assert best == found.best["settings"]
    search = ("finetuning.dropout=0..0.9",)
    one = tuned(small, tmp_path / "one", few, trials=1, search=search, finetuning=best)
    assert one.best["value"] == found.best["value"]


@pytest.mark.parametrize("given", [{}, {"min_steps": 40, "epochs": 1}, {"epochs": 7}])
def test_the_default_has_the_budget_of_the_recipe_and_the_cost_is_told_first(
    small: Path, few: ImageSet, given: dict[str, int]
) -> None:
    problem = prepare(TuneFinetuning(run=str(small), finetuning=given), few)  # type: ignore[arg-type]
    default = BUDGETED.fget(problem)  # type: ignore[attr-defined]
    recipe = problem.settings.finetuning
    assert (default.epochs, default.min_steps) == (recipe.epochs, recipe.min_steps)
    assert len(default.recipes) == 6 and "6 pairs of learning rates" in problem.cost
    steps = recipe.steps(len(problem.labels.subset))
    assert f"up to {steps:,} steps" in problem.cost and "10 more trainings" in problem.cost


def test_no_choice_depends_on_test(
    small: Path, few: ImageSet, make_run: Any, tmp_path: Path
) -> None:
    """Test images and labels are replaced by noise: every trial stays the same."""
    draw = np.random.default_rng(0)
    test = few.rows("test")
    pixels = few.pixels.copy()
    pixels[test] = draw.integers(0, 255, pixels[test].shape)
    target = few.targets["digit"]
    values = target.values.copy()
    values[test] = draw.integers(0, 10, len(test))
    planted = replace(few, pixels=pixels, targets={"digit": replace(target, values=values)})
    whole = tuned(small, tmp_path / "whole", few)
    spoiled = tuned(make_run(planted, tmp_path / "run"), tmp_path / "spoiled", planted)
    assert choices(spoiled.folder) == choices(whole.folder)
    assert spoiled.best["settings"] == whole.best["settings"]
    assert spoiled.found["test"] != whole.found["test"]


def test_few_validation_images_are_not_what_trials_are_compared_on(
    run: Path, digits: ImageSet
) -> None:
    whole = prepare(TuneFinetuning(run=str(run)), digits).labels
    assert np.array_equal(whole.subset.rows[whole.held], digits.rows("validation"))
    part = prepare(TuneFinetuning(run=str(run), label_fraction=0.3), digits).labels
    rows = part.subset.rows
    assert 0 < np.isin(rows, digits.rows("validation")).sum() < 20
    assert part.held.sum() == pytest.approx(len(rows) / 5, abs=3)


@pytest.mark.parametrize("kind", ["labels", "number"])
def test_labels_and_numbers_by_group(
    kind: Any, few: ImageSet, make_run: Any, tmp_path: Path
) -> None:
    digit = few.targets["digit"].values
    values = np.stack([digit % 2, digit > 4], 1).astype(np.float32)
    values[::9, 0] = np.nan
    splits = np.where(few.splits == "validation", "train", few.splits)
    groups = np.arange(len(few)) // 4 + np.where(splits == "test", len(few), 0)
    images = replace(
        few,
        targets={"t": Target("t", kind, values, ("a", "b"))},
        groups=groups.astype(np.int64),
        splits=splits,
    )
    run = make_run(images, tmp_path / "run")
    labels = prepare(TuneFinetuning(run=str(run)), images).labels
    rows, held = labels.subset.rows, labels.held
    assert 0 < held.sum() < len(rows)
    assert not np.isin(rows, images.rows("test")).any()
    numbers = groups_of(images.groups, rows)
    assert not set(numbers[held]) & set(numbers[~held])
    found = tuned(run, tmp_path / "study", images, trials=2)
    assert found.found["metric"] == ("mAP" if kind == "labels" else "r2")
    assert found.found["again"]["equal"]


def test_it_stops_early_and_keeps_its_best_look(small: Path, few: ImageSet) -> None:
    too_fast = {"backbone_lr": 0.3, **SHORT}
    settings = TuneFinetuning(run=str(small), finetuning=too_fast, stopping={"patience": 2})
    problem = prepare(settings, few)
    before = {name: v.clone() for name, v in problem.start.backbone.state_dict().items()}
    found = problem.run({}, lambda number, best: None, 0)
    assert found.stopped
    assert len(found.curve) < LOOKS
    assert found.value == max(found.curve) == found.curve[found.best - 1]
    rule = Stopping(patience=2).rule("highest")
    assert rule.steps(found.curve)
    rows = problem.labels.subset.rows[problem.labels.held]
    output = found.trained.predict(few, rows)
    truth = few.targets["digit"].values[rows]
    assert (output.argmax(1) == truth).mean() == pytest.approx(found.value)
    after = problem.start.backbone.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_trial_that_will_not_win_is_pruned(small: Path, few: ImageSet, tmp_path: Path) -> None:
    found = tuned(
        small,
        tmp_path,
        few,
        trials=10,
        search=("finetuning.backbone_lr=log(1e-4,1.0)",),
        sampler="random",
        stopping={"patience": None},
    )
    rows = choices(tmp_path)
    pruned = [row for row in rows if row["state"] == "pruned"]
    assert pruned
    assert all(int(row["epochs"]) < LOOKS for row in pruned if "median" in row["reason"])
    assert found.found["trials"]["epochs"] < LOOKS * 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--search", "backbone_lr=0..1"], "finetuning.backbone_lr"),
        (["--search", "finetuning.backbone_lrs=0..1"], "did you mean 'backbone_lr'"),
        (["--metric", "mAP"], "metric of a class target"),
        (["--group", "coil"], "group: the images of"),
        (["--target", "digt"], "did you mean 'digit'"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str],
    said: str,
    small: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["tune", "finetune", str(small), "--out", str(tmp_path), *words]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed
