"""Does bf16 cost accuracy? Paired trainings that differ in nothing but their precision.

    .venv/bin/python benchmarks/precision.py [--data ../shared/data/cifar10] [--out runs/precision]

fp32; the backbone in bf16 with head and loss in fp32 (what selfsight calls bf16); everything in
bf16. One training for each seed and precision, the same images, order and views in each; what is
compared is kNN (k 200) on test. Resumable: a training that is done is not made again, one that was
stopped goes on. Decides the default: bf16 where the lower end of the interval of the paired
difference is above minus the margin of one point.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student_t
from torch import Tensor, nn

from selfsight.data.imageset import ImageSet, choose_target
from selfsight.data.request import open_images
from selfsight.measures import knn_predict
from selfsight.method import Batch, Method, Output
from selfsight.methods import METHODS
from selfsight.networks.backbones import Backbone
from selfsight.runs.run import Run
from selfsight.training import pretrain as verb
from selfsight.training.plan import Plan
from selfsight.training.settings import Pretrain
from selfsight.views.apply import whole_frame

PRECISIONS = ("fp32", "bf16 backbone", "all bf16")
MARGIN = 1.0


class AllBf16(nn.Module):
    """A method whose head and loss run under autocast too: what selfsight does not do."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    @property
    def backbone(self) -> Backbone:
        return self.method.backbone

    def forward(self, batch: Batch) -> Output:
        module = sys.modules[type(self.method).__module__]
        losses = {name: loss for name, loss in vars(module).items() if name.endswith("_loss")}
        for name, loss in losses.items():  # the form that leaves no autocast region
            setattr(module, name, getattr(loss, "__wrapped__", loss))
        try:
            with torch.autocast(batch.views[0].device.type, torch.bfloat16):
                return self.method(batch)
        finally:
            for name, loss in losses.items():
                setattr(module, name, loss)

    def after_step(self, progress: Tensor) -> None:
        self.method.after_step(progress)


def settings(args: argparse.Namespace, precision: str, seed: int, out: Path) -> Pretrain:
    base = Pretrain.model_validate({"method": args.method, "data": args.data})
    return base.updated(
        {
            "out": str(out),
            "limit": args.images,
            "seed": seed,
            "epochs": args.epochs,
            "backbone": args.backbone,
            "network.depths": tuple(args.depths) if args.depths else None,
            "batch_size": args.batch_size,
            "precision": "fp32" if precision == "fp32" else "bf16",
            "monitor_images": 0,
            "checkpoint_steps": 10,
        }
    )


def train(args: argparse.Namespace, precision: str, seed: int, images: ImageSet) -> Run:
    folder = Path(args.out) / f"{precision.replace(' ', '-')}-{seed}"
    wanted = settings(args, precision, seed, folder)
    if precision != "all bf16":
        return verb.pretrain(wanted, images)
    build = verb.build

    def wrapped(plan: Plan) -> Method:
        return AllBf16(build(plan))  # type: ignore[return-value]

    verb.build = wrapped
    try:
        return verb.pretrain(wanted, images)
    finally:
        verb.build = build


@torch.no_grad()
def accuracy(run: Run, images: ImageSet, bank: int) -> float:
    """kNN of all test images on ``bank`` train images, in fp32, percent."""
    backbone = run.backbone().eval()
    backbone.bf16 = False
    target = choose_target(images, None)
    made = []
    for rows in (images.rows("train")[:bank], images.rows("test")):
        parts = []
        for some in np.array_split(rows, max(1, len(rows) // 500)):
            pixels = torch.from_numpy(np.asarray(images.pixels[some])).permute(0, 3, 1, 2)
            parts.append(backbone(whole_frame(pixels, run.statistics)))
        made.append((torch.cat(parts), torch.from_numpy(target.values[rows])))
    (x, y), (queries, wanted) = made
    found = knn_predict(x, y, queries, num_classes=len(target.names)).argmax(1)
    return 100 * float((found == wanted).double().mean())


def interval(differences: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval of paired differences, by Student's t over the seeds."""
    mean = statistics.mean(differences)
    if len(differences) < 2:
        return mean, -math.inf, math.inf
    spread = statistics.stdev(differences) / math.sqrt(len(differences))
    half = float(student_t.ppf(0.975, len(differences) - 1)) * spread
    return mean, mean - half, mean + half


def report(found: dict[str, dict[str, float]], seeds: list[int]) -> None:
    print("\n| precision | " + " | ".join(f"seed {seed}" for seed in seeds), end=" | ")
    print("difference to fp32 (95 %) | verdict |\n" + "| --- " * (len(seeds) + 3) + "|")
    for precision in PRECISIONS:
        values = [found.get(f"{precision}-{seed}", {}).get("accuracy") for seed in seeds]
        cells = ["" if value is None else f"{value:.2f} %" for value in values]
        said, verdict = "", ""
        base = [found.get(f"fp32-{seed}", {}).get("accuracy") for seed in seeds]
        pairs = [b - a for a, b in zip(base, values, strict=True) if None not in (a, b)]
        if precision != "fp32" and pairs:
            mean, low, high = interval(pairs)
            said = f"{mean:+.2f} ({low:+.2f} to {high:+.2f}) points"
            verdict = "costs nothing within the margin" if low > -MARGIN else "inconclusive: fp32"
            verdict = "costs accuracy" if high < 0 and low <= -MARGIN else verdict
        print(f"| {precision} | " + " | ".join(cells) + f" | {said} | {verdict} |")
    print(f"\nMargin: {MARGIN:g} point. Pairs share seed, images, order and views.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="../shared/data/cifar10")
    parser.add_argument("--out", default="runs/precision")
    parser.add_argument("--method", choices=list(METHODS), default="simclr")
    parser.add_argument("--backbone", default="resnet20")
    parser.add_argument("--depths", type=int, nargs="+", help="blocks of each stage")
    parser.add_argument("--images", type=int, default=5000, help="train, validation and test")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    args = parser.parse_args()
    images = open_images(args.data, limit=args.images)
    path = Path(args.out) / "precision.json"
    found: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.is_file() else {}
    for seed in args.seeds:
        for precision in args.precisions:
            name = f"{precision}-{seed}"
            if name in found:
                continue
            began = time.monotonic()
            run = train(args, precision, seed, images)
            found[name] = {
                "accuracy": accuracy(run, images, bank=args.images),
                "seconds": time.monotonic() - began,
            }
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{name}: {found[name]['accuracy']:.2f} %", flush=True)
    report(found, args.seeds)


if __name__ == "__main__":
    main()
