"""Several rounds of training and labelling: test stays test, and random labels stay at chance."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import selfsight
from selfsight.data.request import open_images
from selfsight.runs.lineage import lineage_of
from selfsight.runs.request import own_images
from selfsight.runs.run import Run

TrainRun = Callable[..., Run]
COUNT = 400


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hundred digits without labels, in one array."""
    images = open_images("digits", limit=COUNT, test=0, validation=0)
    path = tmp_path_factory.mktemp("digits") / "images.npz"
    np.savez(path, images=np.asarray(images.pixels[:COUNT]))
    return path


def write_labels(path: Path, ids: list[str], values: list[str]) -> str:
    lines = ["row_id,digit", *map(",".join, zip(ids, values, strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def sides(run: Run) -> dict[str, str]:
    table = pq.read_table(run.folder.splits)
    return dict(zip(table["row_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def test_random_labels_over_two_rounds_stay_at_chance(
    digits: Path, train_run: TrainRun, tmp_path: Path, quick: dict[str, Any]
) -> None:
    """The second round has more labels than the first; its test images were test before."""
    random = np.random.default_rng(0)
    ids = open_images(digits).row_ids.tolist()
    values = [f"d{v}" for v in random.integers(0, 10, COUNT)]
    labelled = random.permutation(COUNT)
    few = sorted(labelled[:200].tolist())
    first_labels = write_labels(tmp_path / "1.csv", [ids[i] for i in few], [values[i] for i in few])
    second_labels = write_labels(tmp_path / "2.csv", ids, values)
    long = {"epochs": 40, "optimizer.lr": 0.003, "network.widths": (16, 32)}
    first = train_run("first", digits, "supervised", labels=first_labels, **long)
    second = train_run(
        "second",
        digits,
        "supervised",
        labels=second_labels,
        weights=str(first.folder.path),
        epochs=40,
    )
    assert sides(first).keys() == sides(second).keys()
    for row_id, split in sides(first).items():
        assert (split == "test") == (sides(second)[row_id] == "test")
    table = pq.read_table(first.folder.splits)
    read = {row["row_id"] for row in table.to_pylist() if row["label_read"]}
    test = {row_id for row_id, split in sides(second).items() if split == "test"}
    assert len(read) > 100 and len(test) == 80 and not read & test
    results = selfsight.evaluate(second, **quick)
    (knn,) = [
        v
        for v in results.values
        if (v["probe"], v["subject"], v["metric"]) == ("knn", "trained", "accuracy")
        and v["label"] is None
    ]
    assert knn["mean"] < 0.22  # 80 images at 10 %: a tenth, and 3.5 standard deviations
    assert not results.allowed_leaks


def test_suggest_label_and_continue(
    digits: Path, train_run: TrainRun, tmp_path: Path, quick: dict[str, Any]
) -> None:
    """Two rounds of labels that a model chose, with and without its weights."""
    first = train_run("first", digits)
    held = {row_id for row_id, split in sides(first).items() if split == "test"}
    assert len(held) == 80
    truth = [f"d{i % 3}" for i in range(COUNT)]
    labels, previous = None, first
    for number in (1, 2):
        out = tmp_path / f"suggestions{number}"
        wish = {"count": 40, "out": str(out), "by": "representative", "device": "cpu"}
        suggested = selfsight.suggest(previous, labels=labels, **wish)
        of_test = set(suggested.row_ids) & held
        assert len(of_test) == 10 and len(suggested.row_ids) == 50
        with open(out / "labels.csv", newline="") as file:
            ids = [row[0] for row in list(csv.reader(file))[1:]]
        assert len(ids) == 50 * number
        labels = write_labels(
            out / "labels.csv", ids, [truth[int(i.rpartition("#")[2])] for i in ids]
        )
        start = {"weights": str(previous.folder.path)} if number == 1 else {}
        run = train_run(f"round{number}", digits, "supervised", labels=labels, **start)
        assert {row_id for row_id, split in sides(run).items() if split == "test"} == held
        assert first.path in {Path(r.owner).resolve() for r in lineage_of([run]).records}
        images = own_images(run)
        known = images.targets["digit"].known
        assert known[images.rows("test")].sum() == 10 * number
        results = selfsight.evaluate(run, **quick)
        assert results.records and not results.allowed_leaks
        assert not any("was trained on" in note for note in results.cautions)
        previous = run


def test_other_verbs_take_the_recorded_sides_too(
    digits: Path, train_run: TrainRun, tmp_path: Path, quick: dict[str, Any]
) -> None:
    """Data that are named again, with labels that come later."""
    run = train_run("run", digits)
    held = {row_id for row_id, split in sides(run).items() if split == "test"}
    ids = list(sides(run))
    labels = write_labels(tmp_path / "l.csv", ids, [f"d{i % 3}" for i in range(COUNT)])
    results = selfsight.evaluate(run, str(digits), labels=labels, **quick)
    assert not any("was trained on" in note for note in results.cautions)
    predictions = pq.read_table(run.folder.predictions)
    assert set(predictions["row_id"].to_pylist()) == held
    model = selfsight.finetune(
        run, str(digits), labels=labels, out=tmp_path / "m", head_only="linear", device="cpu"
    )
    assert model.card.num_labels == sum(split == "unlabelled" for split in sides(run).values())


def test_a_table_of_splits_holds_in_a_training(digits: Path, train_run: TrainRun) -> None:
    first = train_run("first", digits)
    second = train_run("second", digits, splits=str(first.folder.splits), seed=5)
    assert sides(second) == sides(first)


@pytest.mark.parametrize("named", [False, True])
def test_suggested_labels_are_evaluated_without_another_training(
    digits: Path, train_run: TrainRun, tmp_path: Path, quick: dict[str, Any], named: bool
) -> None:
    """suggest, label, ``evaluate --labels``: on the run's own images, or on the data by name."""
    run = train_run("run", digits)
    held = {row_id for row_id, split in sides(run).items() if split == "test"}
    wish = {"count": 60, "out": str(tmp_path / "s"), "by": "representative", "device": "cpu"}
    suggested = selfsight.suggest(run, **wish)
    ids = list(suggested.row_ids)
    labels = write_labels(tmp_path / "s/labels.csv", ids, [f"d{i % 3}" for i in range(len(ids))])
    data = (str(digits),) if named else ()
    results = selfsight.evaluate(run, *data, labels=labels, **quick)
    of_train = {row_id for row_id in ids if row_id not in held}
    counts = {v["num_labels"] for v in results.values if v["subject"] == "trained" and v["label"]
              is None and v["probe"] == "knn"}  # fmt: skip
    assert counts == {len(of_train)} and not results.allowed_leaks
    scored = set(pq.read_table(run.folder.predictions)["row_id"].to_pylist())
    assert scored == set(ids) & held and scored
