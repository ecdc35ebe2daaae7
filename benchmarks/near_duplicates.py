"""Recall of near-duplicates, alteration by alteration, and the share of images with a false twin.

    python benchmarks/near_duplicates.py ../shared/data/{cifar10,lfw,xsdd}
    python benchmarks/near_duplicates.py ../shared/data/xsdd --half choose
    python benchmarks/near_duplicates.py ../shared/data/cifar10 --time

Each alteration is applied to 500 train images of each set; the altered images are looked for among
the originals. The alterations are those of ``tests/data/test_near_duplicates.py``. A seed splits
train: constants are chosen on one half (``--half choose``), the other is reported. Seconds are
of the processor. ``--time`` looks for all near-duplicates of all images instead.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.data.near_duplicates import near_duplicates
from selfsight.data.request import open_images

COUNT = 500
TESTS = Path(__file__).parents[1] / "tests/data/test_near_duplicates.py"


def definitions() -> Any:
    """The module of the tests."""
    spec = importlib.util.spec_from_file_location("alterations", TESTS)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def half_of(train: NDArray[np.int64], half: str) -> NDArray[np.int64]:
    """Up to 500 rows of one of two halves of train, ascending."""
    order = np.random.default_rng(7).permutation(train)
    middle = len(order) // 2
    return np.sort((order[:middle] if half == "choose" else order[middle:])[:COUNT])


def table(args: argparse.Namespace) -> None:
    tests = definitions()
    print("| data | images | alteration | to reach | recall | false twins | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for source in args.data:
        images = open_images(source)
        rows = half_of(images.rows("train"), args.half)
        pixels = np.asarray(images.pixels[rows])
        for name, (least, alteration) in tests.DISGUISES.items():
            if args.only and name not in args.only:
                continue
            start = time.process_time()
            share, wrong = tests.recall_of(pixels, alteration)
            seconds = time.process_time() - start
            cells = [images.name, str(len(rows)), name, f"{least:.0%}"]
            cells += [f"{share:.1%}", f"{wrong:.2%}", f"{seconds:.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


def times(args: argparse.Namespace) -> None:
    for source in args.data:
        images = open_images(source)
        start, wall = time.process_time(), time.perf_counter()
        found = near_duplicates(images, np.flatnonzero(~images.content.blank))
        seconds, wall = time.process_time() - start, time.perf_counter() - wall
        print(
            f"{images.name}: {len(images):,} images of {images.height} x {images.width} px, "
            f"{len(found.rows):,} pairs, {seconds:.0f} s of the processor ({wall:.0f} s by the "
            f"clock, {torch.get_num_threads()} thread(s))"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--half", choices=["choose", "report"], default="report")
    parser.add_argument("--only", nargs="+", help="alterations", metavar="NAME")
    parser.add_argument("--time", action="store_true")
    args = parser.parse_args()
    times(args) if args.time else table(args)


if __name__ == "__main__":
    main()
