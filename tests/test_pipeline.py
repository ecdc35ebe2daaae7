"""The main job, end to end: images in, a report out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selfsight.cli import main


def test_run_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ["run", "digits", "--epochs", "2", "--limit", "300", "--batch-size", "64"]
    words += ["--out", str(out), "--fractions", "0.1", "1.0", "--draws", "2", "--device", "cpu"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert str(out / "report.html") in printed.out
    results = json.loads((out / "results.json").read_text())
    weights = {record["subject"] for record in results["records"]}
    assert {"trained", "untrained", "pixels"} <= weights
    probes = {record["probe"] for record in results["records"]}
    assert {"knn", "linear"} <= probes
    assert all(
        record["split"] == "test" for record in results["records"] if record["task"] == "class"
    )
    assert results["summary"]["differences"]
    page = (out / "report.html").read_text()
    assert "simclr" in page.lower()
    assert main(["report", str(out), "--out", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").is_file()
