"""Measures without labels stand in a table of their own; runs rank by them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selfsight.reporting.report.contents import RunContents, read_run
from selfsight.reporting.report.questions import ReportContents, main_questions, questions_of
from selfsight.reporting.report.without_labels import measure_tables, ranking


@pytest.fixture
def runs(make_run, tmp_path: Path) -> list[RunContents]:
    found = []
    for name, gain, rank in (("a", 0.0, 9.0), ("b", -0.1, 8.0), ("c", -0.2, 12.0)):
        run = make_run(tmp_path / name, gain=gain)
        results = json.loads((run / "results.json").read_text())
        for metric, value in (("rankme", rank), ("uniformity", -gain)):
            results["summary"]["values"].append(
                {
                    "data": "digits",
                    "task": "none",
                    "target": None,
                    "probe": "none",
                    "subject": "trained",
                    "label_fraction": 0.0,
                    "num_labels": 0,
                    "label": None,
                    "split": "train",
                    "metric": metric,
                    "draws": 1,
                    "mean": value,
                    "low": None,
                    "high": None,
                }
            )
        (run / "results.json").write_text(json.dumps(results))
        found.append(read_run(run))
    return found


def test_measures_have_their_own_table(runs: list[RunContents]) -> None:
    questions = questions_of(runs[:1], ["trained"])
    assert {question.metric for question in questions} == {"accuracy", "macro_f1"}
    (table,) = measure_tables(ReportContents.of(runs[:1]))
    assert [(name, cells) for name, _, cells in table.rows] == [
        ("RankMe", [("9.000", "")]),
        ("Uniformity", [("0.000", "")]),
    ]
    assert "collapsed" in table.rows[0][1]


def test_runs_rank_by_the_labelled_result(runs: list[RunContents]) -> None:
    found = ranking(runs, main_questions(questions_of(runs, ["a", "b", "c"])))
    assert found is not None
    assert [name for name, _ in found.rows] == ["a", "b", "c"]
    assert found.rows[2][1][1] == "12 (1)"
    assert found.correlations == ["RankMe −0.500", "uniformity −1.000"]


def test_two_runs_are_not_ranked(runs: list[RunContents]) -> None:
    assert ranking(runs[:2], main_questions(questions_of(runs[:2], ["a", "b"]))) is None
