"""Trains as the command line does, and kills itself on the way.

``killed.py '[["at_step", 7, ["pretrain", ...]], ...]'`` runs one process for each entry, forked
after the imports, and prints their exit codes as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from selfsight.cli import main
from selfsight.training import pretrain  # noqa: F401 (imported once, before the forks)
from selfsight.training.module import MethodModule


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_step(step: int) -> None:
    """Dies after the backward pass of a step, before its update."""
    plain = MethodModule.on_before_optimizer_step

    def hook(self: MethodModule, optimizer: Any) -> None:
        if self.step == step:
            die()
        plain(self, optimizer)

    MethodModule.on_before_optimizer_step = hook  # type: ignore[method-assign]


def asked(number: signal.Signals) -> Callable[[int], None]:
    """Gets a signal in the middle of a step."""

    def at(step: int) -> None:
        plain = MethodModule.on_before_optimizer_step

        def hook(self: MethodModule, optimizer: Any) -> None:
            if self.step == step:
                os.kill(os.getpid(), number)
            plain(self, optimizer)

        MethodModule.on_before_optimizer_step = hook  # type: ignore[method-assign]

    return at


def while_saving(count: int) -> None:
    """Dies with half of the n-th checkpoint on disk."""
    plain, seen = torch.save, []

    def save(value: Any, path: Any) -> None:
        plain(value, path)
        seen.append(path)
        if len(seen) == count:
            whole = Path(path).read_bytes()
            Path(path).write_bytes(whole[: len(whole) // 2])
            die()

    torch.save = save


def never(_: int) -> None:
    pass


WAYS = {
    "at_step": at_step,
    "while_saving": while_saving,
    "never": never,
    **{n.name: asked(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)},
}


if __name__ == "__main__":
    codes = []
    for how, when, words in json.loads(sys.argv[1]):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            WAYS[how](when)
            code = main(words)
            sys.stdout.flush()
            os._exit(code)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(json.dumps(codes))
