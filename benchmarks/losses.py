"""Losses beside lightly's: the same numbers, the time and the memory of forward and backward.

    .venv-bench/bin/python benchmarks/losses.py [--agree] [--only barlow_twins] [--rounds 7]

Times are medians of interleaved rounds in one process, memory the growth of the peak resident set
in a process of its own. Ratios above 1 are in selfsight's favour.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from peers import import_lightly
from torch import Tensor

from selfsight.methods.barlow_twins import barlow_twins_loss
from selfsight.methods.dino import dino_loss
from selfsight.methods.simclr import nt_xent_loss
from selfsight.methods.vicreg import vicreg_loss

import_lightly()
from lightly.loss import BarlowTwinsLoss, DINOLoss, NTXentLoss, VICRegLoss  # noqa: E402

Loss = Callable[[list[Tensor]], Tensor]


@dataclass(frozen=True)
class Case:
    """One loss at one size: how the tensors look, and both makers."""

    name: str
    shape: tuple[int, int]
    views: int
    ours: Loss
    theirs: Loss


def dino_ours(views: list[Tensor]) -> Tensor:
    centre = torch.zeros(1, views[0].shape[1], dtype=views[0].dtype)
    return dino_loss(views, [view.detach() for view in views[:2]], centre, 0.1, 0.04)


def dino_theirs(views: list[Tensor]) -> Tensor:
    loss = DINOLoss(output_dim=views[0].shape[1]).to(views[0].dtype)
    return loss([view.detach() for view in views[:2]], views, teacher_temp=0.04)


OURS: dict[str, Loss] = {
    "nt_xent": lambda v: nt_xent_loss(v[0], v[1], 0.5),
    "barlow_twins": lambda v: barlow_twins_loss(v[0], v[1])["loss"],
    "vicreg": lambda v: vicreg_loss(v[0], v[1])["loss"],
    "dino": dino_ours,
}
THEIRS: dict[str, Loss] = {
    "nt_xent": lambda v: NTXentLoss(temperature=0.5)(v[0], v[1]),
    "barlow_twins": lambda v: BarlowTwinsLoss()(v[0], v[1]),
    "vicreg": lambda v: VICRegLoss()(v[0], v[1]),
    "dino": dino_theirs,
}
SIZES = {
    "barlow_twins": [(256, 8192), (512, 8192), (4096, 2048)],
    "vicreg": [(256, 8192), (4096, 2048)],
    "nt_xent": [(1024, 128), (4096, 128), (16384, 128)],
    "dino": [(64, 65536)],
}


def cases(only: str | None) -> list[Case]:
    return [
        Case(name, shape, 8 if name == "dino" else 2, OURS[name], THEIRS[name])
        for name, shapes in SIZES.items()
        for shape in shapes
        if only in (None, name)
    ]


def tensors(case: Case, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(*case.shape, generator=generator, dtype=dtype)
    return [
        (0.7 * base + 0.7 * torch.randn(*case.shape, generator=generator, dtype=dtype))
        .detach()
        .requires_grad_()
        for _ in range(case.views)
    ]


def step(loss: Loss, views: list[Tensor]) -> float:
    for view in views:
        view.grad = None
    began = time.perf_counter()
    loss(views).backward()
    return time.perf_counter() - began


def memory(side: str, number: int) -> float:
    """Growth of the peak resident set over one step, MiB, in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", side, str(number)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_memory(side: str, number: int) -> None:
    case = cases(None)[number]
    loss = case.ours if side == "ours" else case.theirs
    small = Case(case.name, (8, 16), case.views, case.ours, case.theirs)
    loss(tensors(small)).backward()  # what a first call loads is not the loss's
    views = tensors(case)
    for view in views:
        view.grad = torch.zeros_like(view)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = peak()
    loss(views).backward()
    print(max(peak() - before, 0.1))


def peak() -> float:
    """Peak resident set of this process, MiB (getrusage would tell its parent's)."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) / 1024


def agree() -> None:
    """Value and gradient at float64, and where the definitions differ."""
    print("| loss | value, relative difference | gradient | difference of definition |")
    print("| --- | --- | --- | --- |")
    why = {
        "nt_xent": "none",
        "barlow_twins": "none (both add 1e-5 to the biased variance)",
        "vicreg": "none",
        "dino": "none; lightly moves its centre inside the loss, selfsight in the method",
    }
    for name in OURS:
        case = Case(name, (48, 96), 5 if name == "dino" else 2, OURS[name], THEIRS[name])
        ours, theirs = tensors(case, torch.float64), tensors(case, torch.float64)
        a, b = case.ours(ours), case.theirs(theirs)
        a.backward()
        b.backward()
        value = float((a - b).detach().abs() / b.detach().abs())
        left = torch.cat([v.grad.flatten() for v in ours if v.grad is not None])
        right = torch.cat([v.grad.flatten() for v in theirs if v.grad is not None])
        gradient = float((left - right).norm() / right.norm())
        print(f"| {name} | {value:.1e} | {gradient:.1e} | {why[name]} |")


def compare(case: Case, rounds: int) -> str:
    number = [other.shape for other in cases(case.name)].index(case.shape)
    number += [other.name for other in cases(None)].index(case.name)
    used = memory("ours", number), memory("theirs", number)
    views = tensors(case)
    step(case.ours, views), step(case.theirs, views)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        times[0].append(step(case.ours, views))
        times[1].append(step(case.theirs, views))
    ours, theirs = (statistics.median(t) for t in times)
    size = f"{case.shape[0]} x {case.shape[1]}" + f", {case.views} views" * (case.views > 2)
    return (
        f"| {case.name} | {size} | {theirs / ours:.1f}x | {used[1] / used[0]:.1f}x | "
        f"{1000 * ours:.1f} ms, {used[0]:.0f} MiB | {1000 * theirs:.1f} ms, {used[1]:.0f} MiB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agree", action="store_true", help="only compare the numbers")
    parser.add_argument("--only", choices=SIZES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print_memory(options.memory_of[0], int(options.memory_of[1]))
        return
    agree()
    if options.agree:
        return
    print(f"\ntorch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| loss | batch x width | faster | less memory | selfsight | lightly |")
    print("| --- | --- | --- | --- | --- | --- |")
    for case in cases(options.only):
        print(compare(case, options.rounds), flush=True)


if __name__ == "__main__":
    main()
