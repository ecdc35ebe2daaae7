"""Losses beside lightly's: the same numbers, the time and the memory of forward and backward.

    .venv-bench/bin/python benchmarks/losses.py [--agree] [--only barlow_twins] [--rounds 5]

lightly's losses run at their defaults, and a second time under bf16 autocast; selfsight's are fp32
in both lines. Each case has a process of its own, so that none finds the allocator as a larger one
left it. Whether a step of milliseconds meets fresh pages is chance, and stays so in a process:
such a case has several, and the medians are over them. Memory is the growth of the peak resident
set over forward and backward.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from measuring import Line, apart, interleaved, keep, peak, restart_peak
from peers import import_lightly
from torch import Tensor

from selfsight.losses.barlow_twins import barlow_twins_loss
from selfsight.losses.dino import dino_loss
from selfsight.losses.nt_xent import nt_xent_loss
from selfsight.losses.vicreg import vicreg_loss

import_lightly()
from lightly.loss import BarlowTwinsLoss, DINOLoss, NTXentLoss, VICRegLoss  # noqa: E402

Loss = Callable[[list[Tensor]], Tensor]


@dataclass(frozen=True)
class Case:
    """One loss at one size.

    Attributes:
        name: of the loss.
        shape: batch and width of each view's embeddings.
        faster: smallest ratio of times wanted.
        less: smallest ratio of memory wanted.
        room: GiB that lightly's needs; where less is free, it is not run.
        rounds: that are counted.
        processes: that each run so many.
    """

    name: str
    shape: tuple[int, int]
    faster: float | None
    less: float | None
    room: float = 0.0
    rounds: int = 5
    processes: int = 1

    @property
    def views(self) -> int:
        return 8 if self.name == "dino" else 2

    @property
    def said(self) -> str:
        unit = " pairs" if self.name == "nt_xent" else ""
        crops = ", 2 + 6 crops" if self.name == "dino" else ""
        return f"{self.shape[0]:,}{unit} x {self.shape[1]:,}{crops}"


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
CASES = (
    Case("barlow_twins", (256, 8192), 40, 20),
    Case("barlow_twins", (512, 8192), 15, 10),
    Case("barlow_twins", (4096, 2048), 0.95, None),
    Case("vicreg", (256, 8192), 100, 50),
    Case("vicreg", (4096, 2048), 1.6, 1.6),
    Case("nt_xent", (1024, 128), 3.5, 15, rounds=15, processes=7),
    Case("nt_xent", (4096, 128), 7, 70),
    Case("nt_xent", (16384, 128), 12, 100, room=18.0, rounds=1),
    Case("dino", (64, 65536), 5, 2, processes=5),
)


def tensors(views: int, shape: tuple[int, int], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(*shape, generator=generator, dtype=dtype)
    return [
        (0.7 * base + 0.7 * torch.randn(*shape, generator=generator, dtype=dtype))
        .detach()
        .requires_grad_()
        for _ in range(views)
    ]


def step(loss: Loss, views: list[Tensor], bf16: bool = False) -> None:
    for view in views:
        view.grad = None
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        value = loss(views)
    value.backward()


def print_memory(side: str, number: int) -> None:
    """Growth of the peak resident set over one step, MiB."""
    case = CASES[number]
    loss = (OURS if side == "ours" else THEIRS)[case.name]
    loss(tensors(case.views, (8, 16))).backward()  # what a first call loads is not the loss's
    views = tensors(case.views, case.shape)
    for view in views:
        view.grad = torch.zeros_like(view)
    before = restart_peak()
    with torch.autocast("cpu", torch.bfloat16, enabled=side == "theirs_bf16"):
        value = loss(views)
    value.backward()
    print(max(peak() - before, 0.1))


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
        count = 5 if name == "dino" else 2
        ours, theirs = (tensors(count, (48, 96), torch.float64) for _ in range(2))
        a, b = OURS[name](ours), THEIRS[name](theirs)
        a.backward()
        b.backward()
        value = float((a - b).detach().abs() / b.detach().abs())
        left = torch.cat([v.grad.flatten() for v in ours if v.grad is not None])
        right = torch.cat([v.grad.flatten() for v in theirs if v.grad is not None])
        gradient = float((left - right).norm() / right.norm())
        print(f"| {name} | {value:.1e} | {gradient:.1e} | {why[name]} |")


def print_seconds(case: Case, rounds: int) -> None:
    """Processor time of one step for each contestant, those that fit."""
    for loss in (OURS[case.name], THEIRS[case.name]):
        step(loss, tensors(case.views, (8, 16)))  # what a first call loads is not the loss's
    views = tensors(case.views, case.shape)
    jobs = {"ours": lambda: step(OURS[case.name], views)}
    if case.room <= available():
        jobs["theirs"] = lambda: step(THEIRS[case.name], views)
        jobs["theirs_bf16"] = lambda: step(THEIRS[case.name], views, bf16=True)
    taken = interleaved(jobs, rounds, warm=rounds > 1)
    print(json.dumps({name: seconds.cpu for name, seconds in taken.items()}))


def compare(case: Case, rounds: int | None) -> list[Line]:
    number = str(CASES.index(case))
    command = (__file__, "--seconds-of", number, str(rounds or case.rounds))
    each = [apart(*command) for _ in range(case.processes)]
    taken = {name: statistics.median(one[name] for one in each) for name in each[0]}
    used = {name: apart(__file__, "--memory-of", name, number) for name in taken}
    ours = f"{1000 * taken['ours']:.1f} ms, {used['ours']:.0f} MiB"
    what = f"{case.name} loss, forward and backward"
    if "theirs" not in taken:
        print(
            f"{case.name} {case.said}: selfsight {ours}; lightly's needs about {case.room:.0f} GiB,"
            f" {available():.0f} are free: not run.",
            flush=True,
        )
        return []
    lines = []
    for name, peer in (("theirs", "lightly"), ("theirs_bf16", "lightly, bf16 autocast")):
        wanted = name == "theirs"
        lines.append(
            Line(
                what,
                case.said,
                peer,
                taken[name] / taken["ours"],
                "cpu",
                case.faster if wanted else None,
                ours,
                f"{1000 * taken[name]:.1f} ms, {used[name]:.0f} MiB",
                used[name] / used["ours"],
                case.less if wanted else None,
            )
        )
        print(lines[-1].row(), flush=True)
    return lines


def available() -> float:
    """GiB that may be taken without driving others out."""
    (kilobytes,) = re.findall(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    return int(kilobytes) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agree", action="store_true", help="only compare the numbers")
    parser.add_argument("--only", nargs="*", choices=OURS)
    parser.add_argument("--rounds", type=int, help="of each case; its own number if not given")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--seconds-of", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory_of:
        print_memory(options.memory_of[0], int(options.memory_of[1]))
        return
    if options.seconds_of:
        print_seconds(CASES[options.seconds_of[0]], options.seconds_of[1])
        return
    agree()
    if options.agree:
        return
    lines: list[Line] = []
    for case in CASES:
        if not options.only or case.name in options.only:
            lines += compare(case, options.rounds)
    keep("losses", lines)


if __name__ == "__main__":
    main()
