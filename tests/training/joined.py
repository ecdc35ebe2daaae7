"""Methods joined with labels, in float64; as a script, two processes beside one.

``python joined.py`` prints relative differences for each of `CASES` as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).parents[1] / "methods"))
from two_processes import ROWS, SIDE, batch_of, difference, leave, measured, method_of

sys.path.pop(0)

from selfsight.data.imageset import TargetKind, TargetSpec
from selfsight.distributed import with_global_statistics
from selfsight.method import Batch
from selfsight.training import supervision
from selfsight.training.supervision import Supervision, WithLabels

CASES: dict[str, tuple[str, TargetKind, Supervision, bool]] = {
    "class": ("simclr", "class", Supervision(weight=0.7, correlation=0.3), False),
    "supcon": (
        "dino",
        "class",
        Supervision(weight=0.7, correlation=0.3, correlation_kind="supcon"),
        False,
    ),
    "labels": ("barlow_twins", "labels", Supervision(weight=0.7, correlation=0.3), True),
    "supcon of labels": (
        "vicreg",
        "labels",
        Supervision(correlation=0.3, correlation_kind="supcon"),
        False,
    ),
    "number": ("vicreg", "number", Supervision(weight=0.7), True),
}
"""Name -> method, kind of target, settings, whether labels are read off the whole frame."""


def targets_of(kind: TargetKind) -> Tensor:
    """Of the fixed batch: some unknown, most of them in the second half."""
    generator = torch.Generator().manual_seed(5)
    unknown = torch.rand(ROWS, generator=generator) < torch.linspace(0.1, 0.8, ROWS)
    if kind == "class":
        classes = torch.randint(0, 3, (ROWS,), generator=generator)
        return classes.masked_fill(unknown, -1)
    values = torch.randn(ROWS, 3, generator=generator, dtype=torch.float64)
    if kind == "labels":
        values = (values > 0).double()
    unknowns = unknown[:, None] & (torch.rand(ROWS, 3, generator=generator) < 0.8)
    return values.masked_fill(unknowns, torch.nan)


def joined_of(case: str) -> WithLabels:
    name, kind, settings, whole = CASES[case]
    method = method_of(name)
    spec = TargetSpec("target", kind, tuple("abc"))
    torch.manual_seed(3)
    return WithLabels(method, settings, spec, whole_frame=whole).double()


def joined_batch(case: str, first: int, last: int) -> Batch:
    name, kind, _, whole = CASES[case]
    batch = batch_of(name, first, last)
    batch.targets = targets_of(kind)[first:last]
    if whole:
        generator = torch.Generator().manual_seed(6)
        frames = torch.randn(ROWS, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
        batch.views = [*batch.views, frames[first:last]]
    return batch


def mean_of_this_process(values: Tensor, known: Tensor) -> Tensor:
    """What a careless mean over known entries would be."""
    kept = torch.where(known, values, torch.zeros_like(values))
    return kept.sum() / known.sum().clamp_min(1)


def worker(rank: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", RANK=str(rank), WORLD_SIZE="2")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    share = ROWS // 2
    right = supervision.mean_over_known
    for control in (False, True):
        supervision.mean_over_known = mean_of_this_process if control else right
        for case in CASES:
            method = joined_of(case)
            with_global_statistics(method)
            batch = joined_batch(case, rank * share, rank * share + share)
            found = measured(method, DistributedDataParallel(method), batch)
            if rank == 0:
                torch.save(found, f"{folder}/{case}-{control}.pt")
    leave()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(worker, (folder,), nprocs=2)
        answer = {}
        for case in CASES:
            method = joined_of(case)
            one = measured(method, method, joined_batch(case, 0, ROWS))
            answer[case] = {
                label: difference(one, torch.load(f"{folder}/{case}-{control}.pt"))
                for label, control in (("global", False), ("control", True))
            }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
