"""What a run and its ancestors were trained on, and the test images that are among it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import selfsight
from selfsight.runs.lineage import lineage_of, seen_by
from selfsight.runs.request import own_images
from selfsight.runs.run import Run, load_run

MakeFile = Callable[..., Path]
TrainRun = Callable[..., Run]


def test_a_run_knows_what_it_was_trained_on(make_file: MakeFile, train_run: TrainRun) -> None:
    data = make_file("a", range(60), range(60, 80))
    more = make_file("p", range(100, 130), labels=False)
    run = train_run("run", data, pool=(str(more),))
    images, seen = own_images(run), seen_by(run)
    own = images.content.digests[images.pool]
    held = images.content.digests[images.rows("validation", "test")]
    assert np.isin(own, seen.digests).all() and not np.isin(held, seen.digests).any()
    assert len(seen.digests) == len(own) + 30
    assert len(seen.labelled) == 0 and seen.scale.form == images.scale.form


def test_the_labels_that_were_read_are_known(make_file: MakeFile, train_run: TrainRun) -> None:
    data = make_file("a", range(60), range(60, 80))
    few = train_run("few", data, "supervised", **{"supervision.label_fraction": 0.5})
    joined = train_run("joined", data, **{"supervision.weight": 1.0})
    train = own_images(few).rows("train")
    assert len(seen_by(few).labelled) == round(0.5 * len(train))
    assert len(seen_by(joined).labelled) == len(train)


def test_its_own_images_are_no_leak(
    make_file: MakeFile, train_run: TrainRun, quick: dict[str, Any]
) -> None:
    data = make_file("a", range(60), range(60, 80))
    run = train_run("run", data, "supervised")
    results = selfsight.evaluate(run, **quick)
    assert results.allowed_leaks == [] and results.records
    again = selfsight.evaluate(run, str(data), **quick)  # the same file, named: still none
    assert again.allowed_leaks == []
    assert not any("was trained on" in note for note in [*results.cautions, *again.cautions])


def test_other_data_that_the_run_has_seen_is_said(
    make_file: MakeFile, train_run: TrainRun, quick: dict[str, Any]
) -> None:
    run = train_run("run", make_file("a", range(60), range(60, 80)))
    other = make_file("other", range(100, 130), [*range(5), *range(130, 140)])
    results = selfsight.evaluate(run, str(other), **quick)
    (note,) = [note for note in results.cautions if "was trained on" in note]
    seen = np.isin(range(5), _numbers(run)).sum()
    assert f"was trained on {seen} of the 15 test images of other, without their labels" in note
    assert note in results.table()
    kept = json.loads(run.folder.results.read_text())
    assert note in kept["cautions"] and kept["allowed_leaks"] == []
    dropped = selfsight.evaluate(run, str(other), drop_leaks=True, **quick)
    assert not any("without their labels" in note for note in dropped.cautions)


def test_with_their_labels_they_stop_both_verbs(
    make_file: MakeFile, train_run: TrainRun, tmp_path: Path, quick: dict[str, Any]
) -> None:
    run = train_run("run", make_file("a", range(60), range(60, 80)), "supervised")
    other = make_file("other", range(100, 130), [*range(5), *range(130, 140)])
    said = r"other: .*run was trained on \d of the 15 test images with their labels.*--allow-leaks"
    with pytest.raises(ValueError, match=said):
        selfsight.evaluate(run, str(other), **quick)
    model: dict[str, Any] = {"out": tmp_path / "model", "head_only": "linear", "device": "cpu"}
    with pytest.raises(ValueError, match=said):
        selfsight.finetune(run, str(other), **model)
    allowed = selfsight.evaluate(run, str(other), allow_leaks=True, **quick)
    (leak,) = allowed.allowed_leaks
    assert leak.startswith("other: ") and f"Warning, allowed: {leak}" in allowed.table()
    page = selfsight.report(run.folder.path).read_text()
    assert "A leak between the splits was allowed" in page and "with their labels" in page
    card = selfsight.finetune(run, str(other), allow_leaks=True, **model).card
    assert len(card.allowed_leaks) == 1
    assert not selfsight.evaluate(run, str(other), drop_leaks=True, **quick).allowed_leaks


def test_ancestors_count(
    make_file: MakeFile, train_run: TrainRun, tmp_path: Path, quick: dict[str, Any]
) -> None:
    """Two generations; what the first read is a leak of the third, and is refused at its start."""
    first = train_run("first", make_file("a", range(60), range(60, 80)), "supervised")
    middle = make_file("b", range(100, 140), range(140, 150))
    second = train_run("second", middle, weights=str(first.folder.path))
    other = make_file("other", range(150, 190), range(10))
    with pytest.raises(ValueError, match=r"first was trained on \d+ of the 10 test images with"):
        selfsight.evaluate(second, str(other), **quick)
    with pytest.raises(ValueError, match=r"first was trained on \d+ of the 10 test images with"):
        train_run("third", other, weights=str(second.folder.path))
    assert not (tmp_path / "third").exists()
    owners = [Path(seen.owner).name for seen in lineage_of([second]).seen]
    assert owners == ["second", "first"]


SEEN_WITH_LABELS = r"was trained on \d+ of the 10 test images with their labels"


def test_whoever_taught_it_counts(
    make_file: MakeFile, train_run: TrainRun, tmp_path: Path, quick: dict[str, Any]
) -> None:
    """A teacher that read the labels of test images, by whatever name it is given."""
    first = train_run("first", make_file("a", range(60), range(60, 80)), "supervised")
    other = make_file("other", range(150, 190), range(10))
    model = tmp_path / "model"
    selfsight.finetune(first, out=model, head_only="linear", device="cpu")
    for teacher in (first.folder.path, first.folder.backbone, model):
        with pytest.raises(ValueError, match=SEEN_WITH_LABELS):
            train_run("taught", other, "distill", **{"method.teacher": str(teacher)})
    apart = make_file("apart", range(100, 140), range(140, 150))
    taught = train_run("taught", apart, "distill", **{"method.teacher": str(first.folder.path)})
    assert [Path(seen.owner).name for seen in lineage_of([taught]).seen] == ["taught", "first"]
    with pytest.raises(ValueError, match=f"first {SEEN_WITH_LABELS}"):
        selfsight.evaluate(taught, str(other), **quick)
    labels = {value["num_labels"] for value in selfsight.evaluate(taught, **quick).records}
    own = len(own_images(taught).rows("train"))
    assert own + len(seen_by(first).labelled) in labels


def test_a_file_of_a_run_is_the_run(
    make_file: MakeFile, train_run: TrainRun, tmp_path: Path
) -> None:
    first = train_run("first", make_file("a", range(60), range(60, 80)), "supervised", keep_every=1)
    other = make_file("other", range(150, 190), range(10))
    kept = next(first.folder.checkpoints.glob("*.safetensors"))
    for path in (first.folder.backbone, kept):
        with pytest.raises(ValueError, match=f"first {SEEN_WITH_LABELS}"):
            train_run("second", other, weights=str(path))
    apart = make_file("apart", range(100, 140), range(140, 150))
    second = train_run("second", apart, weights=str(first.folder.backbone))
    assert second.plain["weights"] == str(first.folder.path)
    # The weights before the first step have seen what the first run has, and not the second's own.
    with pytest.raises(ValueError, match=f"first {SEEN_WITH_LABELS}"):
        train_run("third", other, weights=str(second.folder.start))
    again = make_file("again", range(150, 190), range(100, 110))
    third = train_run("third", again, weights=str(second.folder.start))
    assert [Path(seen.owner).name for seen in lineage_of([third]).seen] == ["third", "first"]
    copied = tmp_path / "copied.safetensors"
    shutil.copy(first.folder.backbone, copied)
    fourth = train_run("fourth", other, weights=str(copied))
    assert any(
        "copied.safetensors was written by selfsight" in n for n in fourth.environment["notes"]
    )
    (caution,) = lineage_of([fourth]).cautions
    assert caution.endswith("copied.safetensors; what those were trained on is not known here.")


def test_a_model_is_an_ancestor(
    make_file: MakeFile, train_run: TrainRun, tmp_path: Path, quick: dict[str, Any]
) -> None:
    """Its run read no label; the model did, of other images than the run's."""
    run = train_run("run", make_file("a", range(60), range(60, 80), labels=False))
    fitted = make_file("fitted", range(100, 140), range(140, 150))
    model = tmp_path / "model"
    selfsight.finetune(run, str(fitted), out=model, head_only="linear", device="cpu")
    other = make_file("other", range(150, 190), range(100, 110))
    for _ in range(2):
        with pytest.raises(ValueError, match=f"model {SEEN_WITH_LABELS}"):
            selfsight.evaluate(model, str(other), target="labels", device="cpu")
        with pytest.raises(ValueError, match=f"model {SEEN_WITH_LABELS}"):
            train_run("second", other, weights=str(model))
        shutil.rmtree(run.folder.path, ignore_errors=True)  # the second time its run is gone
    apart = make_file("apart", range(150, 190), range(190, 199))
    second = train_run("second", apart, weights=str(model))
    (seen,) = [seen for seen in lineage_of([second]).seen if Path(seen.owner).name == "model"]
    assert len(seen.labelled) == len(seen.labels[0].row_ids) > 0
    (model / "labels.parquet").unlink()
    with pytest.raises(ValueError, match=r"labels.parquet is missing; copy the whole folder"):
        lineage_of([second])


def test_a_control_that_has_seen_the_test_images(
    make_file: MakeFile, train_run: TrainRun, quick: dict[str, Any]
) -> None:
    run = train_run("run", make_file("a", range(60), range(60, 80)))
    control = train_run("control", make_file("b", range(60, 120), range(120, 130)), "supervised")
    wish = {**quick, "controls": (str(control.folder.path),)}
    with pytest.raises(ValueError, match=r"control was trained on \d+ of the 20 test images with"):
        selfsight.evaluate(run, **wish)
    results = selfsight.evaluate(run, **wish, allow_leaks=True)
    assert len(results.allowed_leaks) == 1


def test_a_start_that_is_gone_is_said(
    make_file: MakeFile, train_run: TrainRun, tmp_path: Path, quick: dict[str, Any]
) -> None:
    data = make_file("a", range(60), range(60, 80))
    first = train_run("first", data)
    second = train_run("second", data, weights=str(first.folder.path))
    assert not lineage_of([second]).cautions
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("first", "second"):  # a study that is moved as a whole stays together
        shutil.move(tmp_path / name, moved / name)
    second = load_run(moved / "second")
    assert len(lineage_of([second]).seen) == 2
    shutil.rmtree(moved / "first")
    (caution,) = lineage_of([second]).cautions
    assert "started from the weights of" in caution and "is not known here" in caution
    assert caution in selfsight.evaluate(second, **quick).cautions


def test_a_damaged_table_is_named(
    make_file: MakeFile, train_run: TrainRun, quick: dict[str, Any]
) -> None:
    run = train_run("run", make_file("a", range(30), range(30, 40)))
    run.folder.splits.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"splits\.parquet is damaged"):
        selfsight.evaluate(run, **quick)


def _numbers(run: Run) -> list[int]:
    """Numbers of the images that the run was trained on."""
    return [int(i.rpartition("#")[2]) for i in own_images(run).row_ids[own_images(run).pool]]
