"""Sets that open undecoded: the same images, later; a million rows in little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfsight.data.leaks import leaks
from selfsight.data.pixels.lazy import LazyPixels
from selfsight.data.request import open_images
from selfsight.data.settled import settled


def classes(root: Path, count: int = 20) -> Path:
    for i in range(2 * count):
        folder = root / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"{i:02}.png")
    return root


def test_undecoded_reads_like_decoded(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets")
    lazy, whole = open_images(root, decode=False), open_images(root)
    assert isinstance(lazy.pixels, LazyPixels)
    assert lazy.pixels.shape == whole.pixels.shape
    assert lazy.pixels.nbytes == whole.pixels.nbytes
    for key in (3, slice(2, 9), [5, 1, 5], np.array([39, 0]), (slice(0, 4), 2, 3)):
        assert (lazy.pixels[key] == whole.pixels[key]).all()
    assert (np.asarray(lazy.pixels) == whole.pixels).all()
    part = lazy.take(np.array([7, 30]))
    assert isinstance(part.pixels, LazyPixels)
    assert (part.pixels[:] == whole.pixels[[7, 30]]).all()
    assert (lazy.splits == whole.splits).all()
    again = settled(lazy)
    assert again.fingerprint() == whole.fingerprint()
    assert settled(whole) is whole


def test_settling_leaves_the_unreadable_out_and_keeps_copies_together(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets")
    cut = root / "a" / "04.png"
    cut.write_bytes(cut.read_bytes()[:200])
    for i in range(1, 12, 2):  # copies that a cut of the splits parts
        (root / "b" / f"{i + 50}.png").write_bytes((root / "b" / f"{i:02}.png").read_bytes())
    lazy = open_images(root, decode=False)
    row = lazy.row_ids.tolist().index("a/04.png")
    with pytest.raises(ValueError, match=r"a/04\.png cannot be read .*decode=True"):
        lazy.pixels[row]
    whole, again = open_images(root), settled(lazy)
    assert again.row_ids.tolist() == whole.row_ids.tolist()
    assert again.splits.tolist() == whole.splits.tolist()
    assert leaks(again) == ()
    assert "1 unreadable image was skipped: a/04.png" in " ".join(again.notes)


MILLION = """
import sys, time
from selfsight.data.request import open_images
open_images(sys.argv[2], decode=None, validation=0)
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024
before, start = peak(), time.process_time()
images = open_images(sys.argv[1], decode=None)
print(len(images), time.process_time() - start, peak() - before, images.pixels.nbytes >> 20)
"""


def opened_in_a_process(tmp_path: Path, rows: int) -> tuple[int, float, int, int]:
    """Rows, seconds of processor time, MiB of memory it took at most, and MiB of its pixels."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(200):
        values = np.random.default_rng(i).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(values).resize((128, 128), 0).save(folder / f"{i}.png")
    lines = [f"images/{i % 200}.png,{i % 10}" for i in range(rows)]
    table = tmp_path / "all.csv"
    table.write_text("\n".join(["path,label", *lines]))
    small = tmp_path / "small.csv"
    small.write_text("\n".join(["path,label", *lines[:50]]))
    done = subprocess.run(
        [sys.executable, "-c", MILLION, str(table), str(small)],
        env=dict(os.environ, OMP_NUM_THREADS="1", SELFSIGHT_CACHE=str(tmp_path / "cache")),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    count, seconds, grown, size = done.stdout.split()
    return int(count), float(seconds), int(grown), int(size)


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")


@needs_proc
def test_a_large_manifest_opens_without_its_pixels(tmp_path: Path) -> None:
    count, _, grown, size = opened_in_a_process(tmp_path, 50_000)
    assert count == 50_000
    assert size > 2000
    assert grown < 150


@pytest.mark.slow
@needs_proc
def test_a_million_rows_open_in_seconds(tmp_path: Path) -> None:
    count, seconds, grown, size = opened_in_a_process(tmp_path, 1_000_000)
    print(f"{count:,} rows: {seconds:.1f} s, {grown} MiB; their pixels are {size:,} MiB")
    assert count == 1_000_000
    assert size > 40_000
    assert grown < 1_500
    assert seconds < 30
