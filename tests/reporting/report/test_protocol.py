"""The page tells what was chosen and how often test was read."""

from __future__ import annotations

import json
from pathlib import Path

from selfsight.reporting.report.contents import RunContents, read_run
from selfsight.reporting.report.protocol import choices, protocol_sentences, readings
from selfsight.reporting.report.questions import ReportContents


def sentences_of(run: RunContents) -> list[str]:
    return protocol_sentences(ReportContents.of([run]))


def changed(run: Path, **parts: object) -> Path:
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps(results | parts))
    return run


def test_choices_are_told_over_the_draws(make_run, tmp_path: Path) -> None:
    place = {"data": "digits", "target": "digit", "probe": "knn", "label_fraction": 0.1}
    made = [
        {**place, "subject": "trained", "choice": {"chosen": True, "k": k, "temperature": 0.1}}
        for k in (5, 1)
    ]
    made.append({**place, "subject": "pixels", "choice": {"chosen": False, "k": 1}})
    run = changed(make_run(tmp_path / "run"), choices=made)
    trained, pixels = choices(read_run(run))
    assert trained["choice"] == "k 5, 1"
    assert pixels["choice"] == "k 1 (fixed default)"


def test_each_reading_of_test_is_counted(make_run, tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run"))
    log = run.results.test_readings
    sentences = " ".join(sentences_of(run))
    assert len(log) == 66
    assert "The test images were read 66 times" in sentences
    assert "Draws of labels: 5 at 1\xa0%, 5 at 10\xa0% and 1 with all labels." in sentences
    rows = readings(run)
    assert sum(int(row["times"]) for row in rows) == 66
    assert {row["times"] for row in rows} == {"5", "1"}


def test_one_seed_supports_no_claim(make_run, tmp_path: Path) -> None:
    sentences = sentences_of(read_run(make_run(tmp_path / "run")))
    assert sum("no claim" in sentence for sentence in sentences) == 1
    run = changed(make_run(tmp_path / "other"), notes=["One pretraining seed: no claim."])
    sentences = sentences_of(read_run(run))
    assert sum("no claim" in sentence for sentence in sentences) == 1
