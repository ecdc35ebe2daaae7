"""What `embed` and `index` of very many images cost: processor time and bytes an image.

    python benchmarks/cost.py [--images 600] [--side 224] [--start efficientnet_lite0] [--many 1e8]

Writes JPEGs of the given side into tar shards, takes published weights as they are, and measures on
one thread: reading the headers of the shards, `embed --shard` into Parquet, `merge`, and `index`.
Prints a table in Markdown, and what so many images come to. Decoding and the network grow with the
pixels; sizes grow with the features.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from selfsight.cli import main as command

SHARDS = 4


def picture(seed: int, side: int) -> bytes:
    """A JPEG with detail at all scales, about as large as a photograph of its size."""
    from PIL import Image

    draw = np.random.default_rng(seed)
    total = np.zeros((side, side, 3))
    for size in (4, 8, 16, 32, 64, side):
        noise = Image.fromarray(draw.integers(0, 256, (size, size, 3), dtype=np.uint8))
        total += np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC)) / size**0.5
    total = (total - total.min()) / np.ptp(total) * 255
    buffer = io.BytesIO()
    Image.fromarray(total.astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def shards(folder: Path, images: int, side: int) -> int:
    """Writes the shards; their bytes."""
    folder.mkdir()
    for shard in range(SHARDS):
        with tarfile.open(folder / f"images-{shard:03}.tar", "w") as archive:
            for number in range(shard, images, SHARDS):
                content = picture(number, side)
                member = tarfile.TarInfo(f"{number:08}.jpg")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return size_of(folder)


def size_of(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


@contextlib.contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    before = time.process_time()
    yield
    seconds[name] = time.process_time() - before


def done(*words: str) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(printed):
        code = command([*words])
    if code != 0:
        raise RuntimeError(printed.getvalue()[-800:])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--start", default="efficientnet_lite0")
    parser.add_argument("--many", type=float, default=1e8)
    given = parser.parse_args()

    import torch

    from selfsight.data.sources import list_source

    torch.set_num_threads(1)
    seconds: dict[str, float] = {}
    size: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SELFSIGHT_CACHE"] = str(folder / "cache")
        data, run = str(folder / "images"), str(folder / "run")
        size["shards"] = shards(folder / "images", given.images, given.side)
        with timed(seconds, "headers of the shards"):
            list_source(data)
        size["index of the shards"] = size_of(folder / "cache")
        with timed(seconds, "(weights)"):
            done(*("pretrain", "simclr", data, "--weights", given.start, "--epochs", "0"),
                 *("--limit", "100", "--image-size", str(given.side)),
                 *("--device", "cpu", "--out", run))  # fmt: skip
        table, small = str(folder / "r.parquet"), str(folder / "small.parquet")
        few = ["--limit", "64"]  # what a command costs whatever the number of images
        with timed(seconds, "(start)"):
            done("embed", run, data, "--device", "cpu", "--out", small, *few)
        with timed(seconds, "embed"):
            done("embed", run, data, "--device", "cpu", "--out", table, "--shard", "0/1")
        size["representations"] = size_of(folder / "r.parquet.parts")
        with timed(seconds, "merge"):
            done("merge", table)
        with timed(seconds, "index"):
            done("index", run, data, "--device", "cpu", "--out", str(folder / "index"))
        size["index"] = size_of(folder / "index")
    print("| step | ms an image, one thread | bytes an image |\n| --- | --- | --- |")
    beside = {"headers of the shards": "index of the shards", "embed": "representations"}
    print(f"| images | | {size['shards'] / given.images:,.0f} |")
    for step in ("headers of the shards", "embed", "merge", "index"):
        bytes_ = size.get(beside.get(step, step))
        text = "" if bytes_ is None else f"{bytes_ / given.images:,.0f}"
        print(f"| {step} | {1e3 * seconds[step] / given.images:.2f} | {text} |")

    def terabytes(what: str) -> float:
        return given.many * size[what] / given.images / 1e12

    rate = (given.images - 64) / (seconds["embed"] - seconds["(start)"])
    print(f"\nembed without its start: {rate:.1f} images/s a thread.")
    hours = given.many / rate / 3600
    print(f"{given.many:,.0f} images: {hours:,.0f} processor hours, ", end="")
    print(f"{terabytes('shards'):.2f} TB read, {terabytes('representations'):.2f} TB written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
