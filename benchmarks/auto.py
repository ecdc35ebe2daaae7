"""Whether "auto" picks what is fastest here: a training step as it chose, beside each other choice.

    .venv-bench/bin/python benchmarks/auto.py [--cases resnet20:32 resnet18:32 vit_tiny:64]

A ratio above 1 says that the step as chosen is faster; below 0.95 "auto" was wrong on this machine.
Precision, memory format, compilation and, on a GPU, where the images lie are changed one at a time.
"""

from __future__ import annotations

import argparse

import torch
from measuring import Line, interleaved, keep
from training_step import OurStep, noise_images

from selfsight.training.device import missing_compiler

OTHER = {
    "precision": {"fp32": "bf16", "bf16": "fp32"},
    "memory_format": {"channels_last": "contiguous", "contiguous": "channels_last"},
    "compile": {"on": "off", "off": "on"},
    "placement": {"device": "host", "host": "device"},
}


def alternatives(step: OurStep) -> dict[str, dict[str, str]]:
    """What else could have been chosen, by a name that a reader understands."""
    chosen = {name: getattr(step.settings, name) for name in OTHER}
    chosen["placement"] = "device" if step.plan.on_device else "host"
    if step.plan.device.type == "cpu":
        del chosen["placement"]
    if missing_compiler(step.plan.device):
        del chosen["compile"]
    others = {name: OTHER[name][value] for name, value in chosen.items()}
    return {f"{name} {value}": {name: value} for name, value in others.items()}


def compare(case: str, batch_size: int, rounds: int) -> list[Line]:
    backbone, side = case.split(":")
    images = noise_images(4 * batch_size, int(side))
    shape = {"backbone": backbone, "batch_size": batch_size}
    chosen = OurStep(images, **shape)
    jobs = {"auto": chosen}
    for name, changed in alternatives(chosen).items():
        jobs[name] = OurStep(images, **shape, **changed)
    taken = interleaved(jobs, rounds)
    picked = chosen.settings
    what = f"auto: {picked.precision}, {picked.memory_format}, compile {picked.compile}"
    speed = {name: f"{batch_size / each.wall:.0f} images/s" for name, each in taken.items()}
    lines = []
    for name in list(jobs)[1:]:
        ratio = taken[name].wall / taken["auto"].wall
        said = f"{backbone}, {side} px, batch {batch_size}"
        # The rule never takes bf16 for its speed alone.
        target = None if name == "precision bf16" else 0.95
        lines.append(Line(what, said, name, ratio, "wall", target, speed["auto"], speed[name]))
        print(lines[-1].row(), flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=["resnet20:32", "resnet18:32", "vit_tiny:64"])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep("auto", [line for c in args.cases for line in compare(c, args.batch_size, args.rounds)])


if __name__ == "__main__":
    main()
