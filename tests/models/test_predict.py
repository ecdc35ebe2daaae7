"""Tables of predictions and of representations."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import selfsight
from selfsight.cli import main
from selfsight.data.imageset import ImageSet
from selfsight.data.options import DataOptions
from selfsight.fitting.recipe import FineTuning
from selfsight.fitting.representations import represent
from selfsight.models import embed as embedding
from selfsight.models import predict as prediction
from selfsight.models.predictor import Predictor
from selfsight.runs.request import images_in
from selfsight.runs.run import load_run

Fit = Callable[..., Predictor]


@pytest.fixture(scope="module")
def models(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    for target in ("digit", "marks", "ink"):
        fit(target, folder / target, head_only="linear", label_fraction=0.3)
    return {target: folder / target for target in ("digit", "marks", "ink")}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat folder without labels: colour, of another size."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for i in range(7):
        pixels = random.integers(0, 255, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}, x.png")
    return folder


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("target", ["digit", "marks", "ink"])
def test_every_image_gets_a_row(
    models: dict[str, Path],
    photos: Path,
    tmp_path: Path,
    target: str,
    suffix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prediction, "PART", 3)
    out = tmp_path / f"p{suffix}"
    words = [str(models[target]), str(photos), "--out", str(out), "--batch-size", "2"]
    assert main(["predict", *words]) == 0
    if suffix == ".parquet":
        rows = pq.read_table(out).to_pylist()
    else:
        rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["row_id"] for row in rows] == [f"{i}, x.png" for i in range(7)]
    predictor = Predictor.load(models[target])
    images = images_in(predictor.card.frame, "x", DataOptions(), photos)
    assert images.pixels.shape == (7, 8, 8, 1)
    output = predictor.output(images)
    prefix = "" if target == "ink" else "p_"
    table = [[float(row[prefix + name]) for name in predictor.card.names] for row in rows]
    assert np.allclose(table, output, rtol=1e-5, atol=1e-6)
    decided = predictor.decide(output)
    if target == "digit":
        assert [row["predicted"] for row in rows] == decided
    if target == "marks":
        shown = [row["predicted"] for row in rows]
        assert shown == (decided if suffix == ".parquet" else ["|".join(d) for d in decided])


def test_the_distance_is_that_to_the_nearest_training_image(
    models: dict[str, Path], described: ImageSet, capsys: pytest.CaptureFixture[str]
) -> None:
    predictor = Predictor.load(models["digit"])
    assert predictor.training is not None and predictor.card.novelty is not None
    novelty = predictor.card.novelty
    assert novelty.taken_from == "validation" and novelty.share == pytest.approx(
        max(0.01, 3 / (novelty.images + 1))
    )
    test = described.take(described.rows("test"))
    table = selfsight.predict(predictor, test)
    train = torch.nn.functional.normalize(predictor.features(described, described.pool), dim=1)
    asked = torch.nn.functional.normalize(predictor.features(test), dim=1)
    expected = 1 - (asked @ train.T).amax(1).numpy()
    np.testing.assert_allclose(table.distances, expected, atol=1e-3)  # they are kept as float16
    lengths = predictor.features(test).norm(dim=1).numpy()
    outside = (lengths < novelty.shortest) | (lengths > novelty.longest)
    assert (table.novel == ((table.distances > novelty.threshold) | outside)).all()
    assert table.novel.mean() < 0.03
    words = f"{table.novel.sum():,} of {len(test):,} images are unlike anything in training"
    assert words in capsys.readouterr().err
    assert table.arrow["novel"].to_pylist() == table.novel.tolist()


def test_images_of_another_kind_are_novel(fit: Fit, described: ImageSet, tmp_path: Path) -> None:
    short = FineTuning(backbone_lr=3e-3, head_lr=1e-2, epochs=4, min_steps=20)
    model = fit("digit", tmp_path / "m", finetuning=short, label_fraction=0.5)
    test = described.take(described.rows("test")[:200])
    usual = selfsight.predict(model, test)
    assert usual.novel.mean() < 0.05
    rates = {}
    for name, pixels in {
        "noise": np.random.default_rng(0).integers(0, 256, test.pixels.shape, dtype=np.uint8),
        "inverted": 255 - test.pixels,
        "brighter": (test.pixels // 2 + 127).astype(np.uint8),
    }.items():
        rates[name] = selfsight.predict(model, test.changed(pixels=pixels)).novel.mean()
    assert min(rates.values()) > 0.25, rates


def test_pixels_that_are_not_finite_are_empty(described: ImageSet, tmp_path: Path) -> None:
    pixels = (described.pixels / 255).astype(np.float32)
    images = replace(described, pixels=pixels)
    run = selfsight.pretrain("simclr", images, out=tmp_path / "run", epochs=1, batch_size=64)
    selfsight.finetune(
        run, images, out=tmp_path / "m", target="digit", head_only="linear", label_fraction=0.1
    )
    pixels = pixels[:5].copy()
    pixels[2, 0, 0] = np.nan
    few = replace(images.take(np.arange(5)), pixels=pixels)
    out = selfsight.predict(tmp_path / "m", few, out=tmp_path / "p.parquet")
    table = pq.read_table(out)
    assert table["predicted"].is_null().to_pylist() == [False, False, True, False, False]
    assert table["p_3"].null_count == 1
    assert table["distance"].null_count == table["novel"].null_count == 1


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".npz", ".npy"])
def test_representations_are_the_backbones(
    digits_run: Path,
    digits: ImageSet,
    tmp_path: Path,
    suffix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedding, "PART", 100)
    out = tmp_path / f"r{suffix}"
    few = digits.take(np.arange(250))
    assert selfsight.embed(digits_run, few, out=out) == out
    run = load_run(digits_run)
    expected = represent(run.backbone(), few, np.arange(250), run.statistics, device="cpu")
    if suffix == ".parquet":
        table = pq.read_table(out)
        ids, values = table["row_id"].to_pylist(), np.array(table["representation"].to_pylist())
    elif suffix == ".csv":
        lines = list(csv.reader(io.StringIO(out.read_text())))
        assert lines[0] == ["row_id", *[f"f{k}" for k in range(16)]]
        ids, values = [line[0] for line in lines[1:]], np.array([line[1:] for line in lines[1:]])
    elif suffix == ".npz":
        with np.load(out) as file:
            ids, values = file["row_ids"].tolist(), file["representations"]
    else:
        ids, values = np.load(tmp_path / "r.row_ids.npy").tolist(), np.load(out, mmap_mode="r")
    assert ids == few.row_ids.tolist()
    assert values.shape == (250, 16)
    torch.testing.assert_close(
        torch.tensor(np.asarray(values, np.float32)), expected, rtol=1e-5, atol=1e-6
    )


def test_a_model_embeds_too(models: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    words = [str(models["digit"]), str(photos), "--out", str(tmp_path / "r.npz")]
    assert main(["embed", *words]) == 0
    with np.load(tmp_path / "r.npz") as file:
        assert file["representations"].shape == (7, 16)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "/no/such/model", "PHOTOS", "--out", "p.csv"], "/no/such/model"),
        (["predict", "RUN", "PHOTOS", "--out", "p.csv"], "it is a run"),
        (["predict", "MODEL", "/no/images", "--out", "p.csv"], "/no/images"),
        (["predict", "MODEL", "PHOTOS", "--out", "p.xlsx"], ".parquet or .csv"),
        (["embed", "/no/such/run", "PHOTOS", "--out", "r.npz"], "/no/such/run"),
        (["embed", "RUN", "/no/images", "--out", "r.npz"], "/no/images"),
        (["embed", "RUN", "PHOTOS", "--out", "r.pkl"], ".npz or .npy"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str],
    said: str,
    models: dict[str, Path],
    photos: Path,
    digits_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"RUN": str(digits_run), "MODEL": str(models["digit"]), "PHOTOS": str(photos)}
    assert main([names.get(word, word) for word in words]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed
    assert list(tmp_path.iterdir()) == []


def test_a_failed_prediction_leaves_no_file(
    models: dict[str, Path], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "PART", 3)
    plain = Predictor.features

    def fails(self: Predictor, images: ImageSet, rows: np.ndarray, **more: object) -> torch.Tensor:
        if rows[0] > 0:
            raise RuntimeError("stopped")
        return plain(self, images, rows)

    monkeypatch.setattr(Predictor, "features", fails)
    old = '"row_id","f0"\n"a",1\n'  # as an earlier command wrote it
    (tmp_path / "p.csv").write_text(old)
    with pytest.raises(RuntimeError, match="stopped"):
        selfsight.predict(models["digit"], photos, out=tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text() == old
    assert len(list(tmp_path.iterdir())) == 1
