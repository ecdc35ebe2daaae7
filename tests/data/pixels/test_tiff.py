"""TIFF images of many channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfsight.data.request import open_images

tifffile = pytest.importorskip("tifffile")
RANDOM = np.random.default_rng(0)


def write(path: Path, values: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, **options)


@pytest.mark.parametrize("planar", ["pages", "samples"])
def test_thirteen_bands_of_sixteen_bits(tmp_path: Path, planar: str) -> None:
    pixels = RANDOM.integers(0, 10_000, (12, 13, 20, 20), dtype=np.uint16)
    for i, values in enumerate(pixels):
        path = tmp_path / ("field", "forest")[i % 2] / f"{i:02}.tif"
        if planar == "pages":
            write(path, values, photometric="minisblack")
        else:
            write(path, values.transpose(1, 2, 0), photometric="minisblack", planarconfig="contig")
    images = open_images(tmp_path)
    assert images.pixels.shape == (12, 20, 20, 13)
    assert images.pixels.dtype == np.uint16
    place = images.row_ids.tolist().index("forest/05.tif")
    assert (images.pixels[place] == pixels[5].transpose(1, 2, 0)).all()
    assert "13 channels, uint16" in " ".join(images.notes)
    assert open_images(tmp_path, image_size=10).pixels.shape == (12, 10, 10, 13)


def test_float_bands_and_deep_colour_keep_their_values(tmp_path: Path) -> None:
    values = RANDOM.normal(size=(5, 8, 8))
    write(tmp_path / "a" / "x.tif", values, photometric="minisblack")
    images = open_images(tmp_path / "a")
    assert images.pixels.dtype == np.float32
    assert (images.pixels[0] == values.transpose(1, 2, 0).astype(np.float32)).all()
    deep = RANDOM.integers(0, 65536, (8, 8, 3), dtype=np.uint16)
    write(tmp_path / "b" / "x.tif", deep, photometric="rgb")
    images = open_images(tmp_path / "b")
    assert (images.pixels[0] == deep).all()


def test_another_number_of_channels_is_named_and_skipped(tmp_path: Path) -> None:
    for i in range(20):
        channels = 4 if i == 7 else 5
        values = RANDOM.integers(0, 99, (channels, 8, 8), dtype=np.uint16)
        write(tmp_path / f"{i:02}.tif", values, photometric="minisblack")
    images = open_images(tmp_path, max_unreadable=0.05)
    assert len(images) == 19
    assert "07.tif (4 channels of uint16, where most have 5 of uint16)" in " ".join(images.notes)


def test_plain_tiff_still_goes_through_pillow(tmp_path: Path) -> None:
    write(tmp_path / "x.tif", RANDOM.integers(0, 256, (8, 8, 3), dtype=np.uint8), photometric="rgb")
    assert open_images(tmp_path).pixels.shape == (1, 8, 8, 3)
