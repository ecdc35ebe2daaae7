"""What bounded memory costs: a set in memory, in a store that stays cached, and read from disk.

    python benchmarks/memory.py

A set of noise four times as large as the memory that decoded pixels may take (``SELFSIGHT_MEMORY``)
is trained on for an epoch, in a process for each way:

* ``in memory``: the budget is raised, so that the set fits;
* ``mapped``: a store in the cache folder, whose pages the system keeps as it likes;
* ``from disk``: the same, and the pages are dropped after every step (`madvise`, then
  `posix_fadvise`), as if no memory were left for them.

The table has images a second of the training and of the loader alone, and how much anonymous memory
(``RssAnon``: without the pages of files) the set added at most to what the same training takes on
128 images. It must stay within the budget.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

WAYS = ("in memory", "mapped", "from disk")
SIDE = 256


def anonymous() -> int:
    """Bytes of memory of this process that no file stands behind."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


class Peak:
    """The largest `anonymous` memory while the block runs, looked at every 5 ms."""

    def __enter__(self) -> Peak:
        self.most, self._over = anonymous(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.most = max(self.most, anonymous())


def dropped(pixels: Any) -> None:
    """Takes the pages of a memory map out of this process and out of the page cache."""
    import mmap

    pixels._mmap.madvise(mmap.MADV_DONTNEED)
    file = os.open(pixels.filename, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def worker(source: Path, way: str, out: Path) -> dict[str, Any]:
    """One epoch of SimCLR on the set, and one of its loader alone."""
    import lightning.pytorch as pl
    import torch

    from selfsight.data.loader import Loader
    from selfsight.data.request import open_images
    from selfsight.training.pretrain import pretrain
    from selfsight.training.settings import Pretrain
    from selfsight.views.settings import View

    class Clock(pl.Callback):
        pixels: Any = None

        def on_train_start(self, *_: Any) -> None:
            self.start = time.perf_counter()

        def on_train_batch_end(self, *_: Any) -> None:
            if self.pixels is not None:
                dropped(self.pixels)

        def on_train_end(self, *_: Any) -> None:
            self.seconds = time.perf_counter() - self.start

    base = Pretrain.model_validate({"method": "simclr", "data": str(source)})
    settings = base.updated(
        {
            "epochs": 1, "batch_size": 64, "device": "cpu", "monitor_images": 0,
            "backbone": "resnet20", "network.widths": (8, 16), "network.depths": (1, 1),
            "views": (View(size=32.0, crop_scale=(0.2, 1.0)),) * 2,
        }
    )  # fmt: skip
    few = open_images(source, limit=128, validation=0)
    with Peak() as before:
        pretrain(settings.updated({"out": str(out / "few")}), few, [Clock()])
    clock = Clock()
    with Peak() as peak:
        images = open_images(source, validation=0)
        if way == "from disk":
            clock.pixels = images.pixels
            dropped(images.pixels)
        run = settings.updated({"out": str(out / "all")})
        pretrain(run, images, [clock])
    rows = len(images) // 64 * 64
    loader = Loader(
        [(images.pixels, images.pool)], torch.zeros(len(images)), batch_size=64, epochs=1, seed=0,
        device=torch.device("cpu"),
    )  # fmt: skip
    start = time.perf_counter()
    for _ in loader:
        if clock.pixels is not None:
            dropped(clock.pixels)
    return {
        "images/s": rows / clock.seconds,
        "loader images/s": rows / (time.perf_counter() - start),
        "MiB added": (peak.most - before.most) / 2**20,
        "MiB": images.pixels.nbytes / 2**20,
        "mapped": isinstance(images.pixels, np.memmap),
    }


def noise(path: Path, count: int) -> None:
    """``(N, C, H, W)``, which has to be converted and so goes through the store."""
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (count, 3, SIDE, SIDE))
    random = np.random.default_rng(0)
    for row in range(count):
        pixels[row] = random.integers(0, 256, pixels.shape[1:], dtype=np.uint8)
    pixels.flush()


def measured(budget: int, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Interleaved rounds of each way."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "noise.npy"
        noise(source, -(-4 * budget * 2**20 // (3 * SIDE * SIDE)))
        for number in range(rounds):
            for way in WAYS:
                memory = "64G" if way == "in memory" else f"{budget}M"
                words = ["--worker", way, "--source", str(source)]
                words += ["--out", str(Path(folder) / f"{number}-{way[0]}{way[-1]}")]
                done = subprocess.run(
                    [sys.executable, __file__, *words],
                    env=os.environ
                    | {"SELFSIGHT_MEMORY": memory, "SELFSIGHT_CACHE": str(Path(folder) / "cache")},
                    stdout=subprocess.PIPE, text=True, check=True,
                )  # fmt: skip
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def table(found: dict[str, list[dict[str, Any]]], budget: int) -> str:
    """Medians over the rounds, in Markdown."""

    def median(way: str, what: str) -> float:
        return float(np.median([row[what] for row in found[way]]))

    size = median("mapped", "MiB")
    lines = [
        f"{size:.0f} MiB of pixels, {budget} MiB of memory for them:",
        "",
        "| way | training, images/s | loader alone, images/s | memory added, MiB |",
        "| --- | --- | --- | --- |",
    ]
    for way in WAYS:
        train, load = (
            f"{median(way, what):,.0f} ({median(way, what) / median(WAYS[0], what):.2f}x)"
            for what in ("images/s", "loader images/s")
        )
        lines.append(f"| {way} | {train} | {load} | {median(way, 'MiB added'):.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--budget", type=int, default=64, help="MiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(json.dumps(worker(given.source, given.worker, given.out)))
        return
    print(table(measured(given.budget, given.rounds), given.budget))


if __name__ == "__main__":
    main()
