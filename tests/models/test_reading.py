"""A model folder keeps how its images were read, and later images are read in the same way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfsight.cli import main
from selfsight.data.options import DataOptions
from selfsight.models.embed import reading_in
from selfsight.models.predictor import Predictor
from selfsight.runs.request import images_in

COUNT = 40
LABELS = np.arange(COUNT) % 2


def trained(folder: Path, source: Path, *options: str) -> tuple[Path, Path]:
    """A run and the model that is fine-tuned from it."""
    run, model = folder / "run", folder / "model"
    small = ["--backbone", "resnet20", "--network.widths", "8", "--network.depths", "1"]
    small += ["--epochs", "1", "--batch-size", "8", "--device", "cpu"]
    assert main(["pretrain", "simclr", str(source), *small, *options, "--out", str(run)]) == 0
    fit = ["--head-only", "linear", "--device", "cpu", "--out", str(model)]
    assert main(["finetune", str(run), *fit]) == 0
    return run, model


def seen_by(folder: Path, source: Path, **options: object) -> np.ndarray:
    """The pixels that `predict` and `embed` take of a later source."""
    wish = DataOptions.model_validate(options)
    frame = Predictor.load(folder).card.frame
    return np.asarray(images_in(frame, str(folder), wish, source, reading_in(folder)).pixels)


def test_channels_lie_as_in_the_images_of_the_run(tmp_path: Path) -> None:
    """Arrays (N, 5, 12, 12) are read as NCHW; later ones of 5 rows could be read in either way."""
    values = np.random.default_rng(0).integers(0, 255, (COUNT, 5, 12, 12)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=values, label=LABELS)
    run, model = trained(tmp_path, tmp_path / "a.npz")
    assert json.loads((model / "model.json").read_text())["reading"]["axes"] == ["NCHW"]
    assert reading_in(run)["axes"] == reading_in(model)["axes"] == ("NCHW",)
    later = values[:, :, :5, :5]
    np.save(tmp_path / "later.npy", later)
    seen = seen_by(model, tmp_path / "later.npy")
    assert seen.shape == (COUNT, 12, 12, 5)
    right = later.transpose(0, 2, 3, 1)
    assert abs(seen.mean((0, 1, 2)) - right.mean((0, 1, 2))).max() < 3
    other = seen_by(model, tmp_path / "later.npy", axes="NHWC")
    assert abs(other.mean((0, 1, 2)) - right.mean((0, 1, 2))).max() > 3


@pytest.mark.parametrize("said", [False, True], ids=["guessed", "said"])
def test_the_column_of_images_is_that_of_the_run(tmp_path: Path, said: bool) -> None:
    random = np.random.default_rng(0)
    first, second = (random.integers(0, 255, (COUNT, 12, 12)) for _ in range(2))
    columns = {"image": first.tolist(), "photo": second.tolist(), "label": LABELS.tolist()}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    _, model = trained(tmp_path, tmp_path / "a.parquet",
                       *(["--image-column", "photo"] if said else []))  # fmt: skip
    right, wrong = (second, first) if said else (first, second)
    seen = seen_by(model, tmp_path / "a.parquet")
    np.testing.assert_array_equal(seen[..., 0], right)
    name = "photo" if said else "image"
    other = seen_by(model, tmp_path / "a.parquet", image_column="image" if said else "photo")
    np.testing.assert_array_equal(other[..., 0], wrong)
    pq.write_table(pa.table({"picture": right.tolist()}), tmp_path / "b.parquet")
    assert name not in pq.read_schema(tmp_path / "b.parquet").names
    np.testing.assert_array_equal(seen_by(model, tmp_path / "b.parquet")[..., 0], right)
    with pytest.raises(ValueError, match="image column"):
        seen_by(model, tmp_path / "b.parquet", image_column="nothing")


def test_no_data_and_the_value_scale_are_those_of_the_run(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 3000, (COUNT, 12, 12)).astype(np.float32)
    values[3, 2, 2] = -9999
    np.savez(tmp_path / "a.npz", images=values, label=LABELS)
    _, model = trained(tmp_path, tmp_path / "a.npz", "--nodata", "-9999")
    dim = np.full((4, 12, 12), 17, np.float32)
    dim[0, 0, 0] = -9999
    np.save(tmp_path / "dim.npy", dim)
    seen = seen_by(model, tmp_path / "dim.npy")
    assert (seen == 17).all()
    np.save(tmp_path / "bytes.npy", dim.clip(0).astype(np.uint8))
    with pytest.raises(ValueError, match="--value-range"):
        seen_by(model, tmp_path / "bytes.npy")


def test_predict_and_embed_follow_it(tmp_path: Path) -> None:
    """The tables of a file are those of its first column of images alone, and need no labels."""
    random = np.random.default_rng(0)
    first, second = (random.integers(0, 255, (COUNT, 12, 12)) for _ in range(2))
    hot = np.eye(2)[LABELS]
    both = {"image": second.tolist(), "photo": first.tolist(), "y": hot.tolist()}
    pq.write_table(pa.table(both), tmp_path / "a.parquet")
    run, model = trained(tmp_path, tmp_path / "a.parquet", "--image-column", "photo")
    both["y"] = np.ones_like(hot).tolist()  # what a run on 0/1 rows with a single 1 refuses
    pq.write_table(pa.table(both), tmp_path / "both.parquet")
    pq.write_table(pa.table({"photo": first.tolist()}), tmp_path / "one.parquet")
    for verb, folder in (("predict", model), ("embed", model), ("embed", run)):
        tables = []
        for name in ("both", "one"):
            out = tmp_path / f"{verb}-{folder.name}-{name}.parquet"
            source = str(tmp_path / f"{name}.parquet")
            assert main([verb, str(folder), source, "--device", "cpu", "--out", str(out)]) == 0
            tables.append(pq.read_table(out).drop(["row_id"]))
        assert tables[0].equals(tables[1])
