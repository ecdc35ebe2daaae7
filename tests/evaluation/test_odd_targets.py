"""Targets that are constant, rare or partly unknown: a table, or else a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsight.data.balance import label_columns, strata_of
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.splits import assign_splits, few_labels
from selfsight.evaluation.protocol import evaluate
from selfsight.evaluation.settings import Evaluate
from selfsight.reporting.report import write_report

MakeRun = Callable[..., Path]
QUICK: dict[str, Any] = {
    "fractions": (0.1, 1.0),
    "draws": 2,
    "probes": ("linear",),
    "controls": ("pixels",),
    "clusters": False,
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfsight.reporting.page.plotly_source", lambda: "/* left out */")


def with_target(images: ImageSet, kind: Any, values: np.ndarray, names: tuple[str, ...]) -> Any:
    return images.changed(targets={"t": Target("t", kind, values, names)})


def numbers(images: ImageSet, constant: str | None, width: int = 1) -> np.ndarray:
    values = np.repeat(images.pixels.mean((1, 2, 3))[:, None], width, 1).astype(np.float32)
    if constant is not None:
        values[images.rows(constant)] = 7.0
    return values


@pytest.mark.parametrize("constant", ["test", "train", "validation"])
@pytest.mark.parametrize("kind", ["number", "class", "labels"])
def test_a_target_that_is_constant_in_a_split(
    digits: ImageSet, make_run: MakeRun, kind: str, constant: str
) -> None:
    digit = digits.targets["digit"].values
    rows = digits.rows(constant)
    if kind == "number":
        images = with_target(digits, kind, numbers(digits, constant), ("ink",))
    elif kind == "class":
        values = digit % 3
        values[rows] = 1
        images = with_target(digits, kind, values, ("a", "b", "c"))
    else:
        labels = np.stack([digit > 4, digit % 2 == 0], 1).astype(np.float32)
        labels[rows] = 1.0
        images = with_target(digits, kind, labels, ("high", "even"))
    run = make_run(images)
    wish = Evaluate(run=str(run), **QUICK)
    if kind == "class" and constant == "train":
        with pytest.raises(ValueError, match=r"all labelled images of train are 'b'"):
            evaluate(wish, images)
        return
    results = evaluate(wish, images)
    text = results.table()
    assert "t (" in text
    page = write_report([run]).read_text()
    assert "has not been evaluated yet" not in page
    if (kind, constant) == ("number", "test"):  # R² is undefined, the error is not
        assert "t (number), mae" in text
        assert not [v for v in results.values if v["metric"] == "r2"]


def test_a_target_of_one_class_beside_others_is_left_out(
    digits: ImageSet, make_run: MakeRun
) -> None:
    one = Target("one", "class", np.zeros(len(digits), np.int64), ("only",))
    images = digits.changed(targets={**digits.targets, "one": one})
    wish = Evaluate(run=str(make_run(images)), data="x", **QUICK)
    results = evaluate(wish, images)
    assert {row["target"] for row in results.records} == {"digit", None}
    assert any("are 'only', so there is nothing to learn" in note for note in results.notes)


@pytest.mark.parametrize("where", ["test", "train"])
def test_an_unknown_number_of_a_vector_leaves_the_others(
    digits: ImageSet, make_run: MakeRun, where: str
) -> None:
    values = numbers(digits, None, 3)
    values[:, 1] = digits.targets["digit"].values
    values[digits.rows(where), 2] = np.nan
    images = with_target(digits, "number", values, ("ink", "digit", "lost"))
    results = evaluate(Evaluate(run=str(make_run(images)), **QUICK), images)
    shown = {v["label"] for v in results.values if v["metric"] == "r2"}
    assert shown == {None, "ink", "digit"}
    assert any("lost is unknown in all images of train or of test" in n for n in results.notes)


def test_a_number_that_few_know_is_in_every_draw(digits: ImageSet, make_run: MakeRun) -> None:
    values = numbers(digits, None, 2)
    train = digits.rows("train")
    values[train[4:], 1] = np.nan
    images = with_target(digits, "number", values, ("ink", "rare"))
    for seed in range(20):
        drawn = few_labels(images.targets["t"], train, 0.05, seed)
        assert not np.isnan(values[drawn, 1]).all()
    results = evaluate(Evaluate(run=str(make_run(images)), **QUICK), images)
    assert "t (number), r2" in results.table()


@pytest.mark.parametrize(
    "values",
    [
        np.r_[np.zeros(970), np.ones(30)],
        np.r_[np.ones(970), np.zeros(30)],
        np.r_[np.zeros(900), np.linspace(1, 2, 100)],
        np.r_[np.full(940, 5.0), np.zeros(30), np.full(30, 9.0)],
    ],
    ids=["few ones", "few zeros", "a tail", "both sides"],
)
def test_rare_numbers_are_on_both_sides(values: np.ndarray) -> None:
    target = Target("t", "number", values[:, None].astype(np.float32), ("t",))
    splits = np.full(len(values), "train", "<U10")
    given, _ = assign_splits(splits, {"t": target}, None, "t", validation=0.1, test=0.2, seed=0)
    usual = np.median(values)
    for rare in (values < usual, values > usual):
        if rare.any():
            share = (given[rare] == "test").mean()
            assert 0.15 < share < 0.25
    assert label_columns(target).sum(1).tolist() == [1.0] * len(values)


def test_numbers_without_ties_keep_their_bins() -> None:
    values = np.random.default_rng(0).normal(size=(997, 1)).astype(np.float32)
    strata = strata_of(Target("t", "number", values, ("t",)))
    edges = np.quantile(values[:, 0], np.linspace(0, 1, 11)[1:-1])
    assert np.array_equal(strata, np.searchsorted(edges, values[:, 0], side="right"))


def test_the_share_is_the_share_that_was_read(digits: ImageSet, make_run: MakeRun) -> None:
    """Of 60 classes at least one image each is read, whatever the fraction says."""
    random = np.random.default_rng(0)
    values = random.integers(0, 60, len(digits))
    values[digits.rows("train")[:60]] = np.arange(60)
    images = with_target(digits, "class", values, tuple(map(str, range(60))))
    run = make_run(images)
    results = evaluate(Evaluate(run=str(run), **QUICK | {"fractions": (0.01, 1.0)}), images)
    row = next(v for v in results.values if v["label_fraction"] == 0.01)
    known = len(images.rows("train"))
    assert (row["num_labels"], row["known_labels"]) == (60, known)
    share = f"60 of {known:,} labels ({100 * 60 / known:.3g} %)"
    assert share in results.table()
    page = write_report([run]).read_text()
    assert f"(60 of {known})" in page
    assert "1 % of the labels" not in page
