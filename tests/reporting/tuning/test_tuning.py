"""The page on a study."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from selfsight.files import write_json
from selfsight.reporting.tuning import write_tuning_page

pytestmark = pytest.mark.usefixtures("without_plotly")


def study(**changes: Any) -> dict[str, Any]:
    return {
        "verb": "probe",
        "data": "digits",
        "target": "</script><b>digit",
        "metric": "accuracy",
        "mode": "highest",
        "task": "class",
        "sampler": "tpe",
        "pruner": "median",
        "seed": 0,
        "num_labels": 320,
        "searched": ["probe.lr", "probe.normalisation"],
        "space": {"probe.lr": "log(0.001,0.1)", "probe.normalisation": "none,layer"},
        "importances": {"probe.lr": 0.8, "probe.normalisation": 0.2},
        "seconds": 12.0,
        "trials": {
            "made": 4,
            "complete": 2,
            "pruned": 1,
            "failed": 1,
            "killed": 1,
            "stopped_early": 1,
            "epochs": 33,
        },
        "best": {"number": 2, "value": 0.9, "epoch": 7, "settings": {"lr": 0.01}},
        "again": {"value": 0.9, "equal": True},
        "test": {
            "split": "test",
            "values": [
                {
                    "probe": probe,
                    "subject": "trained",
                    "metric": "accuracy",
                    "mean": mean,
                    "low": mean - 0.02,
                    "high": mean + 0.02,
                }
                for probe, mean in (("tuned", 0.88), ("linear", 0.85))
            ],
            "differences": [
                {
                    "probe": "linear",
                    "subject": "trained",
                    "metric": "accuracy",
                    "mean": 0.03,
                    "low": -0.01,
                    "high": 0.07,
                    "verdict": "no better than the control",
                }
            ],
        },
        "test_readings": [{"when": "2026-01-01", "probe": "tuned", "subject": "trained"}],
        "notes": ["Trials are compared by 5-fold cross-validation."],
        "answer": ["4 trials (2 complete).", "On test, read once: accuracy 88.0 %."],
        **changes,
    }


def trial(number: int, state: str, value: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "number": number,
        "state": state,
        "value": value,
        "epochs": 5,
        "best_epoch": 4,
        "reason": "",
        "seconds": 1.5,
        "worker": "w",
        "retry_of": None,
        "probe.lr": 0.01 * (number + 1),
        "probe.normalisation": None if number % 2 else "layer",
        **changes,
    }


ROWS = [
    trial(0, "complete", 0.8, reason="stopped early"),
    trial(1, "pruned", None, reason="pruned (median)"),
    trial(2, "complete", 0.9),
    trial(3, "failed", None, reason="error: <too large>"),
    trial(4, "killed", None),
]
CURVES: dict[int, list[float | None]] = {0: [0.5, 0.8], 1: [None], 2: [0.6, 0.85, 0.9]}


def page_of(
    folder: Path,
    found: dict[str, Any],
    rows: list[dict[str, Any]],
    curves: dict[int, list[float | None]],
) -> str:
    write_json(folder / "tuning.json", {**found, "rows": rows, "curves": curves})
    return write_tuning_page(folder).read_text()


def figures(page: str) -> dict[str, Any]:
    found = re.search(r'id="figures">(.*?)</script>', page, re.S)
    assert found
    drawn: dict[str, Any] = json.loads(found[1])
    return drawn


def test_one_self_contained_page(tmp_path: Path) -> None:
    page = page_of(tmp_path, study(), ROWS, CURVES)
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r'(src|href)="https?:', outside)
    assert "</script><b>digit" not in page
    assert "&lt;too large&gt;" in page
    drawn = figures(page)
    assert set(drawn) == {"history", "importances", "parallel", "curves"}
    for name in drawn:
        assert f'data-figure="{name}"' in page
    assert "4 trials (2 complete)." in page
    assert "All 5 rows" in page
    assert "no better than this" in page
    assert "Test was read on 2026-01-01 with tuned on trained." in page
    assert "Test was read on 2026-01-01" in page


def test_history_says_the_best_so_far_and_how_each_ended(tmp_path: Path) -> None:
    page = page_of(tmp_path, study(), ROWS, CURVES)
    best, *marks = figures(page)["history"]["data"]
    assert best["y"] == [80.0, 90.0, 90.0]
    by_name = {mark["name"]: mark["x"] for mark in marks}
    assert by_name == {"complete": [2], "complete, stopped early": [0], "pruned": [1]}
    lines = figures(page)["curves"]["data"]
    assert {line["name"]: len(line["x"]) for line in lines} == {
        "trial 0": 2,
        "trial 1": 1,
        "trial 2": 3,
    }
    assert lines[-1]["name"] == "trial 2"  # the best one lies on top


def test_lower_may_be_better(tmp_path: Path) -> None:
    found = study(metric="loss", mode="lowest", test=None)
    page = page_of(tmp_path, found, ROWS, CURVES)
    assert figures(page)["history"]["data"][0]["y"] == [0.8, 0.8]
    assert figures(page)["parallel"]["data"][0]["line"]["reversescale"]


@pytest.mark.parametrize("rows", [ROWS[1:2], ROWS[:1]])
def test_a_page_on_few_trials(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    found = study(importances={}, test=None)
    page = page_of(tmp_path, found, rows, {})
    assert set(figures(page)) == {"history"}


def test_axes_have_a_tick_where_a_value_may_be(tmp_path: Path) -> None:
    rows = [
        {**trial(n, "complete", 0.5 + n / 10), "probe.depth": n, "probe.batch_size": 32 * 2**n}
        for n in range(3)
    ]
    space = {
        "probe.depth": "0..3",
        "probe.batch_size": "32,64,128",
        "probe.lr": "log(0.001,0.1)",
        "probe.normalisation": "none,layer",
    }
    found = study(space=space, searched=list(space), importances={})
    page = page_of(tmp_path, found, rows, {})
    axes = {axis["label"]: axis for axis in figures(page)["parallel"]["data"][0]["dimensions"]}
    assert axes["depth"]["tickvals"] == [0, 1, 2]
    assert axes["batch_size"]["ticktext"] == ["32", "64", "128"]
    assert axes["batch_size"]["values"] == [0, 1, 2]
    assert axes["normalisation"]["ticktext"] == ["layer", "none"]
    assert axes["lr"]["ticktext"] == ["0.01", "0.02"]
    assert "accuracy, %" in axes


def test_a_study_that_has_not_ended_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "tuning.json", {"verb": "probe"})
    with pytest.raises(ValueError, match=r"tuning\.json does not hold a finished study.*'data'"):
        write_tuning_page(tmp_path)


def test_it_opens_without_torch(tmp_path: Path, opened_alone) -> None:
    page_of(tmp_path, study(), ROWS, CURVES)
    page = opened_alone("tuning", "write_tuning_page", str(tmp_path))
    assert "How the search went" in page.read_text(encoding="utf-8")
