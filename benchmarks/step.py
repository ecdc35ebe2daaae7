"""A whole SimCLR training step, images per second, beside lightly's example script.

    .venv-bench/bin/python benchmarks/step.py [--backbones resnet20 resnet18] [--workers 2]

selfsight as it chooses for itself (`auto`) and in fp32, with its views and on views that were
ready; lightly's loop as its example has it (fp32) and with bf16 autocast and channels_last. Each in
a process of its own, in turn. `--clock cpu` counts processor time and takes no workers: for a
machine that is shared.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from measuring import Line, in_turn, keep, serve
from peers import import_lightly
from training_step import OurStep, TheirStep, noise_images

import_lightly()

TARGETS = {"resnet20": (2.8, None), "resnet18": (2.0, 0.95)}
STEPS = {"resnet20": 4}
"""Of one turn, where a step is short."""
PROCESSES = {"resnet20": 3}
"""Of each contestant, one after the other: how fast a process is differs by some percent."""
OURS: dict[str, dict[str, Any]] = {
    "auto": {},
    "auto, ready views": {"ready": True},
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
}
THEIRS = {"lightly": False, "lightly, bf16 and channels_last": True}


def contestant(name: str, backbone: str, args: argparse.Namespace) -> Callable[[], Any]:
    """One training, to be called turn by turn."""
    images = noise_images(4 * args.batch_size, args.side)
    batch = args.batch_size
    step: Callable[[], None]
    if name in OURS:
        step = OurStep(images, "simclr", backbone=backbone, batch_size=batch, **OURS[name])
    else:
        step = TheirStep(images, backbone, batch, args.workers, fair=THEIRS[name])

    def turn() -> None:
        for _ in range(STEPS.get(backbone, 1)):
            step()

    return turn


def compare(backbone: str, args: argparse.Namespace) -> list[Line]:
    asked = [f"--batch-size={args.batch_size}", f"--side={args.side}", f"--workers={args.workers}"]
    asked += [f"--threads={args.threads}", f"--backbones={backbone}"]
    jobs = {name: [__file__, *asked, "--serve", name] for name in (*OURS, *THEIRS)}
    each = [in_turn(jobs, args.rounds) for _ in range(PROCESSES.get(backbone, 1))]
    steps = STEPS.get(backbone, 1)
    seconds = {
        name: statistics.median(getattr(taken[name], args.clock) for taken in each) / steps
        for name in jobs
    }
    speed = {name: f"{args.batch_size / each:.0f} images/s" for name, each in seconds.items()}
    shipped, equal = TARGETS.get(backbone, (None, None))
    with_workers = f", {args.workers} workers"
    pairs = [
        ("auto", "auto", "lightly", shipped),
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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--serve", choices=[*OURS, *THEIRS], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.clock == "cpu":
        args.threads, args.workers = 1, 0
    torch.set_num_threads(args.threads)
    if args.serve:
        serve(contestant(args.serve, args.backbones[0], args))
        return
    keep("step", [line for backbone in args.backbones for line in compare(backbone, args)])


if __name__ == "__main__":
    main()
