"""Two gloo processes with half the batch each, beside one process with all of it, in float64.

Run as a script: ``python two_processes.py METHOD ...`` prints relative differences as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from selfsight.data.imageset import TargetSpec
from selfsight.distributed import with_global_statistics
from selfsight.draws import keys_of
from selfsight.method import Batch, Method
from selfsight.methods import METHODS
from selfsight.networks.architectures import build_backbone
from selfsight.networks.specs import Network, choose_backbone

SIDE, ROWS, CLASSES, PATCH = 12, 16, 3, 2


def method_of(name: str) -> Method:
    """A method with its own tiny settings, in float64, the same at each call."""
    kind = METHODS[name]
    if "tokens" in kind.needs:
        network = Network(widths=(32,), depths=(2,), patch_size=PATCH)
    else:
        network = Network(widths=(8, 16), depths=(1, 1), block="basic", stem="cifar")
    backbone_name = "vit_tiny" if "tokens" in kind.needs else "resnet18"
    spec = choose_backbone(backbone_name, network, 3, SIDE)
    backbone = build_backbone(spec, seed=0)
    target = TargetSpec("class", "class", tuple("abc"))
    torch.manual_seed(1)
    return kind(kind.example(), backbone, target).double()


def batch_of(name: str, first: int, last: int) -> Batch:
    """Rows of one fixed batch; a view's side is what the method asks for."""
    generator = torch.Generator().manual_seed(2)
    sides = [SIDE if view.size in (1.0, SIDE) else SIDE // 2 for view in METHODS[name].views]
    views = [
        torch.randn(ROWS, 3, side, side, generator=generator, dtype=torch.float64) for side in sides
    ]
    targets = torch.randint(0, CLASSES, (ROWS,), generator=generator)
    keys = keys_of(0, 3, torch.arange(ROWS))
    return Batch(
        [view[first:last] for view in views],
        targets[first:last],
        keys[first:last],
        torch.tensor(0.5),
    )


def measured(method: Method, module: torch.nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Loss, gradients and buffers after one forward and backward."""
    loss = module(batch).losses["loss"]
    loss.backward()
    gradients = [p.grad.flatten() for p in method.parameters() if p.grad is not None]
    buffers = [b.double().flatten() for b in method.buffers()]
    return {
        "loss": loss.detach(),
        "gradient": torch.cat(gradients),
        "buffers": torch.cat(buffers),
    }


def worker(rank: int, names: list[str], folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", RANK=str(rank), WORLD_SIZE="2")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    share = ROWS // 2
    for name in names:
        for control in (False, True):
            method = method_of(name)
            if not control:
                with_global_statistics(method)
            module = DistributedDataParallel(method)
            batch = batch_of(name, rank * share, rank * share + share)
            found = measured(method, module, batch)
            if rank == 0:
                torch.save(found, f"{folder}/{os.path.basename(name)}-{control}.pt")
    leave()


def leave() -> None:
    """The end of a worker: its files are written.

    Leaving through the interpreter's end aborted now and then ("terminate called without an active
    exception"): threads of torch that still run when their destructors do.
    """
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)


def difference(one: dict[str, Tensor], two: dict[str, Tensor]) -> dict[str, float]:
    return {
        key: float((one[key] - two[key]).norm() / one[key].norm().clamp_min(1e-300)) for key in one
    }


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(worker, (names, folder), nprocs=2)
        answer = {}
        for name in names:
            method = method_of(name)
            one = measured(method, method, batch_of(name, 0, ROWS))
            pairs = {
                label: torch.load(f"{folder}/{os.path.basename(name)}-{control}.pt")
                for label, control in (("global", False), ("control", True))
            }
            answer[name] = {label: difference(one, two) for label, two in pairs.items()}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
