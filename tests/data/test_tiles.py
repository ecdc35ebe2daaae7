"""Tiles cover their images, inherit what is known, never part, and are pooled for each image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from selfsight.cli import main
from selfsight.data.request import open_images


def gradient(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def coils(root: Path, count: int = 30) -> Path:
    """Noise of 40 x 70 pixels; every second image has a bright defect of 10 pixels somewhere."""
    for i in range(count):
        image = gradient(40, 70, i) // 3
        if i % 2:
            random = np.random.default_rng(1000 + i)
            top, left = random.integers(0, 30), random.integers(0, 60)
            image[top : top + 10, left : left + 10] = 255
        path = root / ("defect" if i % 2 else "good") / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return root


def test_tiles_cover_each_image_at_its_resolution(tmp_path: Path) -> None:
    sides = {"a.png": (64, 96), "b.png": (50, 32), "c.png": (20, 30)}
    for seed, (name, (height, width)) in enumerate(sides.items()):
        Image.fromarray(gradient(height, width, seed)).save(tmp_path / name)
    images = open_images(tmp_path, tile=32, validation=0)
    assert images.tile_of is not None
    assert images.tile_of.tolist() == ["a.png"] * 6 + ["b.png"] * 2 + ["c.png"] * 2
    assert images.row_ids.tolist()[:3] == ["a.png@0,0", "a.png@0,32", "a.png@0,64"]
    assert images.row_ids.tolist()[6:8] == ["b.png@0,0", "b.png@18,0"]
    whole = gradient(64, 96, 0)
    for row, name in enumerate(images.row_ids.tolist()[:6]):
        top, left = map(int, name.partition("@")[2].split(","))
        assert (images.pixels[row] == whole[top : top + 32, left : left + 32]).all()
    told = " ".join(images.notes)
    assert "3 images are cut into 10 tiles of 32x32 pixels" in told
    assert "1 image smaller than a tile is scaled up" in told
    assert open_images(tmp_path, tile=32, image_size=16).pixels.shape == (10, 16, 16, 3)


def test_tiles_inherit_and_never_part(tmp_path: Path) -> None:
    images = open_images(coils(tmp_path / "coils"), tile=20)
    assert len(images) == 30 * 8
    assert images.tile_of is not None
    assert images.groups is not None
    for name in np.unique(images.tile_of):
        rows = images.tile_of == name
        assert len(set(images.splits[rows])) == 1
        assert len(set(images.groups[rows])) == 1
        assert len(set(images.targets["class"].values[rows])) == 1
    assert len(set(images.splits)) == 3


def test_tiles_of_arrays_and_of_a_broken_image(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal(size=(6, 40, 60, 5)).astype(np.float32)
    np.save(tmp_path / "a.npy", pixels)
    images = open_images(tmp_path / "a.npy", tile=20)
    assert images.pixels.shape == (36, 20, 20, 5)
    assert (images.pixels[7] == pixels[1, :20, 20:40]).all()
    root = coils(tmp_path / "coils")
    cut = root / "good" / "04.png"
    cut.write_bytes(cut.read_bytes()[:3000])
    kept = open_images(root, tile=20, validation=0)
    assert len(kept) == 29 * 8
    assert "good/04.png" in " ".join(kept.notes)
    (first,) = kept.rows()[:1].tolist() or (0,)
    row = kept.row_ids.tolist().index("good/06.png@0,17")
    assert (kept.pixels[row] == (gradient(40, 70, 6) // 3)[:20, 17:37]).all()
    assert first == 0


def test_a_stored_tile_set_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = coils(tmp_path / "coils")
    within = open_images(root, tile=20)
    monkeypatch.setenv("SELFSIGHT_MEMORY", "1K")
    monkeypatch.setenv("SELFSIGHT_CACHE", str(tmp_path / "cache"))
    for _ in range(2):
        stored = open_images(root, tile=20)
        assert isinstance(stored.pixels, np.memmap)
        assert stored.fingerprint() == within.fingerprint()


def test_run_with_tiles_reports_whole_images(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["run", str(coils(tmp_path / "coils", 60)), "--tile", "20", "--out", str(out)]
    words += ["--epochs", "1", "--batch-size", "32", "--backbone", "resnet20", "--device", "cpu"]
    words += ["--network.widths", "8", "16", "--network.depths", "1", "1"]
    assert main([*words, "--fractions", "1.0", "--draws", "2"]) == 0
    predictions = pq.read_table(out / "predictions.parquet").to_pylist()
    names = {row["row_id"] for row in predictions}
    assert len(names) == 12
    assert all("@" not in name for name in names)
    of_one = [row for row in predictions if row["probe"] == "linear" and row["subject"] == "pixels"]
    assert len(of_one) == 12
    results = json.loads((out / "results.json").read_text())
    counts = {r["num_labels"] for r in results["records"] if r.get("probe") == "linear"}
    assert counts == {43} or max(counts) <= 48
    assert any("cut into tiles" in note for note in results["notes"])
