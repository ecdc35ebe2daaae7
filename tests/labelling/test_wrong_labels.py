"""Wrong labels that were planted are found, and copies do not confirm each other."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pyarrow.csv as pc
import pytest
import torch
from numpy.typing import NDArray

import selfsight
from selfsight.data.imageset import ImageSet, Target
from selfsight.labelling.audit import AuditedWithRun, AuditImages, audit_images, suspicious_labels
from selfsight.labelling.wrong_labels import check_labels
from selfsight.neighbours.encoder import Encoder


def planted(
    classes: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Classes of which a share has another value, and which ones."""
    random = np.random.default_rng(seed)
    wrong = np.sort(random.choice(len(classes), round(share * len(classes)), replace=False))
    changed = classes.copy()
    count = int(classes.max()) + 1
    changed[wrong] = (changed[wrong] + random.integers(1, count, len(wrong))) % count
    return changed, wrong


def blobs(count: int = 400, seed: int = 0) -> tuple[torch.Tensor, NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    classes = random.integers(0, 4, count)
    centres = 4.0 * random.standard_normal((4, 12))
    values = centres[classes] + random.standard_normal((count, 12))
    return torch.from_numpy(values).float(), classes


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_planted_errors_come_first(share: float) -> None:
    features, classes = blobs()
    changed, wrong = planted(classes, share, 1)
    checks = check_labels(features, changed)
    listed = np.flatnonzero(checks.suspicious)
    assert np.isin(wrong, listed).all() and len(listed) <= len(wrong) + 4
    first = np.argsort(-checks.suspicion)[: len(wrong)]
    assert np.isin(first, wrong).mean() > 0.97
    assert (checks.predicted[wrong] == classes[wrong]).mean() > 0.97


def test_right_labels_are_left_alone() -> None:
    features, classes = blobs()
    assert check_labels(features, classes).suspicious.sum() <= 4


def test_copies_with_the_same_wrong_label_do_not_confirm_each_other() -> None:
    features, classes = blobs()
    groups = np.arange(len(classes))
    copies = np.arange(12)  # twelve copies of image 0, all with the same wrong label
    features[copies] = features[0].clone()
    classes[copies] = (classes[0] + 1) % 4
    groups[copies] = 0
    apart = check_labels(features, classes, groups)
    assert apart.suspicious[copies].all() and (apart.agreeing[copies] < 0.2).all()
    assert (check_labels(features, classes).agreeing[copies] > 0.9).all()


def test_classes_of_one_image_and_too_few_of_them() -> None:
    features, classes = blobs(60)
    rare = classes.copy()
    rare[0] = 9  # the only image of its class: nothing out of fold can predict it
    assert check_labels(features, rare).suspicious[0]
    with pytest.raises(ValueError, match="two classes with at least two images"):
        check_labels(features, np.zeros(60, np.int64))
    with pytest.raises(ValueError, match="all images are in one group"):
        check_labels(features, classes, np.zeros(60, np.int64))


class Pixels:
    """Stands in for an encoder: an image is represented by its pixels."""

    def vectors(self, images: ImageSet, rows: NDArray[np.int64], batch_size: int) -> torch.Tensor:
        return torch.from_numpy(images.pixels[rows].reshape(len(rows), -1).astype(np.float32))


PIXELS = cast(Encoder, Pixels())


def with_errors(digits: ImageSet) -> tuple[ImageSet, NDArray[np.str_]]:
    """The digits with 5 % of the labels of train changed, and the row ids of those."""
    digit = digits.targets["digit"]
    train = digits.rows("train")
    changed, wrong = planted(digit.values[train], 0.05, 2)
    values = digit.values.copy()
    values[train] = changed
    target = Target("digit", "class", values, digit.names)
    return digits.changed(targets={"digit": target}), digits.row_ids[train[wrong]]


def test_planted_errors_of_digits_are_found(digits: ImageSet) -> None:
    images, wrong = with_errors(digits)
    table = suspicious_labels(images, images.targets["digit"], PIXELS)
    listed = table["row_id"].to_pylist()
    assert set(listed) <= set(images.row_ids[images.rows("train")].tolist())
    assert np.isin(wrong, listed).mean() > 0.9
    assert np.isin(listed, wrong).mean() > 0.5
    assert np.isin(listed[: len(wrong)], wrong).mean() > 0.8


def test_an_audit_with_a_run_writes_table_and_page(
    digits: ImageSet, digits_run: Path, tmp_path: Path
) -> None:
    images, wrong = with_errors(digits)
    wish = AuditImages(data="digits", run=str(digits_run), out=str(tmp_path), near=False)
    found = audit_images(wish.updated({"device": "cpu"}), images)
    assert isinstance(found, AuditedWithRun)
    table = pc.read_csv(tmp_path / "labels.csv")
    listed = [str(row_id) for row_id in table["row_id"].to_pylist()]
    assert set(listed) <= set(images.row_ids[images.rows("train")].tolist())
    # by a network that was never trained: a twentieth of all labels is wrong, a third of the first
    assert np.isin(wrong, listed).mean() > 0.8
    assert np.isin(listed[: len(wrong)], wrong).mean() > 0.33
    suspicion = table["suspicion"].to_pylist()
    assert suspicion == sorted(suspicion, reverse=True)
    page = (tmp_path / "labels.html").read_text()
    assert listed[0] in page and page.count("data:image/png") >= 100
    assert "Audit of the labels of digits" in page


def test_a_run_that_read_these_labels_is_a_caution(digits: ImageSet, tmp_path: Path) -> None:
    tiny = {"network.widths": (4, 8), "network.depths": (1, 1), "epochs": 1, "batch_size": 64,
            "monitor_images": 0, "device": "cpu"}  # fmt: skip
    run = tmp_path / "run"
    selfsight.pretrain("supervised", digits, backbone="resnet20", out=str(run), settings=tiny)
    wish = AuditImages(data="digits", run=str(run), out=str(tmp_path), near=False, device="cpu")
    found = str(audit_images(wish, digits))
    count = len(digits.pool)
    assert f"Caution: {count:,} of the {count:,} labels that are checked trained {run}" in found
    assert "repeat what is wrong in them" in (tmp_path / "labels.html").read_text()


def test_each_of_several_labels_is_checked(digits: ImageSet) -> None:
    digit = digits.targets["digit"].values
    train = digits.rows("train")
    values = np.stack([digit < 3, digit % 2 == 0, np.zeros(len(digit))], 1).astype(np.float32)
    values[train[:5], 0] = np.nan
    random = np.random.default_rng(3)
    wrong = random.choice(train[5:], 40, replace=False)
    values[wrong, 0] = 1 - values[wrong, 0]
    target = Target("signs", "labels", values, ("small", "even", "never"))
    images = digits.changed(targets={"signs": target})
    table = suspicious_labels(images, target, PIXELS)
    rows = table.to_pylist()
    small = {row["row_id"] for row in rows if row["target"] == "small"}
    assert np.isin(images.row_ids[wrong], list(small)).mean() > 0.9
    assert {row["target"] for row in rows} <= {"small", "even"}
    assert {row["given"] for row in rows} <= {"no", "yes"}


def test_what_has_no_classes_is_a_sentence(
    digits: ImageSet, digits_run: Path, tmp_path: Path
) -> None:
    wish = AuditImages(data="digits", run=str(digits_run), out=str(tmp_path), near=False)
    values = np.arange(len(digits), dtype=np.float32)[:, None]
    number = Target("size", "number", values, ("size",))
    for targets, words in (({"size": number}, "size, which is number"), ({}, "no target")):
        with pytest.raises(ValueError, match=f"{words}; wrong labels are found of classes alone"):
            audit_images(wish, digits.changed(targets=targets))
