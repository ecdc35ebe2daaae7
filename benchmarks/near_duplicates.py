"""Recall of near-duplicates, alteration by alteration, and the share of images with a false twin.

    python benchmarks/near_duplicates.py ../shared/data/cifar10 ../shared/data/lfw

Each alteration is applied to 500 train images of each set; the altered images are looked for among
the originals. The alterations are those of ``tests/data/test_near_duplicates.py``.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    args = parser.parse_args()
    tests = definitions()
    print("| data | alteration | to reach | recall | false twins | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for source in args.data:
        images = open_images(source)
        train = images.rows("train")
        rows = np.random.default_rng(0).choice(train, min(COUNT, len(train)), replace=False)
        pixels = np.asarray(images.pixels[np.sort(rows)])
        for name, (least, alteration) in tests.DISGUISES.items():
            start = time.perf_counter()
            share, wrong = tests.recall_of(pixels, alteration)
            seconds = time.perf_counter() - start
            cells = [images.name, name, f"{least:.0%}", f"{share:.1%}", f"{wrong:.2%}"]
            print(f"| {' | '.join(cells)} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
