"""A training step on a GPU: images per second, memory, and its share of the model alone.

    .venv/bin/python benchmarks/gpu.py [--out gpu.json]        # on a CUDA GPU; minutes
    .venv/bin/python benchmarks/gpu.py --device cpu --tiny     # that it runs: small sizes

* SimCLR, ResNet-18 at 32 px with batches of 256, 512 and 1,024, ResNet-50 at 224 px: the whole step
  (loader, views, model, loss, optimizer) beside the model alone (forward and backward on views that
  are ready), compiled and not.
* The same step with lightly's loss in place of selfsight's, where lightly is installed.
* The step of every method at 32 px.

Times are by events on the device over `--steps` steps after a warm-up; medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from measuring import machine
from torch import Tensor
from training_step import OurStep, noise_images

from selfsight.methods import METHODS
from selfsight.methods import simclr as simclr_file


@dataclass(frozen=True)
class Record:
    """One line of the report."""

    case: str
    images_per_second: float
    mib: float
    share_of_model: float | None = None


def timed(step: Callable[[], None], batch: int, args: argparse.Namespace) -> tuple[float, float]:
    """Images per second, and the peak of the device's memory in MiB."""
    cuda = args.device == "cuda"
    for _ in range(args.warmup):
        step()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    rounds = []
    for _ in range(args.rounds):
        began = time.perf_counter()
        for _ in range(args.steps):
            step()
        if cuda:
            torch.cuda.synchronize()
        rounds.append((time.perf_counter() - began) / args.steps)
    mib = torch.cuda.max_memory_allocated() / 2**20 if cuda else 0.0
    return batch / statistics.median(rounds), mib


def model_alone(step: OurStep) -> Callable[[], None]:
    """Forward and backward of the backbone on views that are ready: the bound of the step."""
    backbone = step.method.backbone
    views = torch.cat(step._views(next(step.batches)))

    def run() -> None:
        for parameter in backbone.parameters():
            parameter.grad = None
        backbone(views).sum().backward()

    return run


def with_loss(step: OurStep, loss: Callable[..., Tensor]) -> Callable[[], None]:
    def run() -> None:
        before, simclr_file.nt_xent_loss = simclr_file.nt_xent_loss, loss
        try:
            step()
        finally:
            simclr_file.nt_xent_loss = before

    return run


def lightlys() -> Callable[..., Tensor] | None:
    try:
        from peers import import_lightly

        import_lightly()
        from lightly.loss import NTXentLoss
    except ImportError:
        return None
    return lambda first, second, temperature: NTXentLoss(temperature)(first, second)


def make(args: argparse.Namespace, method: str, side: int, **changes: Any) -> OurStep:
    batch = changes["batch_size"]
    images = noise_images(2 * batch, side)
    return OurStep(images, method, device=args.device, **changes)


def measure(args: argparse.Namespace) -> list[Record]:
    records: list[Record] = []

    def add(case: str, step: Callable[[], None], batch: int, bound: float | None = None) -> float:
        if args.device == "cuda":
            torch.cuda.empty_cache()
        speed, mib = timed(step, batch, args)
        records.append(Record(case, speed, mib, speed / bound if bound else None))
        share = f", {speed / bound:.0%} of the model alone" if bound else ""
        print(f"{case}: {speed:,.0f} images/s, {mib:,.0f} MiB{share}", flush=True)
        return speed

    theirs = lightlys()
    cases = [("resnet18", 32, batch) for batch in (256, 512, 1024)] + [("resnet50", 224, 128)]
    if args.tiny:
        cases = [("resnet18", 16, 8), ("resnet50", 32, 4)]
    for backbone, side, batch in cases:
        for compiled in args.compile:
            torch._dynamo.reset()
            step = make(args, "simclr", side, batch_size=batch, backbone=backbone, compile=compiled)
            name = f"simclr {backbone} {side} px batch {batch}, compile {compiled}"
            bound = add(f"{name}, model alone", model_alone(step), batch)
            add(name, step, batch, bound)
            if theirs is not None and compiled == "off":
                add(f"{name}, lightly's loss", with_loss(step, theirs), batch, bound)
            del step
    side, batch = (16, 8) if args.tiny else (32, 256)
    for method in METHODS:
        if "labels" in METHODS[method].needs:
            continue
        step = make(args, method, side, batch_size=batch, backbone="resnet18", compile="off")
        add(f"{method} resnet18 {side} px batch {batch}", step, batch)
        del step
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that it runs")
    parser.add_argument("--compile", nargs="+", choices=["on", "off"], default=["off", "on"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no CUDA GPU here; --device cpu --tiny shows that this runs.")
    print(machine())
    records = measure(args)
    if args.out:
        text = {"machine": machine(), "records": [asdict(record) for record in records]}
        args.out.write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
