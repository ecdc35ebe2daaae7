"""What `finetune` reads, writes and says."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import selfsight
from selfsight.cli import main
from selfsight.data.imageset import ImageSet
from selfsight.fitting.recipe import FineTuning
from selfsight.fitting.stack import Classifier
from selfsight.models.predictor import Predictor
from selfsight.tuning.finetune import FinetuneProblem

Fit = Callable[..., Predictor]


def test_no_choice_depends_on_validation_or_test(
    digits_run: Path, described: ImageSet, tmp_path: Path
) -> None:
    held = described.rows("validation", "test")
    pixels = described.pixels.copy()
    pixels[held] = 255 - pixels[held]
    targets = {name: target.without(held) for name, target in described.targets.items()}
    hidden = replace(described, pixels=pixels, targets=targets)
    for head in ("linear", "mlp"):
        found = []
        for i, images in enumerate((described, hidden)):
            out = tmp_path / f"{head}{i}"
            made = selfsight.finetune(digits_run, images, out=out, target="marks", head_only=head)
            found.append(made)
        assert found[0].card.weights == found[1].card.weights
        assert found[0].card.thresholds == found[1].card.thresholds
        assert set(found[0].card.thresholds or ()) != {0.5}
        assert found[0].card.validation["mAP"] > 0.5
        assert found[1].card.validation == {}


TUNE = {
    "probe": (
        *("--search", "probe.lr=log(1e-3,0.1)", "probe.width=16,32", "probe.activation=gelu,tanh"),
        *("--probe.normalisation", "batch", "--probe.depth", "2", "--probe.min-steps", "40"),
    ),
    "finetune": (
        *("--search", "finetuning.head_lr=log(1e-3,0.1)", "finetuning.batch_size=16,32"),
        *("--finetuning.min-steps", "20", "--finetuning.epochs", "1"),
    ),
}


@pytest.mark.parametrize("verb", TUNE)
def test_what_tuning_found_becomes_a_model(
    verb: str,
    digits_run: Path,
    digits: ImageSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`tune`, then `finetune --settings OUT/best.yaml`, `predict` and `export`, by command."""
    short = FineTuning(backbone_lr=1e-3, head_lr=1e-2, epochs=1, min_steps=20)
    monkeypatch.setattr(FinetuneProblem, "default", short)
    study, model, table = tmp_path / "study", tmp_path / "model", tmp_path / "table.csv"
    words = [str(digits_run), "--out", str(study), "--trials", "2", "--label-fraction", "0.1"]
    assert main(["tune", verb, *words, *TUNE[verb]]) == 0
    best = yaml.safe_load((study / "best.yaml").read_text())
    assert main(["finetune", "--settings", str(study / "best.yaml"), "--out", str(model)]) == 0
    predictor = Predictor.load(model)
    assert predictor.card.target == "digit"
    if verb == "probe":
        classifier = Classifier(**best["probe"])
        assert predictor.head.shape == classifier.shape
        assert len(classifier.shape.widths) == 2
    else:
        rates = ("backbone_lr", "head_lr")
        assert {name: predictor.card.choice[name] for name in rates} == {
            name: best["finetuning"][name] for name in rates
        }
    images = tmp_path / "images.npy"
    np.save(images, digits.pixels[digits.rows("test")])
    assert main(["predict", str(model), str(images), "--out", str(table)]) == 0
    with open(table, newline="") as file:
        guesses = np.array([int(row["predicted"]) for row in csv.DictReader(file)])
    assert (
        guesses == digits.targets["digit"].values[digits.rows("test")]
    ).mean() > 0.2  # chance: 0.1
    assert main(["export", str(model), "--out", str(tmp_path / "model.onnx")]) == 0


def test_labels_joined_by_row_id(digits_run: Path, digits: ImageSet, tmp_path: Path) -> None:
    rows = digits.rows("train")[:60]
    table = tmp_path / "labels.csv"
    parity = digits.targets["digit"].values[rows] % 2
    lines = [
        f"{digits.row_ids[r]},{'odd' if p else 'even'}" for r, p in zip(rows, parity, strict=True)
    ]
    table.write_text("\n".join(["row_id,parity", *lines]))
    bare = replace(digits, targets={}, splits=np.full(len(digits), "unlabelled"))
    words = ["--target", "parity", "--labels", str(table), "--head-only", "linear"]
    out = tmp_path / "m"
    assert main(["finetune", str(digits_run), *words, "--out", str(out)]) == 0
    found = Predictor.load(out)
    assert found.card.names == ("even", "odd")
    assert found.card.num_labels == 60
    test = digits.rows("test")
    right = found.output(bare, test).argmax(1) == digits.targets["digit"].values[test] % 2
    assert right.mean() > 0.6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/no/such/run"], "/no/such/run"),
        (["RUN", "/no/such/images"], "/no/such/images"),
        (["RUN", "--target", "digt"], "did you mean 'digit'"),
        (["RUN", "--labels", "/no.csv"], "/no.csv"),
        (["RUN", "--group", "coil"], "as its training opened them"),
        (["RUN", "--device", "tpu"], "device 'tpu'"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str],
    said: str,
    digits_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [str(digits_run) if word == "RUN" else word for word in words]
    assert main(["finetune", *words, "--out", str(tmp_path / "m")]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "m").exists()


def test_what_is_there_is_kept(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="not an empty folder"):
        fit("digit", tmp_path / "mine", head_only="linear")
    fit("digit", tmp_path / "m", head_only="linear", label_fraction=0.1)
    with pytest.raises(ValueError, match="a model already"):
        fit("digit", tmp_path / "m", head_only="linear")


def test_labels_that_say_nothing(digits_run: Path, digits: ImageSet, tmp_path: Path) -> None:
    target = digits.targets["digit"]
    cases = {
        "all of one class": target.without(target.values != 3),
        "one labelled image": target.without(np.arange(len(digits)) != digits.rows("train")[0]),
    }
    for said, known in cases.items():
        images = replace(digits, targets={"digit": known})
        with pytest.raises(ValueError, match=said):
            selfsight.finetune(digits_run, images, out=tmp_path / "m", head_only="linear")
    with pytest.raises(ValueError, match="no labels; join some with --labels"):
        selfsight.finetune(digits_run, replace(digits, targets={}), out=tmp_path / "m")
