"""Absurd and hostile input to the command line: bounded in time and memory, one sentence."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from selfsight.cli import main
from selfsight.data.request import open_images
from selfsight.data.sources.steps.tables import read_columns
from selfsight.files import csv_cell, text_of_cell
from selfsight.models.tables import csv_text, writing_table

TRAIN = ["pretrain", "simclr", "digits", "--limit", "100", "--batch-size", "32"]


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence of a command that must not go on."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("selfsight: ")
    assert not any("Traceback" in line for line in lines)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB
    return lines[-1]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[" * 20_000, "nested too deeply"),
        ("a: " * 3_000, "not valid YAML"),
        ("{a: " * 20_000, "nested too deeply"),
        ("a: &a [1]\n" + "".join(f"b{i}: *a\n" for i in range(200)), "more than 50 aliases"),
        ("x" * 2_000_000, "more than 1,000,000 bytes"),
        ("\x00\x01", "not valid YAML"),
    ],
    ids=["brackets", "colons", "braces", "aliases", "long", "binary"],
)
def test_settings(text: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    printed = refused([*TRAIN, "--settings", str(file), "--out", str(tmp_path / "r")], capsys)
    assert str(file) in printed and what in printed


@pytest.mark.timeout(60)
def test_settings_that_never_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in ("/dev/zero", str(tmp_path / "pipe.yaml"), str(tmp_path)):
        assert "no plain file" in refused([*TRAIN, "--settings", path], capsys)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "words",
    [
        ["--image-size", "1000000"],
        ["--method.projector", "1000000000"],
        ["--method.projector", "1000000000", "1000000000"],
        ["--network.widths", "10000000", "--backbone", "resnet18"],
    ],
    ids=" ".join,
)
def test_sizes(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused([*TRAIN, *words, "--device", "cpu", "--out", str(tmp_path / "run")], capsys)


@pytest.mark.timeout(60)
def test_pipes_among_images_are_named(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (30, 8, 8), np.uint8)
    for i, pixels in enumerate(values):
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.png")
    os.mkfifo(tmp_path / "pipe.png")
    images = open_images(tmp_path)
    assert len(images) == 30
    assert "pipe.png (no plain file)" in " ".join(images.notes)
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(ValueError, match=r"pipe\.npy: it is no plain file"):
        open_images(tmp_path / "pipe.npy")


@pytest.mark.timeout(60)
def test_groups_that_hold_each_other(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "loop.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.random.default_rng(0).integers(0, 255, (30, 8, 8), np.uint8)
        inner = file.create_group("a/b")
        inner["back"] = file["a"]
        file["root"] = file["/"]
    assert len(open_images(path)) == 30


FORMULAS = ["=1+1", "+1", "-1.png", "@sum", "\tx", "'=x", "''=x", "'quoted", "plain", ""]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_cell_comes_back(text: str) -> None:
    assert text_of_cell(csv_cell(text)) == text
    assert csv_cell(text)[:1] not in tuple("=+-@\t")


def test_spreadsheets_see_text_and_we_see_what_it_was(tmp_path: Path) -> None:
    names = [text for text in FORMULAS if text]
    columns = {"row_id": names, "=class": pa.array(names).dictionary_encode(), "p": [-0.5] * 9}
    table = pa.table(columns)
    path = tmp_path / "predictions.csv"
    with writing_table(path) as write:
        write(table)
    cells = [cell.strip('"') for line in path.read_text().splitlines() for cell in line.split(",")]
    assert not any(cell[:1] in "=+@\t" for cell in cells if cell)
    assert {cell for cell in cells if cell.startswith("-")} == {"-0.5"}
    assert csv_text(table).splitlines()[0].count("'=class") == 1
    back, *_ = read_columns(path)
    assert back["row_id"].to_pylist() == names
    assert back["=class"].to_pylist() == names
