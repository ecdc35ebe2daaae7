"""Several processes of one training: as many as the settings say, and one after its end."""

from __future__ import annotations

import os

import torch.distributed as dist

from selfsight.training.settings import Pretrain
from selfsight.training.trackers import first_process


def check_processes(settings: Pretrain) -> None:
    """Compares the processes that a launcher has started with the settings.

    Raises:
        ValueError: they differ; each process would be a training of its own in one folder.
    """
    started = int(os.environ.get("WORLD_SIZE") or 1)
    wanted = settings.devices * settings.nodes
    if started not in (1, wanted):
        nodes = max(1, started // int(os.environ.get("LOCAL_WORLD_SIZE") or started))
        raise ValueError(
            f"{started} processes were started and the settings ask for {wanted}: give --devices "
            f"{started // nodes} --nodes {nodes}, or start one process."
        )


def only_the_first_process() -> None:
    """Ends all processes of a training but the first: what comes after it happens once.

    Raises:
        SystemExit: in the others, with code 0.
    """
    if not first_process():
        if dist.is_initialized():
            dist.destroy_process_group()
        raise SystemExit(0)
