from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from selfsight.data.imageset import ImageSet, Target
from selfsight.data.splits import few_labels
from selfsight.evaluation import controls, material
from selfsight.evaluation.protocol import evaluate
from selfsight.evaluation.results import Results
from selfsight.evaluation.settings import Evaluate

MakeRun = Callable[..., Path]
SMALL: dict[str, Any] = {"fractions": (0.01, 0.2), "draws": 2, "clusters": False}


def _with_targets(digits: ImageSet) -> ImageSet:
    """The digits with groups, several labels, two numbers and an identity beside the class."""
    digit = digits.targets["digit"].values
    labels = np.stack([digit % 2 == 0, digit > 6, np.isin(digit, [0, 6, 8, 9])], 1)
    labels = labels.astype(np.float32)
    labels[::9, 1] = np.nan
    numbers = np.stack([digits.pixels.mean((1, 2, 3)), digit], 1).astype(np.float32)
    numbers[::7, 0] = np.nan
    targets = {
        "digit": digits.targets["digit"],
        "marks": Target("marks", "labels", labels, ("even", "large", "round")),
        "ink": Target("ink", "number", numbers, ("ink", "value")),
        "who": Target("who", "identity", digit.copy(), digits.targets["digit"].names),
    }
    return replace(digits, targets=targets)


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the key of the evaluation, which other pixels and labels change."""
    return [{name: row[name] for name in row if name != "evaluation"} for row in rows]


@pytest.fixture(scope="module")
def evaluated(digits: ImageSet, make_run: MakeRun) -> Results:
    return evaluate(Evaluate(run=str(make_run(digits)), **SMALL | {"clusters": True}), digits)


def test_records_summary_and_predictions_agree(evaluated: Results, digits: ImageSet) -> None:
    kept = json.loads(evaluated.path.read_text())
    assert kept["summary"] == evaluated.summary
    mine = {"probe": "linear", "subject": "trained", "label_fraction": 0.2, "metric": "accuracy"}

    def select(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if mine.items() <= row.items()]

    values = [row["value"] for row in select(kept["records"])]
    (summary,) = select(kept["summary"]["values"])
    assert len(values) == 2
    assert summary["mean"] == pytest.approx(np.mean(values))
    assert summary["low"] < summary["mean"] < summary["high"]
    table = pq.read_table(evaluated.path.with_name("predictions.parquet")).to_pylist()
    one = {"probe": "linear", "subject": "trained", "label_fraction": 0.2, "label_seed": 1}
    rows = [row for row in table if one.items() <= row.items()]
    assert len(rows) == len(digits.rows("test"))
    right = [np.argmax(row["output"]) == row["truth"][0] for row in rows]
    assert np.mean(right) == pytest.approx(values[1])
    controls = {d["control"] for d in kept["summary"]["differences"]}
    assert controls == {"untrained", "pixels", "chance"}
    text = evaluated.table()
    assert "trained - pixels" in text
    assert f"{100 * summary['mean']:.1f}" in text


def test_every_label_that_was_read_is_counted(evaluated: Results, digits: ImageSet) -> None:
    for record in evaluated.records:
        if record["task"] in ("none", "clusters"):
            assert record["num_labels"] == 0
            continue
        drawn = few_labels(
            digits.targets["digit"],
            digits.rows("train"),
            record["label_fraction"],
            record["label_seed"],
        )
        assert record["num_labels"] == len(drawn)


def test_each_reading_of_test_is_noted(evaluated: Results) -> None:
    scored = {
        (r["probe"], r["subject"], r["label_fraction"], r["label_seed"])
        for r in evaluated.records
        if r["split"] == "test"
    }
    noted = [
        (r["probe"], r["subject"], r["label_fraction"], r["label_seed"])
        for r in evaluated.test_readings
    ]
    probes, clusters = 2 * 4 * 2 * 2, 3 * (2 + 1)
    assert len(noted) == len(set(noted)) == probes + clusters
    assert set(noted) == scored


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("representation", [pytest.param("run", marks=pytest.mark.slow), "auto"])
def test_no_choice_depends_on_test(
    representation: str, digits: ImageSet, make_run: MakeRun
) -> None:
    images = _with_targets(digits)
    images = replace(images, pixels=(images.pixels / 255).astype(np.float32))
    test = images.rows("test")
    pixels = images.pixels.copy()
    pixels[test] = np.nan
    random = np.random.default_rng(0)
    targets = dict(images.targets)
    for name in ("digit", "marks", "ink"):
        values = targets[name].values.copy()
        values[test] = values[random.permutation(test)]
        if name == "marks":
            values[test] = 1 - values[test]
        targets[name] = replace(targets[name], values=values)
    planted = replace(images, pixels=pixels, targets=targets)
    found = []
    for here in (images, planted):
        settings = Evaluate(
            run=str(make_run(images)),
            probes=("knn", "linear", "mlp"),
            data="x",
            fractions=(0.01, 0.2),
            draws=1,
            representation=representation,  # type: ignore[arg-type]
        )
        found.append(evaluate(settings, here))
    assert _plain(found[0].choices) == _plain(found[1].choices)
    chosen = {c["choice"].get("representation") for c in found[0].choices}
    assert chosen == ({None} if representation == "run" else {None, "mean", "stages"})
    assert any(c["choice"].get("thresholds") for c in found[0].choices)
    free = [[r for r in f.records if r["task"] == "none"] for f in found]
    assert _plain(free[0]) == _plain(free[1])
    accuracy = [[r["value"] for r in f.records if r["metric"] == "accuracy"] for f in found]
    assert accuracy[0] != accuracy[1]
    assert any("not finite" in note for note in found[1].notes)


def test_each_subject_chooses_between_mean_and_stages(digits: ImageSet, make_run: MakeRun) -> None:
    run = str(make_run(digits))
    of = {
        kind: evaluate(Evaluate(run=run, representation=kind, **SMALL), digits)  # type: ignore[arg-type]
        for kind in ("auto", "mean", "stages")
    }

    def values(results: Results) -> dict[tuple[Any, ...], float]:
        names = ("probe", "subject", "label_fraction", "label_seed", "metric", "label")
        return {
            tuple(r[name] for name in names): r["value"]
            for r in results.records
            if r["task"] == "class"
        }

    both = {kind: values(of[kind]) for kind in ("mean", "stages")}
    networks, seen = {"trained", "untrained"}, set()
    for record in of["auto"].records:
        if record["task"] != "class":
            continue
        assert ("representation" in record) == (record["subject"] in networks)
        if record["subject"] not in networks:
            continue
        seen.add(record["representation"])
        names = ("probe", "subject", "label_fraction", "label_seed", "metric", "label")
        alike = both[record["representation"]][tuple(record[name] for name in names)]
        assert record["value"] == pytest.approx(alike, abs=1e-4)
    assert "stages" in seen  # both are chosen in `test_no_choice_depends_on_test`
    (note,) = (n for n in of["auto"].notes if "linear: stages or mean" in n)
    assert "trained stages in" in note
    assert "untrained stages in" in note
    free = [[r for r in of[kind].records if r["task"] == "none"] for kind in ("auto", "mean")]
    assert [r["value"] for r in free[0]] == pytest.approx([r["value"] for r in free[1]], rel=1e-3)


def test_validation_labels_are_not_read(digits: ImageSet, make_run: MakeRun) -> None:
    unknown = digits.targets["digit"].without(digits.rows("validation"))
    hidden = replace(digits, targets={"digit": unknown})
    run = str(make_run(digits))
    first = evaluate(Evaluate(run=run, **SMALL), digits)
    second = evaluate(Evaluate(run=run, **SMALL), hidden)
    assert first.records == second.records


def test_a_second_evaluation_makes_no_forward_pass(
    digits: ImageSet, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = _with_targets(digits)
    run = make_run(images)
    forwards = []
    plain = material.represent

    def counted(*args: Any, **kwargs: Any) -> Any:
        forwards.append(args[0])
        return plain(*args, **kwargs)

    monkeypatch.setattr(material, "represent", counted)
    calibrations = []
    calibrate = controls.calibrate

    def calibrating(*args: Any, **kwargs: Any) -> None:
        calibrations.append(args[0])
        calibrate(*args, **kwargs)

    monkeypatch.setattr(controls, "calibrate", calibrating)
    first = evaluate(Evaluate(run=str(run), target="digit", **SMALL), images)
    assert len(forwards) == 1 + 5
    forwards.clear()
    evaluate(Evaluate(run=str(run), target="marks", **SMALL), images)
    assert forwards == []
    assert len(calibrations) == 5  # of the first evaluation
    kept = Results.read(first.path)
    assert {r["target"] for r in kept.records} == {None, "digit", "marks"}
    assert len(kept.test_readings) == 32 + 16

    # another datum, then other weights: nothing stale is read
    pixels = images.pixels.copy()
    pixels[0, 0, 0, 0] += 1
    evaluate(Evaluate(run=str(run), target="digit", **SMALL), replace(images, pixels=pixels))
    assert len(forwards) == 6
    forwards.clear()
    make_run(images, run, seed=101)
    changed = evaluate(Evaluate(run=str(run), target="digit", **SMALL), images)
    assert len(forwards) == 1
    assert changed.records != first.records
    kept = Results.read(first.path)
    assert {r["target"] for r in kept.records} == {None, "digit"}
    assert len(kept.test_readings) == 32 + 16 + 32 + 32


def test_every_kind_of_target(digits: ImageSet, make_run: MakeRun) -> None:
    images = _with_targets(digits)
    groups = np.arange(len(images)) // 3
    images = replace(images, groups=groups)
    # The splits of the digits cut these groups.
    wish = Evaluate(run=str(make_run(images)), data="x", allow_leaks=True, **SMALL)
    found = evaluate(wish, images)
    metrics = {(r["task"], r["metric"]) for r in found.records}
    assert {
        ("class", "balanced_accuracy"),
        ("labels", "mAP"),
        ("labels", "hamming"),
        ("number", "r2"),
        ("number", "rmse"),
        ("identity", "recall_at_1"),
        ("none", "rankme"),
    } <= metrics
    labels = {r["label"] for r in found.records if r["metric"] == "average_precision"}
    assert labels == {"even", "large", "round"}
    text = found.table()
    for word in ("marks (labels), mAP", "ink (number), r2", "who (identity), recall_at_1"):
        assert word in text


def test_without_labels_only_what_needs_none(digits: ImageSet, make_run: MakeRun) -> None:
    splits = np.where(digits.splits == "validation", "validation", "unlabelled")
    bare = replace(digits, targets={}, splits=splits)
    found = evaluate(Evaluate(run=str(make_run(bare))), bare)
    assert {r["task"] for r in found.records} == {"none"}
    assert {r["metric"] for r in found.records} == {
        "rankme",
        "alpha_req",
        "uniformity",
        "alignment",
    }
    assert any("no labels" in note for note in found.notes)
    assert found.path.with_name("representations").joinpath("map.npz").exists()
    assert "RankMe" in found.table()


def test_without_a_test_split_validation_is_said(digits: ImageSet, make_run: MakeRun) -> None:
    splits = np.where(digits.splits == "test", "validation", digits.splits)
    images = replace(digits, splits=splits)
    found = evaluate(Evaluate(run=str(make_run(images)), **SMALL), images)
    assert {r["split"] for r in found.records} == {"validation", "train"}
    assert found.test_readings == []
    assert any("no test split" in note for note in found.notes)


def test_another_run_as_a_control(digits: ImageSet, make_run: MakeRun) -> None:
    other = make_run(digits, seed=7)
    settings = Evaluate(run=str(make_run(digits)), controls=(str(other),), **SMALL)
    found = evaluate(settings, digits)
    assert {d["control"] for d in found.differences} == {other.name, "chance"}


def test_the_same_run_beside_itself_gets_no_verdict(digits: ImageSet, make_run: MakeRun) -> None:
    run = make_run(digits)
    found = evaluate(Evaluate(run=str(run), controls=(str(run),), **SMALL), digits)
    itself = [d for d in found.differences if d["control"] != "chance"]
    assert {(d["verdict"], d["mean"], d["low"]) for d in itself} == {("no verdict", 0.0, None)}
    assert {d["reason"] for d in itself} == {"nothing varies over the test split"}


def test_a_repeated_evaluation_is_bit_identical(digits: ImageSet, make_run: MakeRun) -> None:
    run = str(make_run(digits))
    first = evaluate(Evaluate(run=run, probes=("knn", "linear", "mlp"), **SMALL), digits)
    second = evaluate(Evaluate(run=run, probes=("knn", "linear", "mlp"), **SMALL), digits)
    assert first.records == second.records


def test_the_map(evaluated: Results, digits: ImageSet) -> None:
    with np.load(evaluated.path.parent / "representations" / "map.npz") as file:
        count = len(digits.rows("test"))
        assert file["x"].shape == (count, 2)
        assert file["thumbnails"].shape == (count, 8, 8, 3)
        assert set(file["splits"]) == {"test"}
        assert set(file["target"]) == set(digits.targets["digit"].names)
        assert len(file["row_ids"]) == count


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "digits"}, "did you mean 'digit'"),
        ({"group": "patient"}, "as its training opened them"),
        ({"controls": ("nowhere",)}, "no such folder"),
        ({"split": "validation", "target": "x"}, "no target"),
    ],
)
def test_mistakes_are_one_sentence(
    all_digits: ImageSet, make_run: MakeRun, changes: dict[str, Any], message: str
) -> None:
    settings = Evaluate(run=str(make_run(all_digits)), **changes)
    with pytest.raises(ValueError, match=message) as error:
        evaluate(settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("changes", [{"fractions": (0.0,)}, {"probes": ("linnear",)}])
def test_settings_are_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"greater than 0|did you mean 'linear'"):
        Evaluate(run="x", **changes)


def seeded(run: Path, seed: int) -> str:
    """The run, as one of another training seed."""
    settings = run / "settings.yaml"
    settings.write_text(settings.read_text().replace("seed: 0", f"seed: {seed}"))
    return str(run)


def test_training_seeds_are_one_row(digits: ImageSet, make_run: MakeRun) -> None:
    runs = [seeded(make_run(digits, seed=seed), seed) for seed in (100, 101, 102)]
    wish = Evaluate(run=runs[0], **SMALL | {"fractions": (0.2, 1.0)})
    alone = evaluate(wish, digits)
    several = evaluate(wish.updated({"replicates": tuple(runs[1:])}), digits)
    mine = {"probe": "linear", "subject": "trained", "metric": "accuracy"}
    for fraction, draws in ((0.2, 2), (1.0, 1)):
        here = {**mine, "label_fraction": fraction}
        (row,) = [v for v in several.values if here.items() <= v.items()]
        values = [r["value"] for r in several.records if here.items() <= r.items()]
        assert (row["seeds"], row["draws"], len(values)) == (3, draws, 3 * draws)
        assert row["mean"] == pytest.approx(np.mean(values))
        before = [r["value"] for r in alone.records if here.items() <= r.items()]
        assert set(before) <= set(values)
    gaps = [d for d in several.differences if d["probe"] == "linear"]
    assert {d["seeds"] for d in gaps} == {3}
    assert any("3 pretraining seeds" in note for note in several.notes)
    # Rows of three seeds stay when one of them is evaluated again.
    evaluate(wish, digits)
    kept = Results.read(several.path)
    assert {v["seeds"] for v in kept.values if mine.items() <= v.items()} == {3}
    count = [r for r in kept.records if {**mine, "label_fraction": 1.0}.items() <= r.items()]
    assert len(count) == 3


def test_replicates_differ_in_the_seed_alone(digits: ImageSet, make_run: MakeRun) -> None:
    first, other = make_run(digits), make_run(digits, seed=101)
    settings = Path(seeded(other, 101)) / "settings.yaml"
    where = "checkpoint_steps: 3\ntrack: [wandb]\ncompile: 'off'\nplacement: host\n"
    settings.write_text(settings.read_text() + where)
    evaluate(Evaluate(run=str(first), replicates=(str(other),), **SMALL), digits)
    settings.write_text(settings.read_text() + "epochs: 7\n")
    with pytest.raises(ValueError, match=r"more than the seed of the training \(epochs\)"):
        evaluate(Evaluate(run=str(first), replicates=(str(other),), **SMALL), digits)


@pytest.mark.parametrize("kind", ["itself", "copy", "same seed", "same weights"])
def test_one_training_is_one_seed(
    digits: ImageSet, make_run: MakeRun, tmp_path: Path, kind: str
) -> None:
    """Counted twice, it would halve the interval."""
    first = make_run(digits)
    other = first
    if kind == "copy":
        other = Path(shutil.copytree(first, tmp_path / "copy"))
    elif kind == "same seed":
        other = make_run(digits, seed=101)
    elif kind == "same weights":
        other = Path(seeded(make_run(digits), 1))
    what = "weights" if kind == "same weights" else "seed 0"
    with pytest.raises(ValueError, match=f"have the same {what}, so they are one training seed"):
        evaluate(Evaluate(run=str(first), replicates=(str(other),), **SMALL), digits)
