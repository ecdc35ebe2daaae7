"""Pixels of any type as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfsight.data.pixels.display import LARGEST, displayed, write_pictures


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (2, 1), (3, 3), (7, 3)])
def test_bytes_stay_as_they_are(channels: int, shown: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, channels), np.uint8)
    np.testing.assert_array_equal(displayed(pixels), pixels[..., :shown])


def test_other_types_are_stretched() -> None:
    ramp = np.linspace(-3.0, 7.0, 64, dtype=np.float32).reshape(1, 8, 8, 1)
    made = displayed(ramp, (-3.0, 7.0))
    np.testing.assert_allclose(made.ravel(), np.linspace(0, 255, 64), atol=0.51)
    each = displayed(np.concatenate([ramp, 100 * ramp]))
    np.testing.assert_array_equal(each[0], each[1])  # by its own percentiles
    assert each.min() == 0 and each.max() == 255
    flat = displayed(np.full((1, 4, 4, 1), np.nan, np.float32))
    assert (flat == flat[0, 0, 0, 0]).all()


def test_pictures_are_kept_by_row_and_stay_small(tmp_path: Path) -> None:
    pixels = np.zeros((3, 400, 200, 3), np.uint16)
    pixels[2] = 1000
    write_pictures(tmp_path / "p.npz", pixels, [2, 0], (0.0, 1000.0))
    found = np.load(tmp_path / "p.npz")
    assert found["rows"].tolist() == [2, 0]
    assert found["images"].shape == (2, LARGEST, LARGEST // 2, 3)
    assert found["images"][0].min() == 255 and found["images"][1].max() == 0
    write_pictures(tmp_path / "none.npz", pixels, [])
    assert np.load(tmp_path / "none.npz")["images"].shape[0] == 0
