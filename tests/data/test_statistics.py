"""Channel statistics in unit scale, for every type of pixel."""

from __future__ import annotations

import numpy as np
import pytest

from selfsight.data import statistics
from selfsight.data.imageset import ImageSet
from selfsight.data.statistics import channel_statistics


def image_set(pixels: np.ndarray) -> ImageSet:
    ids = np.array([f"made#{i}" for i in range(len(pixels))])
    return ImageSet("made", pixels, ids, np.full(len(pixels), "train"))


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_equals_numpy_over_many_chunks(
    dtype: str, top: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "CHUNK_BYTES", 10_000)
    random = np.random.default_rng(0)
    pixels = (random.random((50, 6, 7, 4)) * [1, 0.5, 0.1, 0.9] * top).astype(dtype)
    rows = np.arange(3, 47)
    found = channel_statistics(image_set(pixels), rows)
    unit = pixels[rows].astype(np.float64) / top
    np.testing.assert_allclose(found.mean, unit.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.std, unit.std(axis=(0, 1, 2)), rtol=1e-9)


def test_a_large_offset_does_not_cancel() -> None:
    pixels = (1e4 + np.random.default_rng(0).normal(size=(40, 8, 8, 1))).astype(np.float32)
    found = channel_statistics(image_set(pixels), np.arange(40))
    assert found.std[0] == pytest.approx(pixels.astype(np.float64).std(), rel=1e-9)


def test_constant_channels_are_kept_away_from_zero() -> None:
    grey = channel_statistics(image_set(np.full((3, 4, 4, 1), 9, np.uint8)), np.arange(3))
    assert grey.std == (1 / 255,)
    real = channel_statistics(image_set(np.full((3, 4, 4, 1), 0.3, np.float32)), np.arange(3))
    assert real.std == (1.0,)


def test_bad_input_is_named() -> None:
    pixels = np.ones((2, 4, 4, 1), np.float32)
    with pytest.raises(ValueError, match="made: there are no images"):
        channel_statistics(image_set(pixels), np.arange(0))
    pixels[0, 0, 0, 0] = np.nan
    first = (
        "made: 1 image has pixels that are NaN or infinite, the first is made#0; --nodata nan fills"
    )
    with pytest.raises(ValueError, match=first):
        channel_statistics(image_set(pixels), np.arange(2))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_images_that_are_not_finite_are_counted(
    value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "CHUNK_BYTES", 1)  # an image at a time
    pixels = np.ones((9, 4, 4, 2), np.float32)
    pixels[[4, 7, 8], 1, 2, 1] = value
    with pytest.raises(ValueError, match=r"made: 3 images have .*, the first is made#4;"):
        channel_statistics(image_set(pixels), np.arange(9))
    channel_statistics(image_set(pixels), np.array([0, 1, 2, 3, 5, 6]))
