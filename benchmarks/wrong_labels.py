"""Labels that were made wrong on purpose: how many are found, and how many that are listed are.

    python benchmarks/wrong_labels.py RUN DATA [--target label] [--share 0.05] [--seeds 3]

RUN may be the word ``pixels``: each image is then represented by its pixels. A share of the train
labels, drawn by seed, gets another class, drawn evenly. ``listed`` are all suspicious labels,
``first`` as many of the most suspicious ones as were made wrong. Labels of the set that were wrong
before count as mistakes of the search.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet, Target, choose_target
from selfsight.data.options import DataOptions
from selfsight.data.request import open_images
from selfsight.labelling.audit import suspicious_labels
from selfsight.neighbours.encoder import Encoder


@dataclass(frozen=True)
class Kept:
    """Stands in for an encoder: representations ``(N, F)`` that are computed once."""

    values: torch.Tensor

    def vectors(self, images: ImageSet, rows: NDArray[np.int64], batch_size: int) -> torch.Tensor:
        return self.values[torch.from_numpy(rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("--target")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    if given.run == "pixels":
        images = open_images(given.data, target=given.target, validation=0.0)
        flat = images.pixels.reshape(len(images), -1).astype(np.float32)
        kept = Kept(torch.from_numpy(flat))
    else:
        encoder = Encoder.load(given.run)
        images = encoder.open(given.data, DataOptions())
        kept = Kept(encoder.vectors(images, np.arange(len(images)), 64))
    target = choose_target(images, given.target)
    assert target is not None and target.kind == "class"
    rows = np.flatnonzero(np.isin(images.splits, ("train", "unlabelled")) & target.known)
    found = []
    for seed in range(given.seeds):
        random = np.random.default_rng(seed)
        wrong = random.choice(rows, round(given.share * len(rows)), replace=False)
        values = target.values.copy()
        count = len(target.names)
        values[wrong] = (values[wrong] + random.integers(1, count, len(wrong))) % count
        changed = Target(target.name, "class", values, target.names)
        table = suspicious_labels(images, changed, cast(Encoder, kept), seed=seed)
        listed = np.array(table["row_id"].to_pylist())
        hits = np.isin(listed, images.row_ids[wrong])
        first = hits[: len(wrong)]
        found.append((len(listed), hits.mean(), hits.sum() / len(wrong), first.mean()))
    means = np.mean(found, axis=0)
    print(
        f"{images.name}: {len(rows):,} train labels, {len(wrong):,} made wrong, {given.seeds} seeds"
    )
    print("| listed | precision, % | recall, % | precision of the first, % |")
    print("| --- | --- | --- | --- |")
    print(f"| {means[0]:.0f} | " + " | ".join(f"{100 * v:.0f}" for v in means[1:]) + " |")


if __name__ == "__main__":
    main()
