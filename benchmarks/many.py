"""What 100 million images cost: images a second and bytes of each step, measured here.

    python benchmarks/many.py [--images 4000] [--backbone resnet18] [--parts 4]

Writes JPEG files of 256 x 256 pixels, makes a run with fresh weights at 224 pixels, and times the
listing of the folder, one part of `embed` and of `index` (decoding, network and writing), and
`merge`. Prints the figures, and what follows for 100 million images on this machine and on W
workers like it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MILLIONS = 100


def photos(folder: Path, count: int) -> int:
    """Files with smooth colours and some noise, as photographs compress; bytes of all."""
    from PIL import Image

    folder.mkdir()
    draw = np.random.default_rng(0)
    size = 0
    for number in range(count):
        coarse = draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC)
        noise = draw.normal(0, 6, (256, 256, 3))
        values = np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)
        path = folder / f"{number:07}.jpg"
        Image.fromarray(values).save(path, quality=88)
        size += path.stat().st_size
    return size


def size_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--parts", type=int, default=4)
    given = parser.parse_args()

    import selfsight

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = photos(folder / "images", given.images)
        few = photos(folder / "few", 40) and folder / "few"
        run = folder / "run"
        selfsight.pretrain(
            "simclr", str(few), out=run, epochs=0, backbone=given.backbone, image_size=224
        )
        count, rows = given.images, []
        began = time.perf_counter()
        names = sorted((folder / "images").rglob("*.jpg"))
        listing = (time.perf_counter() - began) / len(names)
        for verb, out in (("embed", folder / "r.parquet"), ("index", folder / "index")):
            function = getattr(selfsight, verb)
            began = time.perf_counter()
            for part in range(given.parts):
                function(run, folder / "images", out=out, shard=f"{part}/{given.parts}")
            seconds = time.perf_counter() - began
            began = time.perf_counter()
            selfsight.merge(out)
            rows.append((verb, seconds / count, time.perf_counter() - began, size_of(out) / count))
    print(f"{given.backbone}, {count:,} JPEG files of {size / count / 1e3:.0f} kB, 224 px:\n")
    print("| verb | images/s | hours of one worker for 100 million | merge, images/s | GB out |")
    print("| --- | --- | --- | --- | --- |")
    for verb, each, merging, bytes_each in rows:
        print(
            f"| {verb} | {1 / each:,.0f} | {each * MILLIONS * 1e6 / 3600:,.0f} | "
            f"{count / merging:,.0f} | {bytes_each * MILLIONS / 1e3:,.0f} |"
        )
    print(f"\nListing: {1 / listing:,.0f} files/s. Images: {size / count * MILLIONS / 1e6:.1f} TB.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
