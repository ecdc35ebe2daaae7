"""Several processes of one training: as many as the settings say, and one after its end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any

import torch.distributed as dist

from selfsight.console import counted, first_process
from selfsight.training.settings import Pretrain


def check_processes(settings: Pretrain) -> None:
    """Compares the processes that a launcher has started with the settings.

    Raises:
        ValueError: they differ; each process would be a training of its own in one folder.
    """
    started, on_each = _started()
    wanted = settings.devices * settings.nodes
    if started not in (1, wanted):
        raise ValueError(
            f"{counted(started, 'process was', 'processes were')} started and the settings "
            f"ask for {wanted}: give --devices "
            f"{on_each} --nodes {started // on_each}, or start one process."
        )


def _started() -> tuple[int, int]:
    """Processes that `torchrun` or `srun` has started, and how many of them on each machine."""
    environment = os.environ
    if world := int(environment.get("WORLD_SIZE") or 0):
        return world, min(world, int(environment.get("LOCAL_WORLD_SIZE") or world))
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS") or 1)
    machines = int(environment.get("SLURM_STEP_NUM_NODES") or 1)
    return tasks, max(1, tasks // machines)


def only_the_first_process() -> None:
    """Ends all processes of a training but the first: what comes after it happens once.

    Raises:
        SystemExit: in the others, with code 0.
    """
    if not first_process():
        if dist.is_initialized():
            dist.destroy_process_group()
        raise SystemExit(0)


GRACE = 30.0
"""Seconds in which a process must notice that another one is gone, before it is killed."""


def watch_children(children: Sequence[subprocess.Popen[Any]]) -> None:
    """Ends this process, the first one, where one that it started dies.

    Lightning's own observer kills it within five seconds, without a word. Where the processes
    exchange tensors at that moment the error ends it earlier, with a sentence; a process that
    waits for a GPU is told nothing.
    """
    threading.Thread(target=_watch, args=(list(children),), daemon=True).start()


def _watch(children: list[subprocess.Popen[Any]]) -> None:
    while not any(child.poll() for child in children):
        if all(child.poll() == 0 for child in children):
            return
        time.sleep(0.5)
    codes = [code for child in children if (code := child.poll())]
    if all(code > 128 for code in codes):  # a signal that all of them answer
        return
    number = codes[0]
    how = f"killed by {signal.Signals(-number).name}" if number < 0 else f"exit code {number}"
    text = (
        f"selfsight: Another process of this training has ended ({how}). This one stops too; the "
        "same command goes on from the last checkpoint.\n"
    )
    os.write(2, text.encode())
    time.sleep(GRACE)
    for child in children:
        child.kill()
    os.kill(os.getpid(), signal.SIGKILL)
