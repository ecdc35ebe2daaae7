"""Folders: formats, modes, sizes, splits, damaged files, and the sentences for bad input."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfsight.data import request
from selfsight.data.options import DataOptions
from selfsight.data.request import open_images
from selfsight.data.sources.steps import listing


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, values: np.ndarray, mode: str | None = None, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def classes(root: Path, count: int = 10, size: int = 16) -> Path:
    for kind in ("cat", "dog"):
        for i in range(count):
            save(root / kind / f"{i}.png", noise(size, size, seed=i + 100 * (kind == "dog")))
    return root


def notes(images: object) -> str:
    return " ".join(images.notes)  # type: ignore[attr-defined]


def test_class_folders(tmp_path: Path) -> None:
    images = open_images(classes(tmp_path / "pets"))
    assert images.name == "pets"
    assert images.pixels.shape == (20, 16, 16, 3)
    assert images.pixels.dtype == np.uint8
    assert images.targets["class"].names == ("cat", "dog")
    assert images.row_ids[0] == "cat/0.png"
    assert (images.targets["class"].values == [0] * 10 + [1] * 10).all()
    assert len(images.rows("test")) == 4
    assert len(images.rows("validation")) == 2
    assert (images.pixels[3] == noise(16, 16, seed=3)).all()


@pytest.mark.parametrize("word", ["validation", "val", "valid"])
def test_split_folders(tmp_path: Path, word: str) -> None:
    for split in ("train", word, "test"):
        classes(tmp_path / split, 3)
    save(tmp_path / "unlabelled" / "x.png", noise(16, 16))
    images = open_images(tmp_path)
    sizes = {split: len(images.rows(split)) for split in set(images.splits)}
    assert sizes == {"train": 6, "validation": 6, "test": 6, "unlabelled": 1}
    assert images.targets["class"].values[images.rows("unlabelled")] == -1
    assert "train/cat/0.png" in images.row_ids


def test_unlabelled_train_beside_a_labelled_test(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / "train" / f"{i}.png", noise(8, 8, seed=i))
    classes(tmp_path / "test", 4, size=8)
    images = open_images(tmp_path)
    assert len(images.pool) == 10
    assert len(images.rows("test")) == 8
    assert images.targets["class"].known.sum() == 8


def test_flat_folder_is_unlabelled(tmp_path: Path) -> None:
    for i in range(20):
        save(tmp_path / f"{i:02}.png", noise(8, 8, seed=i))
    images = open_images(tmp_path)
    assert images.targets == {}
    assert len(images.rows("test")) == 4
    assert len(images.rows("validation")) == 2
    assert len(images.rows("unlabelled")) == 14
    assert "No labels" in notes(images)


def test_a_class_called_test_is_a_class(tmp_path: Path) -> None:
    for kind in ("exam", "test", "other"):
        save(tmp_path / kind / "a.png", noise(8, 8))
    assert set(open_images(tmp_path).targets["class"].names) == {"exam", "test", "other"}


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "tiff", "tif", "bmp"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    smooth = np.linspace(0, 255, 32)[:, None, None] * np.ones((1, 32, 3))
    for i in range(3):
        save(tmp_path / f"{i}.{suffix.upper() if i else suffix}", smooth.astype(np.uint8))
    images = open_images(tmp_path, max_unreadable=0.0)
    assert images.pixels.shape == (3, 32, 32, 1)
    assert "stored in colour but is grey" in notes(images)
    assert np.abs(images.pixels[0, :, :, 0] - smooth[:, :, 0]).max() < 12


def test_modes_become_rgb(tmp_path: Path) -> None:
    values = noise(16, 16)
    save(tmp_path / "rgb.png", values)
    save(tmp_path / "palette.png", values, "P")
    save(tmp_path / "cmyk.jpg", values, "CMYK")
    save(tmp_path / "grey.png", noise(16, 16, 1))
    save(tmp_path / "bits.png", noise(16, 16, 1), "1")
    clear = np.dstack([values, np.full((16, 16), 255, np.uint8)])
    clear[:8, :, 3] = 0
    save(tmp_path / "rgba.png", clear)
    deep = noise(16, 16, 1).astype(np.uint16) * 257
    save(tmp_path / "deep.png", deep)
    images = open_images(tmp_path)
    assert images.pixels.shape == (7, 16, 16, 3)
    by_name = dict(zip(images.row_ids, images.pixels, strict=True))
    assert (by_name["rgb.png"] == values).all()
    assert (by_name["rgba.png"][:8] == 255).all()
    assert (by_name["rgba.png"][8:] == values[8:]).all()
    assert (by_name["grey.png"] == noise(16, 16, 1)[..., None]).all()
    assert (by_name["deep.png"] == noise(16, 16, 1)[..., None]).all()
    assert "3 grey images among coloured ones" in notes(images)


def test_one_coloured_image_late_in_a_grey_set_keeps_all_three_channels(tmp_path: Path) -> None:
    grey = np.repeat(noise(8, 8, 1)[..., None], 3, axis=2)
    for i in range(200):
        save(tmp_path / f"{i:03}.png", noise(8, 8) if i == 101 else grey)
    images = open_images(tmp_path)
    assert images.channels == 3
    assert (images.pixels[101] == noise(8, 8)).all()


def test_sixteen_bits_stay_sixteen(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (16, 16), dtype=np.uint16)
    save(tmp_path / "a.png", deep)
    save(tmp_path / "b.tiff", deep)
    save(tmp_path / "c.png", noise(16, 16, 1))
    images = open_images(tmp_path)
    assert images.pixels.dtype == np.uint16
    assert (images.pixels[0, :, :, 0] == deep).all()
    assert (images.pixels[1, :, :, 0] == deep).all()
    assert (images.pixels[2, :, :, 0] == noise(16, 16, 1).astype(np.uint16) * 257).all()
    assert "widened to 16 bits" in notes(images)
    small = open_images(tmp_path, image_size=8)
    assert small.pixels.shape == (3, 8, 8, 1)
    assert small.pixels[0].mean() == pytest.approx(deep.mean(), rel=0.05)


def test_float_tiff_keeps_its_values(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    save(tmp_path / "a.tiff", values)
    images = open_images(tmp_path)
    assert images.pixels.dtype == np.float32
    assert (images.pixels[0, :, :, 0] == values).all()


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    values = np.zeros((16, 32), np.uint8)
    values[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise: the left half comes up
    for i in range(2):
        save(tmp_path / f"{i}.jpg", values, exif=exif)
    images = open_images(tmp_path)
    assert images.pixels.shape == (2, 32, 16, 1)
    assert images.pixels[0, :14].min() > 240
    assert images.pixels[0, 18:].max() < 15


def test_many_sizes_come_to_one(tmp_path: Path) -> None:
    for i, (height, width) in enumerate([(40, 60), (50, 44), (41, 41), (300, 200)]):
        save(tmp_path / f"{i}.png", noise(height, width))
    images = open_images(tmp_path)
    assert images.pixels.shape == (4, 40, 40, 3)
    assert "4 sizes (40x41 to 300x200)" in notes(images)
    assert "centre-cropped to 40x40" in notes(images)
    assert open_images(tmp_path, image_size=24).pixels.shape == (4, 24, 24, 3)


def test_the_crop_is_central_and_resizing_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((64, 128), np.uint8)
    stripes[:, ::2] = 255
    stripes[:, :30] = 0
    save(tmp_path / "a.png", stripes)
    pixels = open_images(tmp_path, image_size=16).pixels[0, :, :, 0]
    assert np.abs(pixels[:, 2:-2].astype(int) - 127).max() < 12


def test_large_images_of_one_size_are_capped(tmp_path: Path) -> None:
    save(tmp_path / "a.png", noise(400, 300))
    assert open_images(tmp_path).pixels.shape == (1, 224, 224, 3)


def bomb(path: Path) -> None:
    """A PNG header that promises 60,000 x 60,000 pixels."""

    def part(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"\0" * 1000)) + part(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_damaged_files_are_counted_named_and_skipped(tmp_path: Path) -> None:
    classes(tmp_path, 50)
    whole = (tmp_path / "cat" / "0.png").read_bytes()
    (tmp_path / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cat" / "empty.png").write_bytes(b"")
    (tmp_path / "cat" / "text.jpg").write_text("no image")
    (tmp_path / "cat" / "script.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9")
    bomb(tmp_path / "dog" / "bomb.png")
    (tmp_path / "dog" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "dog" / "README.txt").write_text("about")
    (tmp_path / "dog" / ".hidden.png").write_text("hidden")
    images = open_images(tmp_path, max_unreadable=0.06)
    assert len(images) == 100
    said = notes(images)
    assert "6 unreadable images were skipped: cat/cut.png" in said
    assert "and 3 more" in said
    assert "1 file that is no image was" in said
    with pytest.raises(ValueError, match=r"6 of 106 images cannot be read.*first is cat/cut.png"):
        open_images(tmp_path, max_unreadable=0.05)
    reasons = open_images(tmp_path / "dog", max_unreadable=0.1)
    assert "decompression bomb" in notes(reasons)
    assert len(reasons.targets) == 0


def test_limit_draws_from_the_pool_and_leaves_the_rest(tmp_path: Path) -> None:
    classes(tmp_path, 50)
    whole = open_images(tmp_path)
    some = open_images(tmp_path, limit=20)
    assert len(some.pool) == 20
    for split in ("validation", "test"):
        assert set(some.row_ids[some.rows(split)]) == set(whole.row_ids[whole.rows(split)])
    assert set(some.row_ids[some.pool]) < set(whole.row_ids[whole.pool])
    again = open_images(tmp_path, limit=20)
    assert (some.row_ids == again.row_ids).all()
    assert some.fingerprint() == again.fingerprint()
    assert len(open_images(tmp_path, limit=10_000)) == 100


def test_like_brings_a_pool_to_the_same_form(tmp_path: Path) -> None:
    images = open_images(classes(tmp_path / "a", 4))
    for i in range(3):
        save(tmp_path / "b" / f"{i}.png", noise(40, 30, 1, seed=i))
    pool = request.open(DataOptions(), tmp_path / "b", scale=images.scale)
    assert pool.pixels.shape == (3, 16, 16, 3)
    assert "made 3" in notes(pool)


def test_no_file_is_written_and_links_in_a_circle_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("SELFSIGHT_CACHE", str(cache))
    classes(tmp_path / "data", 3)
    (tmp_path / "data" / "cat" / "round").symlink_to(tmp_path / "data")
    before = sorted(tmp_path.rglob("*"))
    assert len(open_images(tmp_path / "data")) == 6
    assert sorted(tmp_path.rglob("*")) == before


def test_sentences_for_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: there is no such file or folder"):
        open_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"there are no images .* in it"):
        open_images(tmp_path / "empty")
    (tmp_path / "empty" / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="there are 1 other files"):
        open_images(tmp_path / "empty")
    (tmp_path / "some.xyz").write_text("x")
    with pytest.raises(ValueError, match=r"some.xyz: its format is not known"):
        open_images(tmp_path / "some.xyz")
    one = save(tmp_path / "tiny" / "a.png", noise(2, 2))
    with pytest.raises(ValueError, match=r"2x2 pixels are too small"):
        open_images(one.parent)
    with pytest.raises(ValueError, match=r"a.png is one image; give the folder"):
        open_images(one)
    root = classes(tmp_path / "pets", 2)
    with pytest.raises(ValueError, match="did you mean 'class'"):
        open_images(root, target="clas")
    with pytest.raises(ValueError, match="group 'patient': a folder of images has no columns"):
        open_images(root, group="patient")
    with pytest.raises(ValueError, match=r"limit: must be at least 1"):
        open_images(root, limit=0)
    with pytest.raises(ValueError, match=r"image_size: must be at least 4"):
        open_images(root, image_size=1)
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the 4 images can be read; .* \(an empty file\)"):
        open_images(root)


def test_a_sample_is_looked_at_first_in_a_large_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_SCANNED", 20)
    monkeypatch.setattr(listing, "SAMPLE", 5)
    for i in range(40):
        save(tmp_path / f"{i:02}.png", noise(16, 16, 1, seed=i))
    assert open_images(tmp_path).pixels.shape == (40, 16, 16, 1)
    (tmp_path / "07.png").write_bytes(b"")
    save(tmp_path / "11.png", noise(16, 16))
    images = open_images(tmp_path)
    assert images.pixels.shape == (39, 16, 16, 3)
    assert "07.png (an empty file)" in notes(images)
    assert (images.pixels[10] == noise(16, 16)).all()
