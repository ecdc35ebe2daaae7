"""Pictures are what the pixels are; sheets hold each thumbnail in its place."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from selfsight.reporting.pictures import picture, sprites


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_small_pictures_are_lossless_and_crisp(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, channels), np.uint8)
    made = picture(pixels)
    assert made.crisp
    assert (made.width, made.height) == (6, 8)
    shown = decoded(made.uri)
    if channels == 1:
        np.testing.assert_array_equal(shown, pixels[..., 0])
    else:
        np.testing.assert_array_equal(shown[..., : min(channels, 3)], pixels[..., :3])


def test_large_pictures_shrink() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 800, 3), np.uint8)
    made = picture(noise, largest=160)
    assert (made.width, made.height) == (160, 80)
    assert not made.crisp
    assert len(made.uri) < 30_000


def test_sprites_stand_row_by_row() -> None:
    thumbnails = np.arange(7, dtype=np.uint8)[:, None, None, None] * 30
    thumbnails = np.broadcast_to(thumbnails, (7, 5, 4, 3))
    sheet = sprites(thumbnails)
    shown = decoded(sheet.uri)
    assert shown.shape == (sheet.rows * 5, sheet.columns * 4, 3)
    for at in range(7):
        row, column = divmod(at, sheet.columns)
        assert (shown[row * 5 : row * 5 + 5, column * 4 : column * 4 + 4] == at * 30).all()


def test_a_sheet_of_many_photographs_stays_small() -> None:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (1500, 6, 6, 3), np.uint8)
    thumbnails = coarse.repeat(8, 1).repeat(8, 2)
    noise = random.integers(0, 256, thumbnails.shape, np.uint8)
    assert len(sprites(thumbnails).uri) < 450_000
    assert len(sprites(noise).uri) < 450_000
