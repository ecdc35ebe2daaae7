"""`tune pretrain`: trials are pretrainings, ended early where they will not win."""

from __future__ import annotations

import csv
import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml

from selfsight.data.imageset import ImageSet, Target
from selfsight.methods import METHODS
from selfsight.training.plan import prepare as resolved
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import Pretrain
from selfsight.tuning.pretrain import prepare, tune_pretraining
from selfsight.tuning.pretraining_settings import TunePretraining
from selfsight.tuning.pretraining_space import default_space, value_of, with_changes
from selfsight.tuning.space import read_space

SMALL: dict[str, Any] = {
    "method": "simclr",
    "data": "digits",
    "epochs": 2,
    "batch_size": 50,
    "backbone": "resnet20",
    "network": {"widths": (4, 8), "depths": (1, 1)},
    "monitor_images": 150,
    "precision": "fp32",
    "search": ("optimizer.lr=log(1e-4,1e-2)", "views.strength=0.5..1.5"),
}


def settings(out: Path, **changes: Any) -> TunePretraining:
    return TunePretraining(out=str(out), **{**SMALL, **changes})


def rows_of(out: Path) -> list[dict[str, str]]:
    with open(out / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def few(digits: ImageSet) -> ImageSet:
    return digits.take(np.arange(200))


def test_the_best_is_trained_again_to_the_same_value_and_evaluated_once(
    few: ImageSet, tmp_path: Path
) -> None:
    found = tune_pretraining(settings(tmp_path, trials=3), few)
    assert found is not None
    assert found.found["again"]["equal"]
    assert found.found["trials"]["made"] == 3
    best = Path(found.best["run"])
    assert (best / "backbone.safetensors").is_file()
    assert (best / "results.json").is_file()
    readings = found.found["test_readings"]
    assert ("trained", "linear") in {(r["subject"], r["probe"]) for r in readings}
    again_given = tune_pretraining(settings(tmp_path, trials=3), few)
    assert again_given is not None
    assert again_given.found["test_readings"] == readings
    assert again_given.found["again"]["equal"]
    assert not list(tmp_path.glob("trials/*/checkpoints"))
    page = (tmp_path / "report.html").read_text()
    assert "3 trials" in page
    again = Pretrain(**yaml.safe_load((tmp_path / "best.yaml").read_text()))
    assert again.optimizer.lr == found.best["settings"]["optimizer.lr"]
    fresh = again.updated({"out": str(tmp_path / "fresh")})
    problem = prepare(settings(tmp_path, trials=3), few)
    assert problem.trained(fresh).value == found.best["value"]


def test_an_end_that_was_cut_off_reads_test_no_second_time(few: ImageSet, tmp_path: Path) -> None:
    options: dict[str, Any] = {"trials": 2, "epochs": 1}
    found = tune_pretraining(settings(tmp_path, **options), few)
    assert found is not None
    (tmp_path / "tuning.json").unlink()
    again = tune_pretraining(settings(tmp_path, **options), few)
    assert again is not None
    assert again.found["test"] == found.found["test"]
    readings = again.found["test_readings"]
    assert len({tuple(r.values()) for r in readings}) == len(readings)
    kept = json.loads((Path(found.best["run"]) / "results.json").read_text())
    assert len(kept["test_readings"]) == len(readings)


def test_a_collapsed_trial_is_pruned_at_once(
    few: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfsight.training.monitor import Monitor

    measure = Monitor.measure
    seen: list[int] = []

    def collapsing(self: Monitor, module: Any) -> dict[str, float]:
        seen.append(1)
        found = measure(self, module)
        return {**found, "effective_rank": 1.0} if len(seen) == 4 else found

    monkeypatch.setattr(Monitor, "measure", collapsing)
    found = tune_pretraining(settings(tmp_path, trials=2, epochs=1, fractions=()), few)
    assert found is not None
    rows = rows_of(tmp_path)
    assert [row["state"] for row in rows] == ["complete", "pruned"]
    assert rows[1]["reason"].startswith("collapsed: images look nearly the same")
    assert rows[1]["epochs"] == "1"


def test_a_diverged_trial_is_pruned(few: ImageSet, tmp_path: Path) -> None:
    search = ("optimizer.lr=1e-3,1e30", "optimizer.name=sgd")
    found = tune_pretraining(
        settings(tmp_path, trials=4, epochs=1, fractions=(), search=search, seed=1), few
    )
    assert found is not None
    reasons = {row["reason"] for row in rows_of(tmp_path) if row["optimizer.lr"] == "1e+30"}
    assert reasons == {"diverged: its loss is not finite"}
    assert found.best["settings"]["optimizer.lr"] == 1e-3


def test_a_trial_taken_up_again_goes_on_from_its_checkpoint(
    few: ImageSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Interrupted in its second epoch, a trial ends with the values that it has uncut."""
    report = optuna.Trial.report

    def cut(self: optuna.Trial, value: float, step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt
        report(self, value, step)

    options: dict[str, Any] = {"trials": 1, "epochs": 3, "fractions": ()}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(optuna.Trial, "report", cut)
        tune_pretraining(settings(tmp_path / "cut", **options), few)
    capsys.readouterr()
    found = tune_pretraining(settings(tmp_path / "cut", **options), few)
    assert "Resuming from" in capsys.readouterr().err
    whole = tune_pretraining(settings(tmp_path / "whole", **options), few)
    assert found is not None and whole is not None
    assert found.best["value"] == whole.best["value"]
    rows = rows_of(tmp_path / "cut")
    assert [(row["state"], row["retry_of"]) for row in rows] == [("killed", ""), ("complete", "0")]
    assert rows[1]["epochs"] == "3"


def test_without_labels_trials_are_compared_by_the_rank(few: ImageSet, tmp_path: Path) -> None:
    blind = replace(few, targets={}, splits=np.where(few.splits == "test", "train", few.splits))
    problem = prepare(settings(tmp_path), blind)
    assert problem.objective == "rankme"
    assert problem.metric == "rankme"
    assert "no label is read" in problem.notes[-1]
    with pytest.raises(ValueError, match="choose rankme or alpha_req"):
        prepare(settings(tmp_path, objective="knn"), blind)


@pytest.mark.parametrize("wanted", ["auto", "alpha_req"])
def test_numbers_are_judged_by_a_linear_probe(few: ImageSet, tmp_path: Path, wanted: str) -> None:
    values = few.targets["digit"].values.astype(np.float32)[:, None]
    images = replace(few, targets={"size": Target("size", "number", values, ("size",))})
    problem = prepare(settings(tmp_path, objective=wanted, epochs=1), images)
    assert problem.objective == ("linear" if wanted == "auto" else wanted)
    found = problem.run({}, lambda number, best: None, 0)
    assert np.isfinite(found.value)
    assert found.value <= (1.0 if wanted == "auto" else 0.0)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_each_method_has_a_space_that_its_settings_allow(name: str, few: ImageSet) -> None:
    base = resolved(Pretrain(method=name, data="digits", batch_size=50), few).settings
    text = default_space(base)
    space = read_space([], text).fitted(lambda changes: with_changes(base, changes), value_of)
    assert "optimizer.lr" in space
    assert any(key.startswith("method.") for key in space) or not METHODS[name].search
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    changed = with_changes(base, space.suggest(trial))
    assert changed != base


def test_views_change_together(few: ImageSet) -> None:
    base = resolved(Pretrain(method="simclr", data="digits", batch_size=50), few).settings
    assert base.views is not None
    strong = with_changes(
        base, {"views.strength": 2.0, "views.crop_scale": 0.3, "views.flip": 0.25}
    )
    assert strong.views is not None
    for before, after in zip(base.views, strong.views, strict=True):
        assert after.brightness == 2 * before.brightness
        assert after.hue <= 0.5
        assert after.crop_scale is not None and after.crop_scale[0] == 0.3
        assert after.flip == 0.25
        assert after.size == before.size
    assert value_of(strong, "views.crop_scale") == 0.3
    assert value_of(strong, "views.strength") == 1.0
    with pytest.raises(ValueError, match="did you mean 'strength'"):
        with_changes(base, {"views.strengths": 1.0})


def test_the_preset_is_applied_before_the_search(few: ImageSet, tmp_path: Path) -> None:
    """A trial with the paper's value keeps it: the preset would else put its own back."""
    problem = prepare(settings(tmp_path), few)
    assert problem.base.optimizer.name == "adamw"
    paper = METHODS["simclr"].presets["paper"].optimizer
    trial = resolved(problem.of({"optimizer.lr": paper.lr}, "x"), few).settings
    assert trial.optimizer.lr == paper.lr
    assert trial.optimizer.name == "adamw"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search": ("seed=0..5",)}, "no setting to search"),
        ({"search": ("optimizer.lrs=0..5",)}, "did you mean 'lr'"),
        ({"search": ("backbone=resnet18,resnet81",)}, "resnet81"),
        ({"monitor_images": 0}, "monitor_images"),
        ({"devices": 2, "batch_size": 50}, "several --workers"),
    ],
)
def test_a_mistake_is_one_sentence(
    changes: dict[str, Any], said: str, few: ImageSet, tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as error:
        prepare(settings(tmp_path, **changes), few)
    assert said in str(error.value)


CODE = """from torch import nn


def build(channels):
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
"""


def code_at(path: Path, *, added: str = "") -> str:
    """A backbone of one's own, as `--backbone` names it."""
    path.write_text(CODE + added)
    return f"{path}:build"


def _exchange(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def of_code(out: Path, backbone: str, **changes: Any) -> TunePretraining:
    """A small study of a backbone of one's own, which is compared without labels."""
    own = {"network": {}, "backbone": backbone, "objective": "rankme", "fractions": ()}
    return settings(out, **{"epochs": 1, "trials": 1, **own, **changes})


@pytest.mark.parametrize("what", ["backbone", "searched backbone", "weights", "method"])
def test_a_study_does_not_go_on_with_other_files(
    what: str, few: ImageSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trials of different code are not ranked with each other."""
    out, path = tmp_path / "study", tmp_path / "own.py"
    other = tmp_path / "other.py"
    options: dict[str, Any] = {}
    backbone = "auto"
    if what == "method":
        path.write_text(Path(inspect.getfile(METHODS["simclr"])).read_text())
        options["method"] = str(path)
    elif what == "weights":
        path, other = tmp_path / "run", tmp_path / "run-of-another-seed"
        plain = {n: v for n, v in SMALL.items() if n != "search"}
        for seed, folder in enumerate((path, other)):
            pretrain(Pretrain(**{**plain, "epochs": 1, "seed": seed, "out": str(folder)}), few)
        options["weights"] = str(path)
    elif what == "backbone":
        backbone = code_at(path)
    else:
        options["search"] = (f"backbone=resnet20,{code_at(path)}", "optimizer.lr=1e-3,1e-4")
    assert tune_pretraining(of_code(out, backbone, **options), few) is not None
    before = (out / "trials.csv").read_bytes()
    assert tune_pretraining(of_code(out, backbone, **options), few) is not None  # nothing changed
    if what != "weights":
        other.write_text(path.read_text() + "\n")
    _exchange(path, other)
    capsys.readouterr()
    for changes in ({}, {"join": True}):
        with pytest.raises(ValueError, match=rf"another content of .*{path.name}.* --out\.$"):
            tune_pretraining(of_code(out, backbone, **{**options, "trials": 4, **changes}), few)
    assert "epoch 1/1" not in capsys.readouterr().err
    assert (out / "trials.csv").read_bytes() == before
    _exchange(path, other)
    assert tune_pretraining(of_code(out, backbone, **{**options, "trials": 2}), few) is not None


def test_a_folder_with_final_trainings_is_refused_without_its_journal(
    few: ImageSet, tmp_path: Path
) -> None:
    """As where the study is kept in a database."""
    backbone = code_at(tmp_path / "own.py")
    assert tune_pretraining(of_code(tmp_path / "study", backbone), few) is not None
    (tmp_path / "study" / "study.journal").unlink()
    code_at(tmp_path / "own.py", added="# changed\n")
    with pytest.raises(ValueError, match=r"another content of .*own\.py"):
        tune_pretraining(of_code(tmp_path / "study", backbone), few)
    assert len(list((tmp_path / "study" / "trials").iterdir())) == 1


def test_a_backbone_of_code_needs_leave_before_the_trials(few: ImageSet, tmp_path: Path) -> None:
    """The evaluation at the end makes it again."""
    backbone = code_at(tmp_path / "own.py")
    searched = {"search": (f"backbone=resnet20,{backbone}",)}
    for options in ({"backbone": backbone}, {"backbone": "auto", **searched}):
        wish = of_code(tmp_path / "study", **{**options, "fractions": (1.0,)})
        with pytest.raises(ValueError, match="give --allow-code, or --fractions without a share"):
            tune_pretraining(wish, few)
    assert not (tmp_path / "study").exists()
    wish = of_code(tmp_path / "study", backbone, fractions=(1.0,), allow_code=True)
    found = tune_pretraining(wish, few)
    assert found is not None and found.found["test"]["values"]
