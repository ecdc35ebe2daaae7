"""Confusions, predicted numbers and choices are those of the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfsight.reporting.page import Page
from selfsight.reporting.report.contents import read_run
from selfsight.reporting.report.outcomes import confusion_parts, number_parts
from selfsight.reporting.report.questions import ReportContents


def contents(run: Path) -> ReportContents:
    return ReportContents.of([read_run(run)])


@pytest.fixture
def page() -> Page:
    return Page("report", "a title", "a run")


def changed(run: Path, **parts: object) -> Path:
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps(results | parts))
    return run


def test_confusion_is_of_the_first_probe_in_the_fixed_order(
    make_run, tmp_path: Path, page: Page
) -> None:
    place = {"data": "digits", "target": "digit", "label_fraction": 1.0, "subject": "trained"}
    matrix = [[8, 2], [1, 9]]
    run = changed(
        make_run(tmp_path / "run"),
        confusion=[
            {**place, "probe": "knn", "names": ["a", "b"], "matrix": [[10, 0], [0, 10]]},
            {**place, "probe": "linear", "names": ["a", "b"], "matrix": matrix},
        ],
    )
    (part,) = confusion_parts(contents(run), page)
    assert "linear probe" in part["title"]
    assert "2 of 10 images of “a” were predicted as “b”" in part["most"]
    assert page.figures["confusion-0-0"]["data"][0]["z"] == [[80.0, 20.0], [10.0, 90.0]]


def test_a_confusion_of_another_size_is_named(make_run, tmp_path: Path, page: Page) -> None:
    wrong = {"subject": "trained", "names": ["a", "b"], "matrix": [[1, 0]]}
    run = changed(make_run(tmp_path / "run"), confusion=[wrong])
    with pytest.raises(ValueError, match=r"results\.json"):
        confusion_parts(contents(run), page)


@pytest.fixture
def numbers(make_run, tmp_path: Path) -> Path:
    run = make_run(tmp_path / "run", kind="number")
    random = np.random.default_rng(0)
    truth = random.normal(size=40)
    rows = []
    for weights, fraction, seed in (("trained", 1.0, 0), ("trained", 0.1, 0), ("pixels", 1.0, 0)):
        for at, value in enumerate(truth):
            known = None if at == 0 else [float(value)]
            rows.append(
                {
                    "row_id": f"digit#{at}",
                    "data": "digits",
                    "target": "digit",
                    "probe": "ridge",
                    "subject": weights,
                    "split": "test",
                    "label_fraction": fraction,
                    "label_seed": seed,
                    "output": [float(value) + fraction],
                    "truth": known or [None],
                }
            )
    pq.write_table(pa.Table.from_pylist(rows), run / "predictions.parquet")
    return run


def test_predicted_numbers_are_of_trained_with_the_most_labels(numbers: Path, page: Page) -> None:
    parts = number_parts(contents(numbers), page)
    assert [part["title"].split()[0] for part in parts] == ["Predicted", "Residuals"]
    assert "all labels" in parts[0]["title"]
    assert list(page.figures) == ["predicted-0-0", "residual-0-0"]
    points = page.figures["predicted-0-0"]["data"][1]
    assert len(points["x"]) == 39
    np.testing.assert_allclose(np.array(points["y"]) - points["x"], 1.0, atol=1e-3)
    np.testing.assert_allclose(page.figures["residual-0-0"]["data"][1]["y"], 1.0, atol=1e-4)


def test_damaged_predictions_are_named(numbers: Path, page: Page) -> None:
    (numbers / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"predictions\.parquet"):
        number_parts(contents(numbers), page)
