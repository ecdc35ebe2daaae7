"""Files that are damaged, lie, or attack: each is named, none stops a set, nothing gets out."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfsight.data.request import open_images


def chunk(kind: bytes, content: bytes) -> bytes:
    sized = struct.pack(">I", len(content)) + kind + content
    return sized + struct.pack(">I", zlib.crc32(kind + content))


def bomb(side: int = 50_000) -> bytes:
    """A PNG of a few kilobytes that says that it has side x side pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


def tiff_bomb(path: Path) -> bytes:
    """A TIFF of 13 channels whose header says 200,000 x 200,000 pixels."""
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, np.zeros((13, 16, 16), np.uint16))
    with tifffile.TiffFile(path) as file:
        tags = [file.pages[0].tags[name] for name in ("ImageWidth", "ImageLength")]
        places = [(tag.valueoffset, tag.dtype) for tag in tags]
    raw = bytearray(path.read_bytes())
    for offset, kind in places:
        size = 2 if int(kind) == 3 else 4
        raw[offset : offset + size] = (200_000 if size == 4 else 65_000).to_bytes(size, "little")
    path.unlink()
    return bytes(raw)


def good(path: Path, seed: int, **options: object) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(values).save(path, **options)
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    for i in range(90):
        good(root / f"{i:02}.png", i)
    whole = good(root / "jpeg called.png", 100, format="jpeg")
    (root / "png called.jpg").write_bytes((root / "00.png").read_bytes())
    (root / "jpeg called.tif").write_bytes(whole)
    (root / "z cut.png").write_bytes((root / "01.png").read_bytes()[:300])
    (root / "z cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "z empty.png").write_bytes(b"")
    (root / "z text.png").write_text("this is no image")
    (root / "z program.jpg").write_bytes(b"\x7fELF" + bytes(200))
    (root / "z script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (root / "z bomb.png").write_bytes(bomb())
    (root / "z loop.png").symlink_to(root / "z loop.png")
    return root


BAD = ("cut.png", "cut.jpg", "empty.png", "text.png", "program.jpg", "script.png", "bomb.png",
       "loop.png")  # fmt: skip


def test_each_is_named_and_none_is_fatal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfsight.data.pixels.headers.NAMED", 99)
    before = sorted(folder.parent.rglob("*"))
    images = open_images(folder, max_unreadable=0.1)
    assert len(images) == 93
    told = " ".join(images.notes)
    for name in BAD:
        assert f"z {name} (" in told
    assert "z empty.png (an empty file)" in told
    assert "z bomb.png (more pixels than an honest image has" in told
    assert "z text.png (not an image of a known format)" in told
    assert sorted(folder.parent.rglob("*")) == before
    with pytest.raises(ValueError, match=r"of 101 images cannot be read, more than the 5%"):
        open_images(folder)


def test_a_name_that_lies_is_read_by_what_is_inside(folder: Path) -> None:
    images = open_images(folder, max_unreadable=0.1)
    rows = {name: images.pixels[row] for row, name in enumerate(images.row_ids.tolist())}
    assert (rows["png called.jpg"] == rows["00.png"]).all()
    assert (rows["jpeg called.tif"] == rows["jpeg called.png"]).all()


def test_bands_by_what_is_inside(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    made = [np.full((13, 16, 16), i, np.uint16) for i in range(20)]
    for i, values in enumerate(made):
        path = tmp_path / f"{i:02}.{'png' if i == 3 else 'tif'}"
        tifffile.imwrite(path, values, photometric="minisblack")
    (tmp_path / "98.tif").write_bytes(tiff_bomb(tmp_path / "made.tif"))
    (tmp_path / "99.tif").write_bytes((tmp_path / "00.tif").read_bytes()[:2000])
    images = open_images(tmp_path, max_unreadable=0.1)
    assert images.pixels.shape == (20, 16, 16, 13)
    assert images.pixels.dtype == np.uint16
    assert (images.pixels[3] == 3).all()
    assert "98.tif" in " ".join(images.notes)
    assert "99.tif" in " ".join(images.notes)
