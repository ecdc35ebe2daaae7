"""Run folders: whole files or none, and sentences for what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfsight.files import read_json, replacing, write_json
from selfsight.runs.folder import RunFolder


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["value.json"]


def test_nan_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "value.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_what_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        RunFolder.existing(tmp_path / "nothing")
    with pytest.raises(ValueError, match="not a run"):
        RunFolder.existing(tmp_path)
    (tmp_path / "settings.yaml").write_text("data: digits\n")
    with pytest.raises(ValueError, match="not finished"):
        RunFolder.existing(tmp_path)
    with pytest.raises(ValueError, match="not valid JSON"):
        read_json(tmp_path / "settings.yaml")


def test_metrics_have_gaps(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.metrics.write_text("step,loss,knn\n1,0.5,\n2,0.25,0.9\n")
    assert folder.read_metrics() == {
        "step": [1.0, 2.0],
        "loss": [0.5, 0.25],
        "knn": [None, 0.9],
    }


def test_files_get_the_usual_permissions_whoever_writes_them(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with replacing(tmp_path / "kept") as temporary:
        temporary.write_text("kept")
        temporary.chmod(0o600)
    assert (tmp_path / "kept").stat().st_mode == (tmp_path / "usual").stat().st_mode
