"""Classes of test that no train image shows are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import selfsight
from selfsight.data import request
from selfsight.data.imageset import ImageSet, Target, class_target
from selfsight.data.options import DataOptions
from selfsight.data.request import open_images
from selfsight.data.unseen_classes import with_unseen_classes


def shown(words: list[str], splits: list[str]) -> ImageSet:
    pixels = np.arange(len(words) * 64, dtype=np.uint8).reshape(-1, 8, 8, 1)
    return ImageSet(
        "a",
        pixels,
        np.array([f"#{i}" for i in range(len(words))]),
        np.array(splits, "<U10"),
        {"class": class_target("class", words)},
    )


def test_many_images_of_unseen_classes_are_a_caution() -> None:
    images = with_unseen_classes(
        shown(["a", "b", "a", "c", "d", ""], ["train", "train", *["test"] * 4])
    )
    (caution,) = images.cautions
    assert caution == (
        "class: 2 of the 3 classes of test are on no labelled train image (c, d; 2 of 3 test "
        "images), so no probe can name them."
    )
    assert with_unseen_classes(images) is images


def test_only_the_chosen_target_is_looked_at() -> None:
    """Folders that equal the group say nothing of the defects that are evaluated."""
    images = shown(["a", "b", "c"], ["train", "train", "test"])
    known = images.changed(targets={**images.targets, "ok": class_target("ok", [0, 1, 1])})
    assert with_unseen_classes(known, "ok") is known
    assert with_unseen_classes(known, "class").cautions and with_unseen_classes(known).cautions


def test_a_few_are_a_doubt_and_none_is_nothing() -> None:
    words = ["a", "b", *["a", "b"] * 10, "c"]
    images = with_unseen_classes(shown(words, ["train"] * 2 + ["test"] * 21))
    assert not images.cautions and "1 of the 3 classes of test" in images.notes[-1]
    known = shown(words[:-1], ["train"] * 2 + ["test"] * 20)
    assert with_unseen_classes(known) is known
    unlabelled = shown(["", "", "a"], ["train", "train", "test"])
    assert with_unseen_classes(unlabelled) is unlabelled  # evaluation says that nothing is labelled


def test_validation_is_looked_at_where_there_is_no_test_and_labels_count_too() -> None:
    images = with_unseen_classes(shown(["a", "b", "c"], ["train", "train", "validation"]))
    assert "1 of the 1 classes of validation" in images.cautions[0]
    kinds = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
    several = Target("defects", "labels", kinds, ("pit", "stain", "hole"))
    two = shown(["a", "b", "a", "b"], ["train", "train", "test", "test"])
    images = with_unseen_classes(two.changed(targets={"defects": several}))
    assert "1 of the 3 labels of test are on no labelled train image (hole;" in images.cautions[0]


def test_groups_of_one_class_each_are_seen_at_the_door(tmp_path: Path) -> None:
    """One folder a coil, taken as the class and cut by the coil: nothing of test can be learnt."""
    rows = [f"#{i},w{i // 6},w{i // 6}" for i in range(60)]
    (tmp_path / "l.csv").write_text("\n".join(["row_id,wafer,defect", *rows]) + "\n")
    pixels = np.random.default_rng(0).integers(0, 255, (60, 8, 8, 1)).astype(np.uint8)
    wish = DataOptions(labels=str(tmp_path / "l.csv"), group="wafer")
    assert "2 of the 2 classes of test" in request.open(wish, pixels).cautions[0]


def test_target_none_takes_no_labels(tmp_path: Path) -> None:
    """Folders (or columns) that are no labels are not read as such, in any verb."""
    x = np.random.default_rng(0).integers(0, 255, (60, 8, 8, 1)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=x, label=[0, 1] * 30)
    data = str(tmp_path / "a.npz")
    assert not open_images(data, target="none").targets
    assert not open_images(open_images(data), target="none").targets
    run = str(tmp_path / "run")
    selfsight.pretrain(
        "simclr",
        data,
        out=run,
        target="none",
        preset="tiny",
        epochs=1,
        device="cpu",
    )
    for given in (None, data):
        results = selfsight.evaluate(run, given, target="none" if given else None, device="cpu")
        assert {row["target"] for row in results.records} == {None}
    with pytest.raises(ValueError, match="has no labels"):
        selfsight.finetune(run, data, target="none", out=str(tmp_path / "m"), device="cpu")
    selfsight.suggest(run, target="none", out=str(tmp_path / "s"), count=3, device="cpu")
    assert (tmp_path / "s" / "labels.csv").read_text().startswith("row_id,label\n")
