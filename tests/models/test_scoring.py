"""`evaluate MODEL [DATA]`: a fitted model gets the same table as a probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import selfsight
from selfsight.data.imageset import ImageSet
from selfsight.records.content import read_record
from selfsight.records.results import ResultsFile


@pytest.fixture(scope="module")
def model(
    digits: ImageSet, make_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("models") / "model"
    run = make_run(digits)
    selfsight.finetune(run, out=out, head_only="linear", device="cpu")
    return out


def test_the_table_of_a_model(model: Path, digits: ImageSet) -> None:
    results = selfsight.evaluate(model, device="cpu")
    (gap,) = [d for d in results.differences if d["metric"] == "accuracy"]
    assert (gap["control"], gap["verdict"]) == ("chance", "better")
    (row,) = [r for r in results.records if (r["subject"], r["metric"]) == ("trained", "accuracy")]
    test = digits.rows("test")
    predictor = selfsight.load_model(model)
    right = predictor.output(digits, test).argmax(1) == digits.targets["digit"].values[test]
    assert row["value"] == pytest.approx(right.mean())
    assert row["probe"] == "linear" and row["num_labels"] == predictor.card.num_labels
    kept = read_record(ResultsFile, model / "results.json")
    assert len(kept.test_readings) == 2
    assert "trained - chance" in results.table()
    assert (model / "predictions.parquet").is_file()
    page = (model / "report.html").read_text()  # it has no start and no untrained backbone
    assert "No verdict was fixed beforehand: there is neither a start nor an untrained" in page
    assert not any(gap["primary"] for gap in results.differences)


def test_other_images_with_fewer_classes_in_another_order(model: Path, digits: ImageSet) -> None:
    target = digits.targets["digit"]
    rows = np.flatnonzero(np.isin(target.values, (2, 5)))
    part = digits.take(rows)
    codes = np.where(target.values[rows] == 5, 0, 1)
    targets = {"digit": replace(target, values=codes, names=("5", "2"))}
    results = selfsight.evaluate(
        model, part.changed(targets=targets), out=model.parent / "other", allow_leaks=True
    )
    (row,) = [r for r in results.records if (r["subject"], r["metric"]) == ("trained", "accuracy")]
    predictor, test = selfsight.load_model(model), part.rows("test")
    guess = predictor.output(part, test).argmax(1)  # a digit that is not there may be predicted
    assert row["value"] == pytest.approx((guess == target.values[rows][test]).mean())


def test_a_class_that_the_model_does_not_know(model: Path, digits: ImageSet) -> None:
    target = digits.targets["digit"]
    named = replace(target, names=(*target.names[:9], "nine"))
    with pytest.raises(ValueError, match="does not know 'nine'"):
        selfsight.evaluate(
            model, digits.changed(targets={"digit": named}), out=model.parent / "x",
            allow_leaks=True,
        )  # fmt: skip


def test_rare_classes_count_more_in_a_balanced_fine_tuning(
    digits: ImageSet, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    """Of a class with few labels more images are found, with the other settings alike."""
    values = digits.targets["digit"].values
    train = digits.rows("train")
    rare = train[values[train] == 8][5:]
    digit = digits.targets["digit"].without(rare)
    images = digits.changed(targets={"digit": digit})
    run = make_run(images)
    test = images.rows("test")
    eights = test[values[test] == 8]
    short = {"finetuning.epochs": 2, "finetuning.min_steps": 40, "finetuning.head_lr": 1e-2,
             "finetuning.backbone_lr": 1e-3}  # fmt: skip
    found = []
    for balanced in (False, True):
        made = selfsight.finetune(
            run, images, out=tmp_path / str(balanced), balanced=balanced, settings=short
        )
        found.append((made.output(images, eights).argmax(1) == 8).mean())
    assert found[1] > found[0]
