"""The files of a run have one schema, for the writer and for the reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsight.data.audit import audit
from selfsight.data.imageset import ImageSet
from selfsight.evaluation.results import Results
from selfsight.files import read_json, write_json
from selfsight.records.audits import Audit
from selfsight.records.collapse import collapsed
from selfsight.records.content import checked, read_record
from selfsight.records.labelling import SuggestedImage, SuggestionsFile
from selfsight.records.results import ResultsFile

PLACE = {"data": "d", "task": "class", "target": "t", "split": "test", "probe": "knn"}
ROW = {**PLACE, "subject": "trained", "label_fraction": 0.1, "num_labels": 5, "label_seed": 0}


def results(path: Path, **parts: Any) -> Results:
    made = Results(path, backbone="abc")
    made.records.append({**ROW, "metric": "accuracy", "label": None, "value": 0.5})
    made.test_readings.append({"when": "2026-01-01T00:00:00+00:00", **ROW})
    for name, rows in parts.items():
        getattr(made, name).extend(rows)
    return made


def test_what_is_written_is_what_pages_read(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    choice = {**ROW, "choice": {"k": 5, "chosen": True}}
    results(path, choices=[choice]).write()
    found = read_record(ResultsFile, path)
    assert found.records[0].value == 0.5
    assert found.records[0].fraction == 0.1
    assert found.choices[0].choice == {"k": 5, "chosen": True}
    assert Results.read(path).records == results(path).records


@pytest.mark.parametrize(
    ("part", "row", "words"),
    [
        ("records", {**ROW, "metric": "accuracy", "value": "high"}, r"records\.1\.value"),
        ("records", {**ROW, "value": 0.5}, r"records\.1\.metric: Field required"),
        ("values", {**PLACE, "metric": "r2", "mean": 0.1}, r"values\.0\.subject"),
        ("differences", {**PLACE, "control": "x", "metric": "r2", "mean": 1, "seed": 3}, "seed"),
        ("confusion", {**ROW, "names": ["a"], "matrix": [["b"]]}, r"matrix\.0\.0"),
    ],
)
def test_the_writer_and_the_reader_refuse_the_same(
    part: str, row: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(ValueError, match=words):
        results(path, **{part: [row]}).write()
    assert not path.exists()
    results(path).write()
    content = read_json(path)
    place = content["summary"] if part in ("values", "differences") else content
    place[part].append(row)
    write_json(path, content)
    for read in (lambda: read_record(ResultsFile, path), lambda: Results.read(path)):
        with pytest.raises(ValueError, match=rf"results\.json is damaged: .*{words}"):
            read()


def test_an_audit_survives_its_file() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1), np.uint8)
    pixels[9], pixels[4] = pixels[1], 0
    splits = np.array(["train"] * 8 + ["test"] * 4)
    images = ImageSet("noise", pixels, np.arange(12).astype(str), splits)
    found = audit(images, near=False)
    assert found.crossings and found.blank
    again = checked(Audit, json.loads(json.dumps(found.plain())), "audit.json")
    assert again == found
    assert again.copies[0].across


def test_suggestions_survive_their_file() -> None:
    found = SuggestionsFile(
        "run", "data", "random", "kind", None, (), "labels.csv", 3, (SuggestedImage("a", "b"),)
    )
    assert checked(SuggestionsFile, json.loads(json.dumps(found.plain())), "x.json") == found
    with pytest.raises(ValueError, match=r"x\.json is damaged: images\.0\.reason"):
        checked(SuggestionsFile, {**found.plain(), "images": [{"row_id": "a"}]}, "x.json")


def test_a_measure_that_is_missing_says_nothing_of_a_collapse() -> None:
    assert not collapsed({})
    assert collapsed({"effective_rank": 1.2})
    assert collapsed({"spread": 0.01})
    assert not collapsed({"effective_rank": 30.0, "spread": 0.9})


def test_a_row_without_an_interval_or_a_probe_is_shown(tmp_path: Path) -> None:
    """As a file without them is read: they may be left out."""
    value = {**PLACE, "subject": "trained", "metric": "accuracy", "mean": 0.5}
    path = tmp_path / "results.json"
    results(path, values=[value, {**value, "task": "none", "metric": "rankme"}]).write()
    text = str(Results.read(path))
    assert "50.0" in text and "RankMe" in text
