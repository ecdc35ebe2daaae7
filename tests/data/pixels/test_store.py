"""The store: bounded memory, built atomically, verified, rebuilt when damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selfsight.data.pixels import store
from selfsight.data.pixels.store import decoded, fingerprint, memory_budget
from selfsight.data.request import open_images

SHAPE = (10, 8, 8, 3)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELFSIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SELFSIGHT_MEMORY", "1K")
    return tmp_path / "cache"


class Filling:
    """Fills rows with their number and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, pixels: np.ndarray) -> dict[str, Any]:
        self.calls += 1
        pixels[:] = np.arange(len(pixels))[:, None, None, None]
        return {"rows": len(pixels) - 1, "broken": {"9": "cut"}}


def opened(fill: Filling, name: str = "a") -> tuple[np.ndarray, dict[str, Any]]:
    return decoded(SHAPE, np.uint8, lambda: name, fill)


def test_small_sets_stay_in_memory(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFSIGHT_MEMORY", "1M")
    pixels, _ = opened(Filling())
    assert not isinstance(pixels, np.memmap)
    assert len(pixels) == 9
    assert not cache.exists()


def test_made_once_and_mapped(cache: Path) -> None:
    fill = Filling()
    for _ in range(2):
        pixels, said = opened(fill)
        assert isinstance(pixels, np.memmap)
        assert pixels[:, 0, 0, 0].tolist() == list(range(9))
        assert said["broken"] == {"9": "cut"}
    assert fill.calls == 1
    assert sorted(path.name for path in cache.iterdir()) == ["a.json", "a.npy"]


@pytest.mark.parametrize("damage", ["flip", "cut", "no description", "bad description"])
def test_a_damaged_store_is_made_again(cache: Path, damage: str) -> None:
    fill = Filling()
    opened(fill)
    data, description = cache / "a.npy", cache / "a.json"
    whole = bytearray(data.read_bytes())
    if damage == "flip":
        whole[-100] ^= 1
        data.write_bytes(whole)
    elif damage == "cut":
        data.write_bytes(whole[:-50])
    elif damage == "no description":
        description.unlink()
    else:
        description.write_text("{")
    pixels, _ = opened(fill)
    assert fill.calls == 2
    assert pixels[:, 0, 0, 0].tolist() == list(range(9))


def test_every_chunk_is_verified(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHUNK", 100)
    fill = Filling()
    opened(fill)
    whole = bytearray((cache / "a.npy").read_bytes())
    whole[len(whole) // 2] ^= 1
    (cache / "a.npy").write_bytes(whole)
    opened(fill)
    assert fill.calls == 2


def test_a_build_that_fails_leaves_nothing(cache: Path) -> None:
    def fail(pixels: np.ndarray) -> dict[str, Any]:
        pixels[0] = 1
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        decoded(SHAPE, np.uint8, lambda: "a", fail)
    assert list(cache.iterdir()) == []


def test_a_build_that_is_killed_leaves_no_store(cache: Path) -> None:
    script = (
        "import time, numpy as np\n"
        "from selfsight.data.pixels.store import decoded\n"
        "def fill(pixels):\n"
        "    pixels[0] = 1; print('filling', flush=True); time.sleep(60)\n"
        f"decoded({SHAPE}, np.uint8, lambda: 'a', fill)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait()
    assert not (cache / "a.npy").exists()
    fill = Filling()
    assert opened(fill)[0][5, 0, 0, 0] == 5
    assert fill.calls == 1


def test_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, size in (("2G", 2 << 30), ("1.5 MB", 3 << 19), ("100", 100), ("4KiB", 4096)):
        monkeypatch.setenv("SELFSIGHT_MEMORY", text)
        assert memory_budget() == size
    monkeypatch.setenv("SELFSIGHT_MEMORY", "much")
    with pytest.raises(ValueError, match="SELFSIGHT_MEMORY: 'much' is no number of bytes"):
        memory_budget()
    monkeypatch.delenv("SELFSIGHT_MEMORY")
    assert 1 << 20 < memory_budget() < 1 << 45


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SELFSIGHT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ValueError, match="set SELFSIGHT_CACHE to a folder that can be written"):
        opened(Filling())


def test_no_room_on_the_disk_is_said_before_decoding(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"the decoded images need .* GB"):
        decoded((1 << 40, 64, 64, 3), np.uint8, lambda: "a", Filling())


def folder_of_images(root: Path, count: int = 30) -> Path:
    root.mkdir()
    for i in range(count):
        values = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(values).save(root / f"{i:02}.png")
    return root


def test_images_from_a_store_equal_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    root = folder_of_images(tmp_path / "data")
    (root / "30.png").write_bytes((root / "00.png").read_bytes()[:400])
    first = open_images(root)
    again = open_images(root)
    assert isinstance(again.pixels, np.memmap)
    monkeypatch.delenv("SELFSIGHT_MEMORY")
    within = open_images(root)
    assert not isinstance(within.pixels, np.memmap)
    for images in (first, again):
        assert images.fingerprint() == within.fingerprint()
        assert images.notes == within.notes
    assert "30.png" in " ".join(first.notes)


def test_a_changed_image_makes_a_new_store(tmp_path: Path, cache: Path) -> None:
    root = folder_of_images(tmp_path / "data")
    before = open_images(root).pixels[3].copy()
    time.sleep(0.01)
    Image.fromarray(255 - before).save(root / "03.png")
    assert (open_images(root).pixels[3] == 255 - before).all()


def test_an_array_file_larger_than_memory_is_converted_in_a_store(
    tmp_path: Path, cache: Path
) -> None:
    pixels = np.random.default_rng(0).normal(size=(40, 3, 16, 16))
    np.save(tmp_path / "a.npy", pixels)
    images = open_images(tmp_path / "a.npy")
    assert isinstance(images.pixels, np.memmap)
    assert (images.pixels == pixels.transpose(0, 2, 3, 1).astype(np.float32)).all()


def test_fingerprint_is_stable_and_differs() -> None:
    assert fingerprint(["a", "b"]) == fingerprint(["a", "b"]) != fingerprint(["ab"])


MEASURED = """
import sys
from selfsight.data.request import open_images
import numpy as np, torch, PIL.Image
def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) // 1024
open_images(sys.argv[1], limit=5, validation=0)
before = anonymous()
images = open_images(sys.argv[1], validation=0)
order = np.random.default_rng(0).permutation(len(images))
most = anonymous()
for first in range(0, len(order), 64):
    images.pixels[np.sort(order[first : first + 64])].mean()
    most = max(most, anonymous())
print(images.pixels.nbytes >> 20, most - before, type(images.pixels).__name__)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_stays_bounded_for_a_set_larger_than_it(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(small.repeat(32, 0).repeat(32, 1)).save(root / "0000.png")
    for i in range(1, 1600):
        (root / f"{i:04}.png").write_bytes((root / "0000.png").read_bytes())
    environment = dict(os.environ, SELFSIGHT_MEMORY="64M", OMP_NUM_THREADS="1")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(root)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    size, grown, kind = done.stdout.split()
    assert kind == "memmap"
    assert int(size) >= 4 * 64
    assert int(grown) <= 64


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_store_four_times_its_memory_trains_within_it(tmp_path: Path) -> None:
    """The benchmark's worker: SimCLR, with the page cache dropped after every step."""
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "memory.py"
    budget = 64
    count = -(-4 * budget * 2**20 // (3 * 256 * 256))
    source = tmp_path / "noise.npy"
    pixels = np.lib.format.open_memmap(source, "w+", np.uint8, (count, 3, 256, 256))
    pixels[:] = np.random.default_rng(0).integers(0, 256, (1, 3, 256, 256), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(count) % 256
    pixels[:, 0, 0, 1] = np.arange(count) // 256
    pixels.flush()
    words = ["--worker", "from disk", "--source", str(source), "--out", str(tmp_path / "runs")]
    cache = {"SELFSIGHT_CACHE": str(tmp_path / "cache"), "SELFSIGHT_MEMORY": f"{budget}M"}
    done = subprocess.run(
        [sys.executable, str(script), *words], env=os.environ | cache, stdout=subprocess.PIPE,
        text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["mapped"]
    assert found["MiB"] >= 4 * budget
    assert found["MiB added"] <= budget
