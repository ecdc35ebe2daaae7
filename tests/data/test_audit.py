"""The audit names what crosses the splits, what is blank and what is labelled two ways."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from selfsight.data.audit import AuditData, audit, audit_data, distribution
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.leaks import leaks, without_leaks
from selfsight.data.request import open_images


def noise(count: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def image_set() -> ImageSet:
    """Ten images: 0 and 7 equal (train, test), 1 and 2 equal and labelled two ways, 3 and 9 blank,
    group 5 in train and test.
    """
    pixels = noise(10)
    pixels[7], pixels[2] = pixels[0], pixels[1]
    pixels[3] = pixels[9] = 255
    kinds = np.array([0, 0, 1, 0, 1, 0, 1, 0, 1, -1])
    numbers = np.arange(10, dtype=np.float32)[:, None].copy()
    numbers[7] = 0
    numbers[2] = np.nan
    labels = np.zeros((10, 2), np.float32)
    labels[7, 0] = np.nan
    labels[[0, 4], 0] = 1
    return ImageSet(
        name="made",
        pixels=pixels,
        row_ids=np.array([f"made#{i}" for i in range(10)]),
        splits=np.array(["train"] * 6 + ["validation"] + ["test"] * 3),
        targets={
            "kind": Target("kind", "class", kinds, ("a", "b")),
            "size": Target("size", "number", numbers, ("size",)),
            "marks": Target("marks", "labels", labels, ("x", "y")),
            "who": Target("who", "identity", np.arange(10) // 2, tuple("abcde")),
        },
        groups=np.array([0, 1, 1, 2, 5, -1, 4, 6, 5, -1]),
        group_name="coil",
    )


def test_what_is_found() -> None:
    found = audit(image_set())
    assert [group.rows for group in found.copies] == [(0, 7), (1, 2)]
    assert found.copies[0].different == ("who",)
    assert found.copies[1].different == ("kind", "who")
    assert found.blank == (3, 9)
    assert [(c.kind, c.rows) for c in found.crossings] == [("pixels", (0, 7)), ("group", (4, 8))]
    assert found.crossings[0].what == "The same image is in train (made#0), test (made#7)."
    assert found.crossings[1].what == "A coil is in train (made#4), test (made#8)."
    assert found.groups == {"name": "coil", "count": 6, "largest": 2, "alone": 2}
    assert found.splits == {"train": 6, "validation": 1, "test": 3, "unlabelled": 0}
    assert found.values[1] == 255
    assert leaks(image_set()) == found.crossings


def test_json_holds_all_of_it() -> None:
    found = json.loads(json.dumps(audit(image_set()).plain()))
    assert found["rows"]["7"]["name"] == "made#7"
    assert found["rows"]["7"]["target"] == "kind a, size 0, marks none, who d"
    assert found["crossings"][0]["rows"] == [0, 7]
    assert found["distributions"]["kind"]["splits"]["train"]["counts"] == [4, 2]


def test_distributions_of_every_kind() -> None:
    images = image_set()
    kind = distribution(images, images.targets["kind"])
    assert kind["splits"]["test"] == {"known": 2, "unknown": 1, "counts": [1, 1]}
    size = distribution(images, images.targets["size"])
    assert len(size["edges"][0]) == 21
    assert sum(size["splits"]["train"]["counts"][0]) == 5
    marks = distribution(images, images.targets["marks"])
    assert marks["splits"]["train"]["counts"] == [2, 0]
    assert distribution(images, images.targets["who"])["splits"]["train"]["counts"] == 3


def test_dropping_takes_the_train_side_out() -> None:
    images = image_set()
    kept = without_leaks(images, leaks(images))
    assert set(images.row_ids.tolist()) - set(kept.row_ids.tolist()) == {"made#0", "made#4"}
    assert "dropped: 2 of train" in kept.notes[-1]
    assert leaks(kept) == ()
    assert without_leaks(kept, ()) is kept


REAL = {"xsdd": (9, 1), "covid_cxr": (6, 2)}


@pytest.mark.parametrize("name", REAL)
def test_the_duplicates_that_the_readme_names(shared_data: Path, name: str) -> None:
    copies, crossing = REAL[name]
    found = audit(open_images(shared_data / name), near=False)
    assert len(found.copies) == copies
    assert [c.splits for c in found.crossings] == [("train", "test")] * crossing


@pytest.mark.slow
def test_the_duplicates_of_the_larger_sets(shared_data: Path) -> None:
    blank = audit(open_images(shared_data / "deeppcb"), near=False)
    assert len(blank.blank) >= 262
    assert blank.crossings == ()
    official = open_images(shared_data / "deeppcb", split_column="official_split")
    assert {c.kind for c in leaks(official)} >= {"group"}
    faces = audit(open_images(shared_data / "lfw"), near=False)
    assert [c.splits for c in faces.crossings] == [("train", "test")]
    assert faces.crossings[0].rows in [group.rows for group in faces.different_labels]
    across = [c for c in leaks(open_images(shared_data / "cifar100")) if "test" in c.splits]
    assert len(across) == 10


def test_each_file_has_an_audit_of_its_own_and_a_doubt_is_the_reason_of_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).integers(0, 255, (40, 8, 8)).astype(np.uint8)
    np.savez("jets.npz", images=x, mass=1e12 + np.arange(40.0) / 7)
    np.save("jets.npy", x)
    doubted = audit_data(AuditData(data="jets.npz"))
    plain = audit_data(AuditData(data="jets.npy"))
    assert {doubted.page.parent.name, plain.page.parent.name} == {
        "jets-npz-audit",
        "jets-npy-audit",
    }
    assert doubted.exit_code == 1 and "1 reading is doubtful" in str(doubted)
    assert plain.exit_code == 0 and "doubtful" not in str(plain)
