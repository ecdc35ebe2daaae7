"""A whole SimCLR training step, images per second, beside lightly's example script.

    .venv-bench/bin/python benchmarks/step.py [--backbones resnet20 resnet18] [--workers 2]

selfsight as it chooses for itself (`auto`) and in fp32, with its views and on views that were
ready; lightly's loop as its example has it (fp32) and with bf16 autocast and channels_last.
`--clock cpu` counts processor time and takes no workers: for a machine that is shared.
"""

from __future__ import annotations

import argparse

import torch
from measuring import Line, interleaved, keep
from peers import import_lightly
from training_step import OurStep, TheirStep, noise_images

import_lightly()

TARGETS = {"resnet20": (2.8, None), "resnet18": (2.0, 0.95)}


def compare(backbone: str, args: argparse.Namespace) -> list[Line]:
    images = noise_images(4 * args.batch_size, args.side)
    shape = {"backbone": backbone, "batch_size": args.batch_size}
    workers = 0 if args.clock == "cpu" else args.workers
    asked: dict[str, dict[str, object]] = {
        "auto": {},
        "auto, ready views": {"ready": True},
        "fp32": {"precision": "fp32"},
        "bf16": {"precision": "bf16"},
    }
    jobs: dict[str, OurStep | TheirStep] = {
        name: OurStep(images, "simclr", **shape, **more) for name, more in asked.items()
    }
    picked = jobs["auto"].settings.precision
    for name, fair in (("lightly", False), ("lightly, bf16 and channels_last", True)):
        jobs[name] = TheirStep(images, backbone, args.batch_size, workers, fair=fair)
    taken = interleaved(jobs, args.rounds)
    seconds = {name: getattr(each, args.clock) for name, each in taken.items()}
    speed = {name: f"{args.batch_size / each:.0f} images/s" for name, each in seconds.items()}
    shipped, equal = TARGETS.get(backbone, (None, None))
    with_workers = f", {workers} workers"
    pairs = [
        (f"auto ({picked})", "auto", "lightly", shipped),
        ("fp32", "fp32", "lightly", None),
        ("bf16", "bf16", "lightly, bf16 and channels_last", equal),
        ("share of the step on ready views", "auto", "auto, ready views", 0.92),
    ]
    lines = []
    for word, ours, theirs, target in pairs:
        what = f"SimCLR step, {backbone}, {word}"
        case = f"{args.side} px, batch {args.batch_size}"
        peer = theirs + with_workers * theirs.startswith("lightly")
        faster = seconds[theirs] / seconds[ours]
        lines.append(Line(what, case, peer, faster, args.clock, target, speed[ours], speed[theirs]))
        print(lines[-1].row(), flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=["resnet20", "resnet18"])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    args = parser.parse_args()
    torch.set_num_threads(1 if args.clock == "cpu" else args.threads)
    keep("step", [line for backbone in args.backbones for line in compare(backbone, args)])


if __name__ == "__main__":
    main()
