"""Memory and open files of a long training: both must stay flat.

    python benchmarks/steadiness.py [--steps 20000] [--method simclr]

Trains a tiny network on digits, with metrics, the monitor and a checkpoint every 500 steps, and
looks at anonymous memory (without the pages of files) and open files every hundredth of the way.
Prints a table of ten lines; fails where the median of memory in the last quarter is more than 8 MiB
above that of the second quarter, or more files are open. The first quarter is left out: allocators
and caches fill.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ALLOWED = 8.0
"""MiB."""
BATCH = 16


class Look(NamedTuple):
    """One look at the process."""

    step: int
    mib: float
    files: int


def look(step: int) -> Look:
    lines = Path("/proc/self/status").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return Look(step, kib / 1024, len(os.listdir("/proc/self/fd")))


def trained(steps: int, method: str, folder: Path) -> list[Look]:
    """A hundred looks at a training."""
    import lightning.pytorch as pl

    from selfsight.methods import METHODS
    from selfsight.training.pretrain import pretrain
    from selfsight.training.settings import Pretrain

    looks: list[Look] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            if module.step % max(1, steps // 100) == 0:
                gc.collect()
                looks.append(look(module.step))

    batches = 1437 // BATCH
    settings = Pretrain.model_validate(
        {
            "method": {"name": method, **METHODS[method].example().plain()},
            "data": "digits",
            "target": "digit",
            "batch_size": BATCH,
            "epochs": -(-steps // batches),
            "checkpoint_steps": 500,
            "monitor_images": 100,
            "device": "cpu",
            "backbone": "resnet18",
            "network": {"widths": [4, 8], "depths": [1, 1]},
            "validation": 0.0,
            "out": str(folder / "run"),
        }
    )
    pretrain(settings, watching=[Watch()])
    return looks


def growth(looks: list[Look]) -> tuple[float, int]:
    """MiB and open files that the last quarter has more than the second, by the median."""
    count = len(looks) // 4
    second, last = looks[count : 2 * count], looks[-count:]
    mib = np.median([one.mib for one in last]) - np.median([one.mib for one in second])
    files = np.median([one.files for one in last]) - np.median([one.files for one in second])
    return float(mib), int(files)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--method", default="simclr")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        looks = trained(given.steps, given.method, Path(name))
    mib, files = growth(looks)
    if given.json:
        print(json.dumps({"looks": looks, "mib": mib, "files": files}))
        return 0
    print("| step | memory, MiB | open files |\n| --- | --- | --- |")
    for one in looks[9::10]:
        print(f"| {one.step:,} | {one.mib:.1f} | {one.files} |")
    print(f"\nLast quarter beside the second: {mib:+.2f} MiB, {files:+d} files.")
    return int(mib > ALLOWED or files > 0)


if __name__ == "__main__":
    sys.exit(main())
