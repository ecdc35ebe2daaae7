"""`suggest` on a run: its files, its rules, and that a training goes on from the filled table."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfsight.data import request
from selfsight.data.options import DataOptions
from selfsight.data.request import open_images
from selfsight.labelling.suggest import Suggest, suggest
from selfsight.runs.request import own_images
from selfsight.runs.run import Run
from selfsight.training.plan import prepare
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import Pretrain


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder of images without labels, and what is on each."""
    path = tmp_path_factory.mktemp("images")
    digits = open_images("digits", limit=150)
    (target,) = digits.targets.values()
    truth = {}
    for row in digits.pool:
        pixels = np.kron(digits.pixels[row, :, :, 0], np.ones((2, 2), np.uint8))
        Image.fromarray(pixels).save(path / f"{row:04d}.png")
        truth[f"{row:04d}.png"] = "digit " + target.names[target.values[row]]
    return path, truth


@pytest.fixture(scope="module")
def run(folder: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Run:
    base = Pretrain.model_validate({"method": "simclr", "data": str(folder[0])})
    out = tmp_path_factory.mktemp("run")
    small = {"epochs": 1, "batch_size": 32, "device": "cpu", "monitor_images": 0, "out": str(out)}
    small |= {"backbone": "resnet18", "method.projector": (16, 8)}
    return pretrain(base.updated({**small, "network.widths": (4, 8), "network.depths": (1, 1)}))


def read(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_from_nothing_to_a_training_with_labels(
    run: Run, folder: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    images, truth = folder
    out = tmp_path / "first"
    settings = Suggest(run=str(run.folder.path), count=12, out=str(out), near=0.999)
    found = suggest(settings)
    table = read(out / "labels.csv")
    assert table[0] == ["row_id", "label"]
    assert [row[0] for row in table[1:]] == found.row_ids
    assert all(row[1] == "" for row in table[1:])
    assert len(set(found.row_ids)) == 15 and all(found.reasons)
    splits = own_images(run).splits[found.rows]
    assert splits.tolist() == ["unlabelled"] * 12 + ["test"] * 3
    assert ["drawn at random" in reason for reason in found.reasons] == [False] * 12 + [True] * 3
    page = (out / "index.html").read_text()
    assert page.count("<img") == 15 and found.row_ids[0] in page and "http" not in page
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.size == (8 * 128, 2 * 144)
    assert suggest(settings).row_ids == found.row_ids  # not filled in yet: may be written again

    filled = "\n".join(["row_id,label", *(f"{i},{truth[i]}" for i in found.row_ids)])
    (out / "labels.csv").write_text(filled)
    with pytest.raises(ValueError, match="has been filled in"):
        suggest(settings)

    more = settings.updated({"labels": str(out / "labels.csv"), "out": str(tmp_path / "second")})
    second = suggest(more)
    assert not set(second.row_ids) & set(found.row_ids)
    table = read(tmp_path / "second" / "labels.csv")
    assert {tuple(row) for row in table[1:] if row[1]} == {(i, truth[i]) for i in found.row_ids}
    assert [row[0] for row in table if row[1] == ""] == second.row_ids

    doubtful = more.updated({"by": "uncertainty", "out": str(tmp_path / "third")})
    assert "uncertain" in suggest(doubtful).reasons[0]

    going_on = Pretrain.model_validate(
        {
            "method": "fixmatch",
            "data": str(images),
            "labels": str(out / "labels.csv"),
            "weights": str(run.folder.path),
            "device": "cpu",
            "batch_size": 32,
            "out": str(tmp_path / "next"),
        }
    )
    plan = prepare(going_on)
    assert plan.labels is not None
    rows = np.flatnonzero(plan.labels.known)
    assert 0 < len(rows) <= 12
    for row in rows:
        name = str(plan.images.row_ids[row])
        assert plan.labels.names[plan.labels.values[row]] == truth[name]


def test_groups_are_spread(run: Run, tmp_path: Path) -> None:
    images = own_images(run)
    grouped = replace(images, groups=np.arange(len(images)) % 10)
    settings = Suggest(
        run=str(run.folder.path), count=20, out=str(tmp_path), near=1.0, allow_leaks=True
    )  # the splits of the run cut these groups
    assert grouped.groups is not None
    settings = settings.updated({"test_images": 0})
    found = suggest(settings.updated({"per_group": 2}), grouped)
    assert np.bincount(grouped.groups[found.rows], minlength=10).max() == 2
    found = suggest(settings, grouped)  # twice an even share
    assert np.bincount(grouped.groups[found.rows]).max() <= 4


def test_what_cannot_be_suggested(run: Run, tmp_path: Path) -> None:
    settings = Suggest(run=str(run.folder.path), out=str(tmp_path))
    with pytest.raises(ValueError, match="needs a target"):
        suggest(settings.updated({"by": "uncertainty"}))
    labelled = request.open(DataOptions(), "digits", scale=own_images(run).scale)
    with pytest.raises(ValueError, match="has a label already"):
        suggest(settings, labelled)


def test_several_labels_are_written_with_the_separator_that_was_read(
    run: Run, folder: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """A table of `;` that came back with `|` would be of two separators once it is filled in."""
    names = sorted(folder[1])[:60]
    cells = ["pit;stain", "pit", "stain"] * 20
    rows = "\n".join(f"{name},{cell}" for name, cell in zip(names, cells, strict=True))
    (tmp_path / "l.csv").write_text(f"file,defects\n{rows}\n")
    given = Suggest(run=str(run.folder.path), count=3, labels=str(tmp_path / "l.csv"))
    for separator, out in ((None, "a"), (";", "b")):
        wish = given.updated({"separator": separator, "out": str(tmp_path / out)})
        suggest(wish)
        written = {row[1] for row in read(tmp_path / out / "labels.csv")[1:]}
        assert written == {"pit;stain", "pit", "stain", ""}
    relabelled = given.updated({"labels": str(tmp_path / "a" / "labels.csv")})
    images = own_images(run, relabelled)
    assert images.targets["defects"].kind == "labels"
