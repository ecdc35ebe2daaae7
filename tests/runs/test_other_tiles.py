"""A run on tiles meets the same images whole, or cut into other tiles: it knows them by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import selfsight
from selfsight.data.tile_ids import image_ids, other_tiles
from selfsight.runs.run import Run

TrainRun = Callable[..., Run]


@pytest.fixture
def photographs(tmp_path: Path) -> dict[str, Any]:
    """Forty images of 24 x 40 pixels and a table of their classes."""
    random = np.random.default_rng(8)
    (tmp_path / "big").mkdir()
    rows = ["row_id,grade"]
    for i in range(40):
        pixels = random.normal(100, 10, (24, 40)) + 60 * (i % 2)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / f"big/{i:03}.png")
        rows.append(f"{i:03}.png,{'ab'[i % 2]}")
    (tmp_path / "big.csv").write_text("\n".join(rows))
    return {"data": tmp_path / "big", "labels": str(tmp_path / "big.csv"), "target": "grade"}


def sides(run: Run) -> dict[str, str]:
    rows = pq.read_table(run.folder.splits).to_pylist()
    return {image_ids([row["row_id"]])[0]: row["split"] for row in rows}


def scored(folder: Path) -> set[str]:
    return set(pq.read_table(folder / "predictions.parquet")["row_id"].to_pylist())


@pytest.mark.parametrize(("first", "then"), [(16, None), (16, 12), (None, 12), (16, 16)])
def test_sides_and_labels_are_known_in_other_tiles(
    first: int | None,
    then: int | None,
    photographs: dict[str, Any],
    train_run: TrainRun,
    quick: dict[str, Any],
    tmp_path: Path,
) -> None:
    run = train_run("sup", method="supervised", tile=first, **photographs)
    was = sides(run)
    tests = {name for name, split in was.items() if split == "test"}
    wish = {**quick, "labels": photographs["labels"], "target": "grade"}
    results = selfsight.evaluate(run, photographs["data"], tile=then, **wish)
    assert scored(run.folder.path) == tests
    counts = {row["num_labels"] for row in results.records if row["subject"] == "trained"}
    assert max(counts - {None}) == sum(split == "train" for split in was.values())
    given = {name: wish[name] for name in ("labels", "target", "device")}
    out = tmp_path / "model"
    selfsight.finetune(run, photographs["data"], out=out, tile=then, head_only="linear", **given)
    selfsight.evaluate(out, device="cpu")
    assert scored(out) == tests
    again = train_run("again", weights=str(run.folder.path), tile=then, **photographs)
    new = sides(again)
    assert {name for name, split in new.items() if split == "test"} == tests


def test_a_declared_test_split_of_its_train_images_is_a_leak(
    photographs: dict[str, Any], train_run: TrainRun, quick: dict[str, Any], tmp_path: Path
) -> None:
    run = train_run("sup", method="supervised", tile=16, **photographs)
    was = sides(run)
    swapped = ["row_id,grade,split"] + [
        f"{name},{'ab'[int(name[:3]) % 2]},{'test' if split == 'train' else 'train'}"
        for name, split in was.items()
    ]
    (tmp_path / "x.csv").write_text("\n".join(swapped))
    wish = {**quick, "labels": str(tmp_path / "x.csv"), "target": "grade"}
    for tile in (12, None):
        with pytest.raises(ValueError, match=r"was trained on .* test images with their labels"):
            selfsight.evaluate(run, photographs["data"], tile=tile, **wish)
    with pytest.raises(ValueError, match="known by their names, since they are cut into other"):
        selfsight.evaluate(run, photographs["data"], tile=12, **wish)
    free = train_run("free", tile=16, **photographs)
    results = selfsight.evaluate(free, photographs["data"], tile=12, **wish)
    assert any("without their labels, known by their names" in text for text in results.cautions)


def test_representations_of_whole_images_by_a_run_on_tiles_are_said(
    photographs: dict[str, Any],
    train_run: TrainRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = train_run("sup", method="supervised", tile=16, **photographs)
    folder, data = str(run.folder.path), photographs["data"]
    said = f"{folder} was trained on tiles of 16 pixels, and each image is brought"
    capsys.readouterr()
    selfsight.embed(folder, data, out=str(tmp_path / "e.parquet"), device="cpu")
    assert said in capsys.readouterr().err
    selfsight.index(folder, data, out=str(tmp_path / "i"), device="cpu")
    assert said in capsys.readouterr().err
    selfsight.embed(folder, data, out=str(tmp_path / "t.parquet"), tile=16, device="cpu")
    assert said not in capsys.readouterr().err


def test_other_tiles_of_an_image_are_told_from_its_own() -> None:
    theirs = np.array(["a.png@0,0", "a.png@0,8", "b.png@0,0", "c.png"])
    found = other_tiles(np.array(["a.png@0,0", "a.png@0,8", "b.png", "c.png", "d.png"]), theirs)
    assert found.tolist() == [-1, -1, 2, -1, -1]
    assert other_tiles(np.array(["a.png@0,0", "a.png@0,6"]), theirs).tolist() == [0, 0]
    assert other_tiles(np.array(["a.png", "x.png"]), np.array(["a.png"])).tolist() == [-1, -1]
