"""Steps with an anchor and rates by layer in two processes beside one, in float64.

``python pulled.py`` prints as JSON the relative difference of the weights after four steps: with
the anchor in both trainings, and, as a control, with it in one of them alone.
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
from two_processes import ROWS, batch_of, leave, method_of

sys.path.pop(0)

from selfsight.distributed import with_global_statistics
from selfsight.method import Method, Optimizer
from selfsight.training.optimizers import add_pull, build_optimizer

RATES = Optimizer(name="sgd", lr=0.02, base_batch_size=None, layer_decay=0.6)


def trained(method: Method, module: torch.nn.Module, first: int, last: int, pull: float) -> Tensor:
    weights = list(method.backbone.parameters())
    start = [weight.detach().clone() for weight in weights]
    optimizer = build_optimizer(RATES, method, ROWS)
    for _ in range(4):
        optimizer.zero_grad()
        module(batch_of("simclr", first, last)).losses["loss"].backward()
        add_pull(weights, start, pull)
        optimizer.step()
    return torch.cat([weight.detach().flatten() for weight in method.parameters()])


def worker(rank: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", RANK=str(rank), WORLD_SIZE="2")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    share = ROWS // 2
    method = method_of("simclr")
    with_global_statistics(method)
    module = DistributedDataParallel(method)
    weights = trained(method, module, rank * share, rank * share + share, 5.0)
    if rank == 0:
        torch.save(weights, f"{folder}/weights.pt")
    leave()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(worker, (folder,), nprocs=2)
        two = torch.load(f"{folder}/weights.pt")
    answer = {}
    for name, pull in (("anchor", 5.0), ("control", 0.0)):
        method = method_of("simclr")
        one = trained(method, method, 0, ROWS, pull)
        answer[name] = float((one - two).norm() / two.norm())
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
