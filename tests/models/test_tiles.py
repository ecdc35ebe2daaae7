"""Models of tiles: fitted on tiles, they predict whole images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import selfsight
from selfsight.models import predict as prediction
from selfsight.models.predictor import Predictor

SIDES = ((32, 48), (48, 32), (32, 32))
"""Of the images, in turn: six, six and four tiles of 16 pixels."""


def strip(random: np.random.Generator, number: int) -> Image.Image:
    """Noise, in every second image with one bright spot of 12 pixels."""
    pixels = random.integers(0, 60, (*SIDES[number % 3], 1), np.uint8)
    if number % 2:
        top, left = (random.integers(0, side - 12) for side in pixels.shape[:2])
        pixels[top : top + 12, left : left + 12] = 255
    return Image.fromarray(pixels[..., 0])


@pytest.fixture(scope="module")
def strips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("strips"), np.random.default_rng(0)
    for number in range(72):
        split = ("test", "validation", "train", "train")[number // 2 % 4]
        place = folder / split / ("spot" if number % 2 else "clean")
        place.mkdir(parents=True, exist_ok=True)
        strip(random, number).save(place / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def model(strips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiled")
    run = selfsight.pretrain(
        "simclr", strips, tile=16, weights="none", epochs=0, monitor_images=0,
        backbone="resnet20", network={"widths": (8, 16), "depths": (1, 1)},
        out=folder / "run",
    )  # fmt: skip
    selfsight.finetune(run, out=folder / "model", head_only="linear")
    return folder / "model"


def test_the_card_counts_images_and_keeps_the_tile(model: Path) -> None:
    card = Predictor.load(model).card
    assert card.tile == 16
    assert (card.frame.height, card.frame.width) == (16, 16)
    assert card.num_labels == 36


@pytest.mark.parametrize("part", [3, 2048])
def test_every_image_gets_one_row_the_mean_over_its_tiles(
    model: Path, strips: Path, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "PART", part)
    table = selfsight.predict(model, strips / "test")
    assert len(table) == len(set(table.row_ids)) == 18
    predictor = Predictor.load(model)
    for row_id, output in list(zip(table.row_ids, table.output, strict=True))[:4]:
        pixels = np.asarray(Image.open(strips / "test" / str(row_id)))
        height, width = pixels.shape
        tiles = [
            pixels[None, top : top + 16, left : left + 16, None]
            for top in range(0, height, 16)
            for left in range(0, width, 16)
        ]
        images = selfsight.open_images(np.concatenate(tiles), test=0.0, validation=0.0)
        assert np.allclose(output, predictor.output(images).mean(0), atol=1e-5)


def test_an_array_and_parts_give_the_same(model: Path, strips: Path, tmp_path: Path) -> None:
    whole = selfsight.predict(model, strips / "test")
    for number in range(5):
        selfsight.predict(model, strips / "test", out=tmp_path / "p.parquet", shard=f"{number}/5")
    selfsight.merge(tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    assert table["row_id"].to_pylist() == whole.row_ids.tolist()
    assert np.allclose(table["p_spot"], whole.output[:, 1])
    squares = [r for r in whole.row_ids if np.asarray(Image.open(strips / "test" / r)).size == 1024]
    array = np.stack([np.asarray(Image.open(strips / "test" / r)) for r in squares])[..., None]
    given = selfsight.predict(model, array)
    where = [whole.row_ids.tolist().index(r) for r in squares]
    assert np.allclose(given.output, whole.output[where], atol=1e-5)


def test_the_scores_are_of_whole_images(model: Path, strips: Path) -> None:
    for data in (None, strips):
        results = selfsight.evaluate(model, data)
        rows = [r for r in results.records if r["subject"] == "trained"]
        assert {row["num_labels"] for row in rows} == {36}
        table = pq.read_table(model / "predictions.parquet")
        assert len(set(table["row_id"].to_pylist())) == 18
    values = Predictor.load(model).card.validation
    counts = values["accuracy"] * 18
    assert counts == pytest.approx(round(counts))  # of 18 images, not of some 96 tiles


def test_what_cannot_be_cut_is_one_sentence(model: Path, strips: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tile 24: model .* was fitted on tiles of 16 pixels"):
        selfsight.predict(model, strips / "test", tile=24)
    tiles = selfsight.open_images(strips, tile=16)
    with pytest.raises(ValueError, match=r"is cut into tiles already.*--tile"):
        selfsight.finetune(model.parent / "run", tiles, out=tmp_path / "m", head_only="linear")
    selfsight.finetune(model.parent / "run", tiles, tile=16, out=tmp_path / "m", head_only="linear")
    assert Predictor.load(tmp_path / "m").card.tile == 16


def test_an_exported_model_says_that_it_takes_tiles(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    exported = selfsight.export(model, out=tmp_path / "m.onnx")
    assert "a tile of 16 pixels" in exported.usage
    assert "mean of the output over the tiles" in exported.usage
