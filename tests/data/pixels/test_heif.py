"""HEIC photos as phones write them, read through pillow-heif."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfsight.data.request import open_images

heif = pytest.importorskip("pillow_heif", reason="selfsight[heif] is not installed")


def photo(path: Path, orientation: int = 1) -> np.ndarray:
    """Blocks of 30 x 20 pixels as stored, bright at the top left."""
    stored = np.full((20, 30, 3), 20, np.uint8)
    stored[:10, :15] = 230
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = heif.from_pillow(Image.fromarray(stored))
    picture.save(path, quality=-1, exif=exif.tobytes())
    return stored


@pytest.mark.parametrize("name", ["a.heic", "a.HEIC", "a.jpg", "noname"])
def test_a_photo_is_read_by_its_content(tmp_path: Path, name: str) -> None:
    right = photo(tmp_path / "a.heif")
    (tmp_path / "a.heif").rename(tmp_path / name)
    images = open_images(tmp_path)
    assert images.row_ids.tolist() == [name]
    assert np.abs(images.pixels[0].astype(int) - right).max() <= 4


def test_portraits_are_upright_and_turned_once(tmp_path: Path) -> None:
    photo(tmp_path / "a.heif", orientation=6)
    images = open_images(tmp_path)
    assert images.pixels.shape[1:3] == (30, 20)
    corners = images.pixels[0, [2, 2, -3, -3], [2, -3, 2, -3]].mean(axis=-1)
    assert (corners > 128).tolist() == [False, True, False, False]
