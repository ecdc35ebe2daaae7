"""How cost grows with the work: four figures under docs/images, and their numbers.

    .venv-bench/bin/python benchmarks/scaling.py [--only loss step side search] [--draw]

Loss memory against batch; step time against batch and against the side of the images; building a
nearest-neighbour index and asking it, and kNN, against the size of the set. Processor time of one
thread, the median of the rounds. `--draw` draws what was measured before.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import RESULTS, apart, interleaved, machine, peak, restart_peak
from training_step import OurStep, noise_images

from losses import OURS, THEIRS, tensors
from selfsight.kernels.memory_pages import give_pages_back
from selfsight.measures import knn_predict
from selfsight.neighbours.index import Index
from selfsight.networks.specs import Network

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
Series = dict[str, list[tuple[float, float]]]


def print_memory(side: str, pairs: int) -> None:
    """Growth of the peak resident set over one NT-Xent, MiB, in this process."""
    loss = (OURS if side == "selfsight" else THEIRS)["nt_xent"]
    loss(tensors(2, (8, 16))).backward()
    views = tensors(2, (pairs, 128))
    before = restart_peak()
    loss(views).backward()
    print(max(peak() - before, 0.1))


def of_loss(args: argparse.Namespace) -> Series:
    found: Series = {"selfsight": [], "lightly": []}
    for pairs in args.pairs:
        for side, points in found.items():
            if side == "lightly" and pairs > 4096:
                continue  # its memory grows with the square of the batch
            points.append((pairs, apart(__file__, "--memory-of", side, str(pairs))))
            print(f"loss memory, {pairs} pairs, {side}: {points[-1][1]:.1f} MiB", flush=True)
    return found


def seconds(jobs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    return {name: taken.cpu for name, taken in interleaved(jobs, rounds).items()}


def of_step(args: argparse.Namespace) -> Series:
    points = []
    for batch in args.batches:
        step = OurStep(noise_images(2 * batch, 32), batch_size=batch, backbone="resnet20")
        points.append((batch, 1000 * seconds({"step": step}, args.rounds)["step"]))
        print(f"step, batch {batch}: {points[-1][1]:.0f} ms", flush=True)
    give_pages_back()
    return {"ResNet-20, 32 px": points}


def of_side(args: argparse.Namespace) -> Series:
    points = []
    for side in args.sides:
        # One stem for all: by itself the network takes another one above 64 px.
        shape = {"backbone": "resnet18", "network": Network(stem="cifar"), "batch_size": 16}
        step = OurStep(noise_images(32, side), **shape)
        points.append((side, 1000 * seconds({"step": step}, args.rounds)["step"]))
        print(f"step, side {side}: {points[-1][1]:.0f} ms", flush=True)
    give_pages_back()  # the trainings above keep theirs; a search does not
    return {"ResNet-18, batch 16": points}


def of_search(args: argparse.Namespace) -> Series:
    names = ("kNN, 1,000 queries, k 200", "index, building", "index, 1,000 queries, k 10")
    found: Series = {name: [] for name in names}
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(1000, 512, generator=generator)
    for count in args.counts:
        bank = torch.randn(count, 512, generator=generator)
        labels, ids = torch.arange(count) % 10, np.arange(count).astype(str)
        index = Index.of(bank, ids)
        taken = seconds(
            {
                names[0]: lambda bank=bank, labels=labels: knn_predict(
                    bank, labels, queries, num_classes=10
                ),
                names[1]: lambda bank=bank, ids=ids: Index.of(bank, ids),
                names[2]: lambda index=index: index.nearest(queries, 10),
            },
            args.rounds,
        )
        for name, each in taken.items():
            found[name].append((count, 1000 * each))
            print(f"{name}, {count:,} rows: {1000 * each:.0f} ms", flush=True)
    return found


FIGURES: dict[str, tuple[Callable[[argparse.Namespace], Series], str, str, str]] = {
    "loss": (of_loss, "NT-Xent: memory", "pairs in the batch", "MiB"),
    "step": (of_step, "SimCLR: one step", "images in the batch", "ms"),
    "side": (of_side, "SimCLR: one step", "side of the images, px", "ms"),
    "search": (of_search, "Neighbours among N x 512", "images in the set", "ms"),
}


def draw(name: str, series: Series) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "selfsight"  # the same file from the same numbers
    from matplotlib import pyplot

    _, title, across, up = FIGURES[name]
    figure, axes = pyplot.subplots(figsize=(4.6, 3.2), layout="constrained")
    for label, points in series.items():
        axes.loglog(*zip(*points, strict=True), marker="o", label=label)
    ticks: Sequence[float] = sorted({x for points in series.values() for x, _ in points})
    axes.set_xticks(ticks, [f"{x:,.0f}" for x in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.set(title=title, xlabel=across, ylabel=up)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    IMAGES.mkdir(parents=True, exist_ok=True)
    path = IMAGES / f"scaling-{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    print(f"written: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--draw", action="store_true", help="only draw what was measured before")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--pairs", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096, 8192, 16384]
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128, 256, 512])
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 96, 128])
    parser.add_argument("--counts", type=int, nargs="+", default=[3000, 10_000, 30_000, 100_000])
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.memory_of:
        print_memory(args.memory_of[0], int(args.memory_of[1]))
        return
    path = RESULTS / "scaling.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for name in args.only:
        if not args.draw:
            kept[name] = FIGURES[name][0](args)
            kept["machine"] = machine()
            RESULTS.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(kept, indent=1) + "\n")
        draw(name, kept[name])


if __name__ == "__main__":
    main()
