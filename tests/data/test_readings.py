"""Guesses are recorded, later files are held to them, and the audit shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsight.data.options import DataOptions
from selfsight.data.request import open_images

from .brought import (
    COUNT,
    HOT,
    PIXELS,
    PLAIN,
    PNGS,
    WRITE,
    as_npy,
    csv_text,
    each,
    folder_of,
    in_npz,
    parquets,
    tree,
)


def test_a_guess_is_recorded_and_later_files_are_held_to_it(tmp_path: Path) -> None:
    from selfsight.data.notes import guesses
    from selfsight.data.reading import held_to

    columns = {"y": each(HOT), "grade": each([0, 1, 2])}
    images = open_images(in_npz(tmp_path, columns), **PLAIN)
    recorded = guesses(images.notes)
    assert set(recorded["kinds"]) == {"y:class", "grade:class"}
    later = {"y": each([[1, 1], [0, 1]]), "grade": each([0.5, 1.5])}
    changes = held_to({"kinds": ()}, recorded)
    with pytest.raises(ValueError, match="more or less than one 1"):
        open_images(in_npz(tmp_path, later), **PLAIN, **changes)


@pytest.mark.parametrize("splits", [True, False])
def test_folders_that_hugging_face_saved(tmp_path: Path, splits: bool) -> None:
    datasets = pytest.importorskip("datasets", reason="selfsight[hub] is not installed")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )

    def part(rows: slice) -> Any:
        images = [{"bytes": content, "path": None} for content in PNGS[rows]]
        labels = each([0, 1])[rows]
        return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)

    saved = part(slice(0, COUNT))
    if splits:
        saved = datasets.DatasetDict(train=part(slice(0, 12)), test=part(slice(12, COUNT)))
    saved.save_to_disk(str(tmp_path / "saved"))
    images = open_images(tmp_path / "saved", **PLAIN)
    np.testing.assert_array_equal(images.pixels, PIXELS)
    assert images.targets["label"].names == ("cat", "dog")
    assert images.targets["label"].values.tolist() == each([0, 1])
    assert len(images.rows("test")) == (8 if splits else 0)


@pytest.mark.parametrize("verb", ["embed", "predict"])
def test_verbs_that_look_leave_no_image_out(tmp_path: Path, verb: str) -> None:
    """Folders that only some are named after splits: a training asks, `embed` takes all."""
    from selfsight.runs.frame import Frame
    from selfsight.runs.request import images_in

    tree(tmp_path / "set", ["train", "test", "extra"])
    with pytest.raises(ValueError, match="--split-column"):
        open_images(tmp_path / "set")
    frame = Frame(height=12, width=12, channels=3, dtype="uint8")
    assert len(images_in(frame, verb, DataOptions(), str(tmp_path / "set"))) == 9


CASES = [
    ("doubtful split", lambda f: parquets(f / "d", ["train-00000-of-00003"]), 1, "missing"),
    ("half a table", lambda f: _half_named(f), 1, "names 5 of 20 images"),
    ("not a number", lambda f: _with_hole(f), 1, "--nodata nan"),
    ("a guess", lambda f: in_npz(f, {"y": each(HOT)}), 0, "y has a single 1"),
    ("left out", lambda f: _with_text(f), 0, "readme.txt"),
]


def _half_named(folder: Path) -> Path:
    names = folder_of(folder / "set")[:5]
    table = csv_text({"file_name": names, "kind": each(["a", "b"])[:5]})
    (folder / "set" / "t.csv").write_text(table)
    return folder / "set"


def _with_hole(folder: Path) -> Path:
    values = np.random.default_rng(0).random((COUNT, 12, 12)).astype(np.float32)
    values[3, 0, 0] = np.nan
    return as_npy(folder, values)


def _with_text(folder: Path) -> Path:
    folder_of(folder / "set")
    (folder / "set" / "readme.txt").write_text("hello")
    return folder / "set"


@pytest.mark.parametrize(
    ("make", "code", "text"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_audit_shows_guesses_and_what_is_left_out(
    tmp_path: Path, make: Callable[[Path], Path], code: int, text: str
) -> None:
    from selfsight.cli import main

    path = make(tmp_path)
    assert main(["audit", str(path), "--out", str(tmp_path / "audit"), "--no-near"]) == code
    readings = json.loads((tmp_path / "audit" / "audit.json").read_text())["readings"]
    reading = next(reading for reading in readings if text in reading["text"])
    assert reading["kind"] != "fact" and reading["doubtful"] == bool(code)
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert "How the images were read" in page and reading["about"] in page


def test_a_run_records_its_guesses_and_holds_later_files_to_them(tmp_path: Path) -> None:
    """A run on 0/1 rows with a single 1: a later file with two of them is refused, not re-read."""
    from selfsight.cli import main
    from selfsight.runs.request import RunData, images_of
    from selfsight.runs.run import load_run

    path = in_npz(tmp_path, {"y": each(HOT)})
    quick = ["--epochs", "1", "--batch-size", "4", "--backbone", "resnet20", "--device", "cpu"]
    quick += ["--network.widths", "8", "--network.depths", "1", "--out", str(tmp_path / "run")]
    assert main(["pretrain", "simclr", str(path), *quick]) == 0
    run = load_run(tmp_path / "run")
    assert run.environment["data"]["guesses"]["kinds"] == ["y:class"]
    assert run.environment["data"]["value_type"] == "uint8"
    (tmp_path / "later").mkdir()
    later = in_npz(tmp_path / "later", {"y": each([[1, 1], [0, 1]])})
    with pytest.raises(ValueError, match="more or less than one 1"):
        images_of(run, RunData(run=str(tmp_path / "run"), data=str(later)))


def test_the_audit_names_all_that_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten files: the terminal names three and counts them, ``--json`` and the page name all."""
    from selfsight.cli import main

    folder_of(tmp_path / "set")
    names = [f"note {i}.txt" for i in range(10)]
    for name in names:
        (tmp_path / "set" / name).write_text("hello")
    out = tmp_path / "audit"
    words = ["audit", str(tmp_path / "set"), "--out", str(out), "--no-near"]
    main([*words, "--json"])
    captured = capsys.readouterr()
    readings = json.loads(captured.out)["audit"]["readings"]
    assert readings == json.loads((out / "audit.json").read_text())["readings"]
    reading = next(reading for reading in readings if "no images" in reading["text"])
    assert (reading["count"], reading["names"]) == (10, names)
    assert "10 files" in captured.err and "and 7 more" in captured.err
    page = (out / "audit.html").read_text()
    assert all(name in page for name in names)


@pytest.mark.parametrize("container", ["npy", "HDF5"])
def test_terminal_page_and_json_agree_on_the_range_of_values(
    tmp_path: Path, container: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from selfsight.cli import main

    values = np.random.default_rng(0).random((COUNT, 12, 12)).astype(np.float32)
    values[1, 2, 3], values[2, 3, 4] = -3.25, 7.5
    values[5] = np.nan  # not a number is no extreme
    path = WRITE[container](tmp_path, values)
    main(["audit", str(path), "--out", str(tmp_path / "audit"), "--no-near"])
    assert "from -3.25 to 7.5" in capsys.readouterr().err
    assert json.loads((tmp_path / "audit" / "audit.json").read_text())["values"] == [-3.25, 7.5]
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert "float32 from -3.25 to 7.5 over all images" in page.replace("\u2212", "-")
