"""Files that are damaged, lie, or attack: each is named, none stops a set, nothing gets out."""

from __future__ import annotations

import struct
import time
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


def tiff_of_floats(path: Path) -> None:
    """A TIFF whose tags of the size are floats."""
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, np.zeros((16, 16), np.uint16))
    with tifffile.TiffFile(path) as file:
        places = [file.pages[0].tags[name].offset for name in ("ImageWidth", "ImageLength")]
    raw = bytearray(path.read_bytes())
    for place in places:
        raw[place + 2 : place + 12] = struct.pack("<HIf", 11, 1, 16.0)
    path.write_bytes(raw)


def tiff_of_pages(path: Path, count: int = 30_000) -> None:
    """A TIFF that says thousands of pages, of a tag each."""
    head = b"II*\0" + struct.pack("<I", 8)
    page = struct.pack("<HHHII", 1, 256, 3, 1, 16)
    ends = (8 + 18 * (i + 1) if i + 1 < count else 0 for i in range(count))
    path.write_bytes(head + b"".join(page + struct.pack("<I", end) for end in ends))


@pytest.mark.parametrize("make", [tiff_of_floats, tiff_of_pages])
def test_a_tiff_that_lies_is_named_at_once(tmp_path: Path, make: object) -> None:
    for i in range(40):
        good(tmp_path / f"{i}.png", i)
    make(tmp_path / "bad.tif")  # type: ignore[operator]
    began = time.process_time()
    images = open_images(tmp_path, max_unreadable=0.1)
    assert len(images) == 40 and any("bad.tif" in note for note in images.notes)
    assert time.process_time() - began < 8


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


@pytest.mark.parametrize("empty", ["note", "note,remark"])
def test_an_empty_column_beside_rows_that_repeat(tmp_path: Path, empty: str) -> None:
    """A column of nothing ended the process where a table had several rows for an image."""
    names = empty.split(",")
    for i in range(3):
        good(tmp_path / f"{i}.png", i)
    rows = ["0.png,a", "0.png,b", "1.png,a", "2.png,c", "2.png,c"]
    lines = [f"file,kind,{empty}", *(row + "," * len(names) for row in rows)]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    images = open_images(tmp_path / "table.csv")
    assert len(images) == 3 and images.targets["kind"].values.tolist() == [
        [1, 1, 0],
        [1, 0, 0],
        [0, 0, 1],
    ]


def test_the_same_of_labels_beside_images(tmp_path: Path) -> None:
    rows = [f"{row},{row % 2},{row % 3}," for row in [*range(30), *range(30)]]
    (tmp_path / "l.csv").write_text("\n".join(["row_id,one,two,empty", *rows]) + "\n")
    images = open_images("digits", labels=str(tmp_path / "l.csv"), target="one")
    assert int(images.targets["one"].known.sum()) == 30


@pytest.mark.parametrize("text", ['null\n{"file": "0.png"}\n', ' null{"file": "0.png"}', "[1]\n"])
def test_lines_of_json_that_begin_with_no_object(tmp_path: Path, text: str) -> None:
    """Arrow's reader ends the process on the first two."""
    (tmp_path / "table.jsonl").write_text(text)
    with pytest.raises(ValueError, match=r"table\.jsonl is not a readable table"):
        open_images(tmp_path / "table.jsonl")


@pytest.mark.parametrize("name", ["a\x00b.png", "sub\x00/0.png"])
def test_a_name_with_a_null_byte_is_no_image(tmp_path: Path, name: str) -> None:
    for i in range(40):
        good(tmp_path / f"{i}.png", i)
    lines = ["file,kind", *(f"{i}.png,{i % 2}" for i in range(40)), f"{name},1"]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    assert len(open_images(tmp_path / "table.csv", max_unreadable=0.1)) == 40


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255, "255 dimensions"),
        (b"\0\0\x08\x03" + b"\x70\0\0\1" + b"\0\0\0\1" * 2, "1,879,048,193 bytes and holds 4"),
    ],
)
def test_an_idx_file_that_says_too_much(tmp_path: Path, head: bytes, said: str) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(head + b"\1" * 4)
    with pytest.raises(ValueError, match=said):
        open_images(tmp_path)


@pytest.mark.parametrize("place", ["images", "splits"])
def test_a_parquet_file_with_column_names_that_are_no_text(tmp_path: Path, place: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from selfsight.runs.sides import read_run_table

    path = tmp_path / "set.parquet"
    rows = [(good(tmp_path / "0.png", i), "x") for i in range(4)]
    pq.write_table(
        pa.table({"image": [r[0] for r in rows], "labelname": [r[1] for r in rows]}), path
    )
    path.write_bytes(path.read_bytes().replace(b"labelname", b"label\x9aame"))
    with pytest.raises(ValueError, match=r"set\.parquet"):
        open_images(path) if place == "images" else read_run_table(path)


def test_a_parquet_file_with_fewer_images_than_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "set.parquet"
    pq.write_table(pa.table({"image": [good(tmp_path / "0.png", i) for i in range(9)]}), path)
    whole = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda self, *a, **k: (b.slice(0, 5) for b in whole(self, *a, **k)),
    )
    with pytest.raises(ValueError, match=r"set\.parquet is damaged .* 5 of 9 rows"):
        open_images(path)
