"""The value scale belongs to the run; one set has one scale; pictures are upright."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from selfsight.data import request
from selfsight.data.imageset import ImageSet
from selfsight.data.options import DataOptions
from selfsight.data.pool import open_pool
from selfsight.data.request import open_images

from .brought import (
    PLAIN,
    WRITE,
    folder_of,
    picture,
    png16,
    ramp,
    tiff,
)


def opened(path: Path, first: ImageSet | None = None, **options: Any) -> ImageSet:
    """Images by the one door, in the scale of others that a run was trained on."""
    settings = DataOptions.model_validate({**PLAIN, "allow_leaks": True, **options})
    return request.open(settings, path, scale=None if first is None else first.scale)


@pytest.mark.parametrize("container", ["npy", "HDF5", "TIFF", "TIFF in Parquet"])
@pytest.mark.parametrize("dtype", ["int32", "uint16", "int16", "float32"])
def test_a_dim_image_is_dim(tmp_path: Path, container: str, dtype: str) -> None:
    bright, dim = ramp(0, 3000, dtype), ramp(0, 171, dtype)
    for name in ("bright", "dim", "both"):
        (tmp_path / name).mkdir()
    first = opened(WRITE[container](tmp_path / "bright", bright))
    alone = opened(WRITE[container](tmp_path / "dim", dim), first)
    both = opened(WRITE[container](tmp_path / "both", np.concatenate([dim, bright])), first)
    np.testing.assert_array_equal(alone.pixels[..., 0], dim.astype(first.pixels.dtype))
    np.testing.assert_array_equal(both.pixels[:4], alone.pixels)
    assert alone.scale.form == first.scale.form


@pytest.mark.parametrize("container", ["npy", "HDF5"])
def test_bytes_and_floats_meet_by_a_declared_range(tmp_path: Path, container: str) -> None:
    write = WRITE[container]
    for name in "abc":
        (tmp_path / name).mkdir()
    bytes_ = ramp(0, 255, "uint8")
    of_bytes = write(tmp_path / "a", bytes_)
    of_floats = write(tmp_path / "b", bytes_.astype("float32"))
    of_units = write(tmp_path / "c", bytes_.astype("float32") / 255)
    run = opened(of_bytes)
    with pytest.raises(ValueError, match=r"float32 of no declared range.*--value-range LO HI"):
        opened(of_floats, run)
    for path, span in ((of_floats, (0, 255)), (of_units, (0, 1))):
        there = opened(path, run, value_range=span)
        np.testing.assert_array_equal(there.pixels, run.pixels)
        assert there.pixels.dtype == np.uint8
    floats = opened(of_floats)
    with pytest.raises(ValueError, match="uint8 of 8 bits"):
        opened(of_bytes, floats)
    back = opened(of_bytes, floats, value_range=(0, 255))
    np.testing.assert_allclose(back.pixels, floats.pixels, atol=1e-4)


@pytest.mark.parametrize("container", ["npy", "PNG", "PNG in Parquet"])
def test_12_bits_in_16_and_bytes_meet_by_bits(tmp_path: Path, container: str) -> None:
    (tmp_path / "a").mkdir()
    deep = ramp(0, 4095, "uint16")
    run = opened(WRITE[container](tmp_path / "a", deep), bits=12)
    assert (run.value_scale.bits, run.value_scale.high) == (12, 4095)
    np.save(tmp_path / "bytes.npy", np.round(deep / 4095 * 255).astype("uint8"))
    bytes_ = opened(tmp_path / "bytes.npy", run)
    assert np.abs(bytes_.pixels.astype(int) - run.pixels.astype(int)).max() <= 9
    names = {"npy": "a.npy", "PNG": "set", "PNG in Parquet": "a.parquet"}
    undeclared = opened(tmp_path / "a" / names[container])
    with pytest.raises(ValueError, match="--bits N"):
        opened(tmp_path / "bytes.npy", undeclared)


def test_declared_bits_of_a_png_are_taken(tmp_path: Path) -> None:
    values = ramp(0, 4095, "uint16")
    (tmp_path / "set").mkdir()
    for i, image in enumerate(values):
        (tmp_path / "set" / f"{i}.png").write_bytes(png16(image, bits=12))
    assert open_images(tmp_path / "set").value_scale.bits == 12


def test_a_pool_of_another_type_is_converted_or_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "floats.npy", ramp(0, 255, "float32"))
    floats = opened(tmp_path / "floats.npy")
    folder_of(tmp_path / "pool", 4)
    with pytest.raises(ValueError, match="--value-range"):
        open_pool(DataOptions(), str(tmp_path / "pool"), floats)
    pool = open_pool(DataOptions(value_range=(0, 255)), str(tmp_path / "pool"), floats)
    assert 200 < pool.images.pixels.max() <= 255


def test_one_folder_of_several_types_has_one_scale(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    bytes_ = (picture(0, channels=1) // 2 + 120).astype(np.uint8)
    deep = bytes_.astype(np.uint16) * 257
    Image.fromarray(bytes_).save(folder / "0.png")
    (folder / "1.png").write_bytes(png16(deep))
    images = open_images(folder, **PLAIN)
    np.testing.assert_array_equal(images.pixels[0], images.pixels[1])
    tiff(folder / "2.tif", bytes_.astype(np.float32) / 255)
    with pytest.raises(ValueError, match=r"no declared range, and .* has .*--value-range LO HI"):
        open_images(folder, **PLAIN, max_unreadable=0)
    images = open_images(folder, **PLAIN, value_range=(0, 1), bits=16)
    assert np.abs(np.diff(np.asarray(images.pixels, np.float64), axis=0)).max() <= (
        0.01 * images.pixels.max()
    )


def test_dim_16_bits_beside_8_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    Image.fromarray(picture(0, channels=1)).save(folder / "0.png")
    (folder / "1.png").write_bytes(png16(ramp(0, 4095, "uint16")[0]))
    with pytest.raises(ValueError, match=r"0\.png has 8 bits, and 1\.png .*--bits 12 or"):
        open_images(folder, **PLAIN)
    np.testing.assert_allclose(open_images(folder, **PLAIN, bits=12).pixels.max(), 4095, atol=20)


@pytest.mark.parametrize("kind", ["jpg", "tif", "png", "webp"])
@pytest.mark.parametrize("container", ["folder", "parquet"])
def test_portraits_are_upright(tmp_path: Path, kind: str, container: str) -> None:
    """Orientation 6: the stored picture is 30 wide and 20 high, the upright one 20 by 30."""
    stored = np.zeros((20, 30, 3), np.uint8)
    stored[:10, :15] = 250  # at the top left as stored: at the top right when upright
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    options = {"lossless": True} if kind == "webp" else {"quality": 95} if kind == "jpg" else {}
    names = {"jpg": "jpeg", "tif": "tiff"}
    Image.fromarray(stored).save(buffer, names.get(kind, kind), exif=exif, **options)
    if container == "folder":
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / f"a.{kind}").write_bytes(buffer.getvalue())
        path = tmp_path / "set"
    else:
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({"image": [buffer.getvalue()]}), path)
    images = open_images(path, **PLAIN)
    assert images.pixels.shape[1:3] == (30, 20)
    corners = images.pixels[0, [2, 2, -3, -3], [2, -3, 2, -3]].mean(axis=-1)
    assert (corners > 128).tolist() == [False, True, False, False]
