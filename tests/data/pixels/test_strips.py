"""Strips of large images: the rows that whole decoding gives, in memory that does not grow."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selfsight.data import tiles
from selfsight.data.pixels import strips
from selfsight.data.pixels.decode import decode
from selfsight.data.pixels.plan import DecodePlan
from selfsight.data.pixels.png_rows import png_rows
from selfsight.data.pixels.tiff_rows import tiff_rows
from selfsight.data.pixels.values import ValueScale
from selfsight.data.request import open_images

HEIGHT, WIDTH = 70, 45


def draws(dtype: str, channels: int, smooth: bool = True) -> np.ndarray:
    """Gradients with noise, so that a PNG writer chooses each of its filters somewhere."""
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH, 1)
    noise = random.random((HEIGHT, WIDTH, channels)) * (0.05 if smooth else 1)
    values = (ramp + noise) / 1.05 if smooth else noise
    top = 1 if dtype == "float32" else np.iinfo(dtype).max
    return (values * top).astype(dtype)


def picture_bytes(values: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values if values.shape[2] > 1 else values[..., 0]).save(buffer, kind, **options)
    return buffer.getvalue()


def in_mode(mode: str) -> Callable[[Path], bytes]:
    def make(_: Path) -> bytes:
        image = Image.fromarray(draws("uint8", 3)).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, "png")
        return buffer.getvalue()

    return make


def filtered_png(values: np.ndarray, colour: int, depth: int, filters: str) -> bytes:
    """A PNG whose rows have the filters given, in turn: none, sub, up, average, paeth."""
    raw = values.astype(">u2" if depth == 16 else "u1").reshape(len(values), -1)
    lines = raw.view("u1").reshape(len(values), -1).astype(int)
    pixel = values.shape[2] * depth // 8
    above, out = np.zeros(lines.shape[1], int), b""
    for i, line in enumerate(lines):
        left = np.concatenate([np.zeros(pixel, int), line[:-pixel]])
        corner = np.concatenate([np.zeros(pixel, int), above[:-pixel]])
        guess = left + above - corner
        near = [np.abs(guess - one) for one in (left, above, corner)]
        paeth = np.where((near[0] <= near[1]) & (near[0] <= near[2]), left,
                         np.where(near[1] <= near[2], above, corner))  # fmt: skip
        kind = int(filters[i % len(filters)])
        base = [0 * line, left, above, (left + above) // 2, paeth][kind]
        out += bytes([kind]) + ((line - base) % 256).astype("u1").tobytes()
        above = line

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", values.shape[1], len(values), depth, colour, 0, 0, 0)
    packed = zlib.compress(out)
    parts = [packed[i : i + 700] for i in range(0, len(packed), 700)]  # many chunks, as usual
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
            + b"".join(chunk(b"IDAT", part) for part in parts) + chunk(b"IEND", b""))  # fmt: skip


def tif(dtype: str, channels: int, **options: Any) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        tifffile = pytest.importorskip("tifffile", reason="selfsight[tiff] is not installed")
        values = draws(dtype, channels)
        shape = values if channels > 1 else values[..., 0]
        if options.get("planarconfig") == "separate" or options.get("pages"):
            shape = np.moveaxis(values, 2, 0)
        plain = {k: v for k, v in options.items() if k != "pages"}
        photometric = "rgb" if channels == 3 and not options.get("pages") else "minisblack"
        tifffile.imwrite(folder / "a.tif", shape, **{"photometric": photometric, **plain})
        return (folder / "a.tif").read_bytes()

    return make


PNGS: dict[str, Callable[[Path], bytes]] = {
    "grey": in_mode("L"), "RGB": in_mode("RGB"), "RGBA": in_mode("RGBA"), "LA": in_mode("LA"),
    "palette": in_mode("P"), "1 bit": in_mode("1"),
    "16-bit grey": lambda _: filtered_png(draws("uint16", 1), 0, 16, "01234"),
    "16-bit grey and alpha": lambda _: filtered_png(draws("uint16", 2), 4, 16, "43210"),
    "16-bit RGB": lambda _: filtered_png(draws("uint16", 3), 2, 16, "01234"),
    "16-bit RGBA": lambda _: filtered_png(draws("uint16", 4), 6, 16, "42"),
    "every filter in RGB": lambda _: filtered_png(draws("uint8", 3, smooth=False), 2, 8, "01234"),
    "every filter in RGBA": lambda _: filtered_png(draws("uint8", 4), 6, 8, "43210"),
    "every filter in LA": lambda _: filtered_png(draws("uint8", 2), 4, 8, "31420"),
}  # fmt: skip
TIFFS: dict[str, Callable[[Path], bytes]] = {
    "RGB": tif("uint8", 3), "RGB in strips": tif("uint8", 3, rowsperstrip=7),
    "grey, deflated": tif("uint8", 1, rowsperstrip=7, compression="zlib"),
    "RGB in planes": tif("uint8", 3, planarconfig="separate", rowsperstrip=9),
    "RGB in squares": tif("uint8", 3, tile=(16, 32), compression="zlib"),
    "uint16": tif("uint16", 1, rowsperstrip=11), "big-endian": tif("uint16", 1, byteorder=">"),
    "int16": tif("int16", 1, rowsperstrip=5), "float32": tif("float32", 1, tile=(16, 16)),
    "five channels": tif("uint16", 5, rowsperstrip=4, compression="zlib"),
    "pages as channels": tif("uint16", 4, pages=True, rowsperstrip=8),
    "white is 0": tif("uint16", 1, photometric="miniswhite", rowsperstrip=8),
}  # fmt: skip
WHOLE: dict[str, Callable[[Path], bytes]] = {
    "JPEG": lambda _: picture_bytes(draws("uint8", 3), "jpeg"),
    "grey JPEG": lambda _: picture_bytes(draws("uint8", 1), "jpeg"),
    "WebP": lambda _: picture_bytes(draws("uint8", 3), "webp"),
    "palette TIFF": lambda _: _saved(Image.fromarray(draws("uint8", 3)).convert("P"), "tiff"),
    "LZW TIFF": lambda _: picture_bytes(draws("uint8", 3), "tiff", compression="tiff_lzw"),
    "turned JPEG": lambda _: picture_bytes(draws("uint8", 3), "jpeg", exif=_turned()),
}  # fmt: skip


def _saved(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize("grey", [False, True], ids=["", "seen as grey"])
@pytest.mark.parametrize(
    "make",
    [*PNGS.values(), *TIFFS.values(), *WHOLE.values()],
    ids=[*(f"PNG {n}" for n in PNGS), *(f"TIFF {n}" for n in TIFFS), *WHOLE],
)
def test_strips_are_the_rows_of_the_whole_image(
    tmp_path: Path, make: Callable[[Path], bytes], grey: bool
) -> None:
    content = make(tmp_path)
    header = strips.read_header(content)
    scale = ValueScale.of(header.type, header.bits)
    channels = 1 if grey and header.channels in (1, 3) else header.channels
    wanted = DecodePlan(header.height, header.width, channels, scale)
    whole = decode(content, wanted)
    assert whole.std() > 0
    with strips.strips_of(content, wanted) as read:
        for first, last in ((0, 20), (10, 30), (10, 33), (33, 34), (34, header.height)):
            np.testing.assert_array_equal(read(first, last), whole[first:last])


@pytest.mark.parametrize("make", PNGS.values(), ids=list(PNGS))
def test_every_plain_png_is_read_in_strips(
    tmp_path: Path, make: Callable[[Path], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of a few rows, as in a file of any size; none of them is the whole image."""
    from selfsight.data.pixels import png_rows as module

    monkeypatch.setattr(module, "CHUNK", 64)
    with png_rows(make(tmp_path)) as rows:
        assert rows is not None
        assert Image.open(io.BytesIO(rows(12, 20))).size == (WIDTH, 8)


@pytest.mark.parametrize("make", TIFFS.values(), ids=list(TIFFS))
def test_every_plain_tiff_is_read_in_strips(tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    with tiff_rows(make(tmp_path)) as rows:
        assert rows is not None


@pytest.mark.parametrize("kind", ["png", "tif", "jpg"])
def test_tiles_of_strips_are_those_of_the_whole(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        Image.fromarray(np.roll(draws("uint8", 3), i, 0)).save(tmp_path / f"{i}.{kind}")
    Image.fromarray(draws("uint8", 3)[:10]).save(tmp_path / f"small.{kind}")
    whole = open_images(tmp_path, tile=16, image_size=8, validation=0)
    monkeypatch.setattr(tiles, "LARGE", 0)
    monkeypatch.setattr(strips, "LARGE", 0)
    cut = open_images(tmp_path, tile=16, image_size=8, validation=0)
    assert cut.row_ids.tolist() == whole.row_ids.tolist()
    np.testing.assert_array_equal(cut.pixels, whole.pixels)


def test_a_large_image_that_is_cut_off_is_left_out_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "LARGE", 0)
    for i in range(21):
        Image.fromarray(draws("uint8", 3, smooth=False)).save(tmp_path / f"{i:02}.png")
    broken = tmp_path / "05.png"
    broken.write_bytes(broken.read_bytes()[:6000])
    images = open_images(tmp_path, tile=16, validation=0)
    assert images.tile_of is not None and len(set(images.tile_of)) == 20
    assert "05.png (the file is cut off" in " ".join(images.notes)
    row = images.row_ids.tolist().index("06.png@0,0")
    np.testing.assert_array_equal(images.pixels[row], draws("uint8", 3, smooth=False)[:16, :16])


MEASURE = """
import json, sys
import PIL.Image, tifffile
from pathlib import Path
from selfsight.data.request import open_images
def peak():
    words = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()
    return int(words[0])
open_images(sys.argv[2], tile=16, image_size=8, validation=0)  # imports are no pixels
before = peak()
images = open_images(sys.argv[1], tile=256, image_size=32, validation=0, max_pixels=200_000_000)
after = peak()
print(json.dumps([len(images), (after - before) / 1024, float(images.pixels[:, ..., 0].max())]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
@pytest.mark.parametrize(("kind", "most"), [("png", 120), ("tif", 120), ("jpg", 650)])
def test_line_scans_of_100_megapixels_in_bounded_memory(
    tmp_path: Path, kind: str, most: float
) -> None:
    """2048 x 50,000 pixels in colour are 307 MB decoded; a JPEG is decoded once as a whole."""
    line = np.random.default_rng(0).integers(0, 256, (50_000, 8, 1), np.uint8)
    image = Image.fromarray(np.broadcast_to(np.repeat(line, 256, 1), (50_000, 2048, 3)))
    image.putpixel((0, 0), (255, 0, 0))
    options = {"png": {"compress_level": 1}, "jpg": {"quality": 50}}.get(kind, {})
    (tmp_path / "set").mkdir()
    image.save(tmp_path / "set" / f"a.{kind}", **options)
    (tmp_path / "few").mkdir()
    image.crop((0, 0, 32, 32)).save(tmp_path / "few" / f"a.{kind}")
    with pytest.raises(ValueError, match="--max-pixels"):
        open_images(tmp_path / "set", tile=256)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path / "set"),
                           str(tmp_path / "few")], check=True, capture_output=True,
                          env=environment)  # fmt: skip
    count, grown, high = json.loads(done.stdout)
    print(f"{kind}: {grown:.0f} MB")
    assert (count, high > 100) == (8 * 196, True)
    assert grown < most
