"""Test images that nearly equal train images stop a verb, in the data and in further pools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfsight.data import request
from selfsight.data.audit import AuditData, audit_data
from selfsight.data.near_groups import name_stems
from selfsight.data.options import DataOptions
from selfsight.data.pool import open_pool
from selfsight.data.request import open_images


def textures(count: int, side: int = 32, seed: int = 0) -> np.ndarray:
    """``(count, side, side)`` uint8 with the 1/f spectrum of photographs."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)) + 1 / side
    values = np.fft.ifft2(np.fft.fft2(random.normal(size=(count, side, side))) / frequency).real
    low, high = values.min((1, 2), keepdims=True), values.max((1, 2), keepdims=True)
    return ((values - low) / (high - low) * 255).astype(np.uint8)


def write(path: Path, train: np.ndarray, test: np.ndarray) -> Path:
    labels = {"train_labels": np.arange(len(train)) % 2, "test_labels": np.arange(len(test)) % 2}
    np.savez(path, train_images=train, test_images=test, **labels)
    return path


@pytest.fixture
def mirrored(tmp_path: Path) -> Path:
    """Eighty train images; eight of the forty test images are mirrored ones of them."""
    x = textures(112)
    test = np.concatenate([x[80:], x[:8, :, ::-1]])
    return write(tmp_path / "mirrored.npz", x[:80], test)


def test_a_mirrored_test_set_stops_every_verb(mirrored: Path) -> None:
    said = r"^mirrored: 8 of the 40 test images have a near-duplicate in train .*--drop-near.*near"
    with pytest.raises(ValueError, match=said):
        request.open(DataOptions(validation=0), str(mirrored))
    with pytest.raises(ValueError, match="A cluster of near-duplicates is in train"):
        request.open(DataOptions(group="near", validation=0), str(mirrored))
    dropped = request.open(DataOptions(drop_near=True, validation=0), str(mirrored))
    assert len(dropped) == 112 and len(dropped.rows("test")) == 40
    allowed = request.open(DataOptions(allow_near=True, validation=0), str(mirrored))
    assert len(allowed) == 120
    (leak,) = allowed.leaks
    assert leak.startswith("8 of the 40 test images have a near-duplicate in train")


def test_opening_from_python_looks_for_them_where_it_is_asked(mirrored: Path) -> None:
    """``drop_near`` and ``allow_near`` act as in the verbs; without them the verb looks."""
    dropped = open_images(mirrored, drop_near=True, validation=0)
    assert len(dropped) == 112 and len(dropped.rows("test")) == 40
    assert any("8 train images that nearly equal a test image" in n for n in dropped.notes)
    allowed = open_images(mirrored, allow_near=True, validation=0)
    assert len(allowed) == 120
    assert allowed.leaks[0].startswith("8 of the 40 test images have a near-duplicate in train")
    plain = open_images(mirrored, validation=0)
    assert len(plain) == 120 and not plain.leaks
    # A set that nobody has searched is searched by a verb of the very same settings.
    with pytest.raises(ValueError, match="8 of the 40 test images have a near-duplicate"):
        request.open(DataOptions(allow_leaks=True, validation=0), plain)
    with pytest.raises(ValueError, match=r"^drop_near: near-duplicates are .*leave decode=False"):
        rng = np.random.default_rng(0)
        folder = mirrored.parent / "folder"
        folder.mkdir()
        for row in range(6):
            image = rng.integers(0, 255, (32, 32), dtype=np.uint8)
            Image.fromarray(image).save(folder / f"{row}.png")
        open_images(folder, drop_near=True, decode=False)


def test_a_few_are_a_caution(tmp_path: Path) -> None:
    x = textures(420)
    path = write(tmp_path / "few.npz", x[:180], np.concatenate([x[180:], x[:2, ::-1]]))
    images = request.open(DataOptions(), str(path))
    (caution,) = images.cautions
    assert "2 of the 242 test images have a near-duplicate in train" in caution


def test_the_audit_counts_them(mirrored: Path, tmp_path: Path) -> None:
    audited = audit_data(AuditData(data=str(mirrored), validation=0, out=str(tmp_path / "audit")))
    assert audited.exit_code == 1 and audited.audit.near_test == 8
    sentence = "8 of the 40 test images have a near-duplicate in train."
    page = audited.page.read_text()
    assert sentence in str(audited) and sentence in page
    assert "Nothing crosses the splits" not in page


def test_pools_are_checked_likewise(mirrored: Path, tmp_path: Path) -> None:
    images = request.open(DataOptions(drop_near=True, validation=0), str(mirrored))
    test = np.asarray(images.pixels[images.rows("test"), :, :, 0])
    np.save(tmp_path / "pool.npy", np.concatenate([textures(30, seed=9), test[:5, ::-1]]))
    source = str(tmp_path / "pool.npy")
    with pytest.raises(ValueError, match="pool pool: 5 of 40 test images of mirrored have a"):
        open_pool(DataOptions(), source, images)
    pool = open_pool(DataOptions(drop_near=True), source, images)
    assert pool.left_out == 5 and len(pool.rows) == 30
    allowed = open_pool(DataOptions(allow_near=True), source, images)
    assert len(allowed.rows) == 35 and len(allowed.leaks) == 1


def test_near_groups_are_never_cut(tmp_path: Path) -> None:
    """Three exposures of each picture, without a column that says so."""
    x = textures(60)
    shots = np.stack([x, (x * 0.8).astype(np.uint8), x[:, :, ::-1]], 1)
    np.savez(tmp_path / "shots.npz", images=shots.reshape(-1, 32, 32), labels=np.arange(180) % 2)
    with pytest.raises(ValueError, match="near-duplicate in train"):
        request.open(DataOptions(), str(tmp_path / "shots.npz"))
    images = request.open(DataOptions(group="near"), str(tmp_path / "shots.npz"))
    assert images.group_name == "cluster of near-duplicates" and images.groups is not None
    assert len(np.unique(images.groups)) == 60 and len(images.rows("test")) > 20
    split = images.splits.reshape(60, 3)
    assert (split == split[:, :1]).all()


def test_name_stems_join_groups_where_they_tell_some(tmp_path: Path) -> None:
    assert name_stems(["a/exp3_num_12.png", "b-7.jpg", "12.png"]) == ["a/exp3_num", "b", ""]
    x = textures(60)
    for i, values in enumerate(x):
        Image.fromarray(values).save(tmp_path / f"exp{'abcdefghijklmno'[i // 4]}_{i}.png")
    images = request.open(DataOptions(group="near"), str(tmp_path))
    assert images.groups is not None and len(np.unique(images.groups)) == 15
    for i in range(60):
        Image.fromarray(x[0]).save(tmp_path / f"same_{i}.png")
    with pytest.raises(ValueError, match=r"^group near: one cluster holds 6\d of the 120 images"):
        request.open(DataOptions(group="near"), str(tmp_path))


def test_runs_of_similar_frames_are_hinted_at(tmp_path: Path) -> None:
    x = textures(10)
    for i in range(10):
        for frame in range(4):
            moved = np.roll(x[i], frame * 6, axis=1) // 8 + i * 20
            Image.fromarray(moved.astype(np.uint8)).save(
                tmp_path / f"run{'abcdefghij'[i]}_{frame}.png"
            )
    images = request.open(DataOptions(test=0.0), str(tmp_path))
    assert any("File names show runs of similar images" in note for note in images.notes)
