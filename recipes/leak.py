"""What a leak is worth: circuit boards split as published, and split by board.

    python recipes/leak.py ../shared/data/deeppcb --out runs/leak

DeepPCB's `official_split` has tiles of one board on both sides; the split of the files keeps boards
whole. The same training (supervised, from scratch, on as many images) is made on each, a linear
probe is fitted on the frozen backbone with the labels that the training read, and mean average
precision is read

* on the test side of each split, as one would report it;
* on the tiles that are in both test sides, paired: the same images, with and without tiles of
  their boards in training.

Intervals are over test boards and seeds. A training or a row that is there is not made again: the
same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.data.request import open_images
from selfsight.evaluation.intervals import Interval
from selfsight.evaluation.resampling import Resampling
from selfsight.evaluation.summary import difference_interval, score_interval
from selfsight.files import read_json, write_json, write_text
from selfsight.fitting.folds import groups_of
from selfsight.fitting.labelled import Subset
from selfsight.fitting.probes import PROBES
from selfsight.fitting.representations import Representations, represent
from selfsight.fitting.scores import score
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import Pretrain
from selfsight.vocabulary import headline

TARGET = "labels"
SPLITS = {"official_split": "official_split", "by board": None}
"""Name of a split -> the column that gives it; None: the files of the set."""
NETWORK = {"backbone": "resnet20", "network.widths": (16, 32, 64), "network.depths": (1, 1, 1)}


def images_of(data: Path, column: str | None, side: int, limit: int) -> ImageSet:
    return open_images(data, target=TARGET, split_column=column, image_size=side, limit=limit)


def output_on_test(
    images: ImageSet, data: Path, out: Path, column: str | None, seed: int, epochs: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], Any]:
    """Rows of test, the probe's probabilities ``(M, K)`` and its thresholds."""
    base = Pretrain.model_validate({"method": "supervised", "data": str(data)})
    settings = base.updated(
        {
            "target": TARGET,
            "split_column": column,
            "allow_leaks": True,
            "image_size": images.height,
            "epochs": epochs,
            "batch_size": 64,
            "seed": seed,
            "device": "cpu",
            "out": str(out),
            **NETWORK,
        }
    )
    run = pretrain(settings, images)
    rows = images.rows("train", "test")
    values = represent(run.backbone(), images, rows, run.statistics, device="cpu")
    found = Representations.of(values, rows, images.rows("train"))
    target = images.targets[TARGET]
    subset = Subset.drawn(images, target, images.rows("train"), 1.0, seed)
    fitted = PROBES["linear"](subset, found)
    test = images.rows("test")
    return test, fitted.predict(found.at(test)).float().numpy(), fitted.thresholds


def scores(
    images: ImageSet, rows: NDArray[np.int64], output: NDArray[np.float32], thresholds: Any
) -> list[float]:
    """Mean average precision, and on resampled test splits, by boards."""
    weights = Resampling.of(groups_of(images.groups, rows)).weights
    values = score(images.targets[TARGET], output, rows, weights, thresholds)
    return [float(value) for value in values[headline("labels"), None]]


def measure(data: Path, out: Path, seeds: int, epochs: int, side: int, limit: int) -> None:
    """Writes a row for each seed that has none."""
    opened: dict[str, ImageSet] = {}
    for seed in range(seeds):
        path = out / "rows" / f"{seed}.json"
        if path.is_file():
            continue
        row: dict[str, Any] = {}
        outputs: dict[str, tuple[dict[str, int], NDArray[np.float32], Any]] = {}
        for name, column in SPLITS.items():
            if name not in opened:
                opened[name] = images_of(data, column, side, limit)
            images = opened[name]
            folder = out / f"{name.replace(' ', '-')}-{seed}"
            test, output, thresholds = output_on_test(images, data, folder, column, seed, epochs)
            row[name] = scores(images, test, output, thresholds)
            row[f"{name}: images"] = [len(images.rows("train")), len(test)]
            row[f"{name}: boards"] = len(np.unique(groups_of(images.groups, test)))
            places = {str(row_id): i for i, row_id in enumerate(images.row_ids[test])}
            outputs[name] = places, output, thresholds
        first, second = outputs.values()
        images = opened["by board"]
        test = images.rows("test")
        both = test[[str(row_id) in first[0] for row_id in images.row_ids[test]]]
        ids = images.row_ids[both].tolist()
        for name, (places, output, thresholds) in zip(SPLITS, (first, second), strict=True):
            shared = output[[places[row_id] for row_id in ids]]
            row[f"{name}, shared test"] = scores(images, both, shared, thresholds)
        row["shared: images"] = len(both)
        row["shared: boards"] = len(np.unique(groups_of(images.groups, both)))
        write_json(path, row)
        print(f"seed {seed}: " + ", ".join(f"{name} {row[name][0]:.3f}" for name in SPLITS))


def of_seeds(rows: list[dict[str, Any]], name: str) -> NDArray[np.float64]:
    """``(S, 1, 1 + B)``: a training seed after another, one label draw."""
    return np.array([row[name] for row in rows])[:, None]


def points(value: Interval, sign: str = "") -> str:
    half = "no interval" if value.half is None else f"± {100 * value.half:.1f}"
    return f"{100 * value.mean:{sign}.1f} {half}"


def table(out: Path) -> str:
    """The two numbers and the paired difference, in Markdown."""
    rows = [read_json(path) for path in sorted((out / "rows").glob("*.json"))]
    lines = ["| split | trained on | tested on | mAP | on the tiles in both tests |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for name in SPLITS:
        boards, shared = rows[0][f"{name}: boards"], rows[0]["shared: boards"]
        train, test = rows[0][f"{name}: images"]
        own = score_interval("mAP", of_seeds(rows, name), Resampling.counted(boards, test))
        both = rows[0]["shared: images"]
        same = score_interval(
            "mAP", of_seeds(rows, f"{name}, shared test"), Resampling.counted(shared, both)
        )
        cells = [name, f"{train:,}", f"{test:,} of {boards} boards"]
        cells += [points(v) for v in (own, same)]
        lines.append("| " + " | ".join(cells) + " |")
    leak, clean = (of_seeds(rows, f"{name}, shared test") for name in SPLITS)
    shared = Resampling.counted(rows[0]["shared: boards"], rows[0]["shared: images"])
    apart = difference_interval("mAP", leak, clean, shared)
    lines.append(
        f"\nOn the {rows[0]['shared: images']:,} tiles of {rows[0]['shared: boards']} boards that "
        f"both tests hold, the leak is worth {points(apart, sign='+')} "
        f"points ({len(rows)} seed{'s' * (len(rows) > 1)}; {apart.verdict()})."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data/deeppcb"))
    parser.add_argument("--out", type=Path, default=Path("runs/leak"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--limit", type=int, default=2000)
    given = parser.parse_args()
    out = given.out / f"{given.epochs}-epochs-{given.side}-px-{given.limit}"
    measure(given.data, out, given.seeds, given.epochs, given.side, given.limit)
    text = table(out)
    write_text(out / "table.md", text + "\n")
    print(f"\n{text}")


if __name__ == "__main__":
    main()
