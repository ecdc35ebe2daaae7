"""Relative paths that a run, a model or an index recorded hold in every working directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from selfsight.cli import main
from selfsight.data.imageset import ImageSet
from selfsight.runs.lineage import chosen_by, lineage_of
from selfsight.runs.places import RecordedPlace
from selfsight.runs.run import load_run

NETWORK = ["--backbone", "resnet20", "--network.widths", "4", "8", "--network.depths", "1", "1"]
QUICK = ["--epochs", "1", "--batch-size", "16", "--device", "cpu"]
SCORED = ["--probes", "knn", "--fractions", "1", "--controls", "untrained", "--device", "cpu"]


@pytest.fixture
def project(digits: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images, a table of their labels, and the working directory above them."""
    project = tmp_path / "project"
    (project / "images").mkdir(parents=True)
    rows = ["row_id,digit"]
    for row in range(120):
        name = f"{row:03}.png"
        Image.fromarray(digits.pixels[row, :, :, 0]).save(project / "images" / name)
        rows.append(f"{name},d{digits.targets['digit'].values[row] % 3}")
    (project / "labels.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(project)
    return project


def train(*more: str, data: str = "images", labels: str = "labels.csv") -> int:
    words = ["pretrain", "simclr", data, "--labels", labels, *QUICK]
    start = more or ("none", "--out", "runs/a")
    return main([*words, *NETWORK * (start[0] == "none"), "--weights", *start])


def test_evaluate_and_continue_from_elsewhere(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    assert train("runs/a", "--out", "runs/b") == 0
    run = load_run("runs/a")
    assert (run.settings.data, run.settings.labels) == ("images", "labels.csv")  # as it was named
    (project / "elsewhere" / "images").mkdir(parents=True)  # of the same name, and not the images
    monkeypatch.chdir(project / "elsewhere")
    run = load_run("../runs/a")
    assert run.settings.data == str(project / "images")
    assert run.settings.labels == str(project / "labels.csv")
    assert main(["evaluate", "../runs/a", *SCORED]) == 0
    assert main(["report", "../runs/a"]) == 0
    assert main(["suggest", "../runs/a", "--labels", "../labels.csv", "--device", "cpu"]) != 0
    assert "every image that may be trained on has a label already" in capsys.readouterr().err
    # What a start was trained on is still known.
    lineage = lineage_of([load_run("../runs/b")])
    assert len(lineage.seen) == 2 and not lineage.cautions
    # The same training, named from here, is the one that is there.
    done = train("none", "--out", "../runs/a", data="../images", labels="../labels.csv")
    assert done == 0 and "finished; nothing to do" in capsys.readouterr().err


def test_a_model_and_an_index_from_elsewhere(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train() == 0
    words = ["finetune", "runs/a", "images", "--labels", "labels.csv", "--out", "model"]
    assert main([*words, "--head-only", "linear", "--device", "cpu"]) == 0
    assert main(["index", "runs/a", "images", "--out", "index", "--device", "cpu"]) == 0
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    assert main(["evaluate", "../model", "--device", "cpu"]) == 0
    assert len(lineage_of([load_run("../runs/a")]).seen) == 1
    from selfsight.neighbours.index import Index
    from selfsight.neighbours.originals import OriginalImages

    assert OriginalImages(Index.load("../index")).at(0) is not None
    assert main(["search", "../index", str(project / "images" / "003.png")]) == 0


def test_a_project_that_was_moved(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train() == 0
    assert train("none", "--out", "runs/b", data=str(project / "images")) == 0
    moved = tmp_path / "moved"
    os.rename(project, moved)
    monkeypatch.chdir(moved)
    assert load_run("runs/a").settings.data == "images"
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):  # relative and absolute
        assert load_run(f"moved/runs/{name}").settings.data == str(moved / "images")
        assert main(["evaluate", f"moved/runs/{name}", *SCORED]) == 0


def test_names_that_are_no_paths(tmp_path: Path) -> None:
    place = RecordedPlace(str(tmp_path / "there"), str(tmp_path / "run"), tmp_path / "run")
    for name in ("digits", "hf:owner/name", "s3://bucket/x.tar", "", "timm:resnet18"):
        assert place.found(name) == name
    assert RecordedPlace("", "", tmp_path).found("images") == "images"


def test_the_run_of_suggestions_from_elsewhere(
    digits: ImageSet,
    make_run: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_run(digits, tmp_path / "runs" / "a")
    table = tmp_path / "suggestions" / "labels.csv"
    table.parent.mkdir()
    table.with_name("suggestions.json").write_text("{}")
    record = SimpleNamespace(run="runs/a", table="labels.csv")
    monkeypatch.setattr("selfsight.runs.lineage.read_record", lambda kind, path: record)
    monkeypatch.chdir(tmp_path / "runs")
    assert [run.path for run in chosen_by(str(table))] == [tmp_path / "runs" / "a"]
