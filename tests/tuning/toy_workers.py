"""Two workers on a study of a function, one of which ends in a way of its own.

Usage: ``python toy_workers.py FOLDER HOW``; in its second trial worker 1 is killed (``kill``),
leaves with the exit code 0 (``exit``), fails of what no trial may (``type``), or writes
``FOLDER/hangs`` and hangs (``hang``); with ``both`` both are killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import toy

from selfsight.cli import main as command
from selfsight.fitting.stopping import Look
from selfsight.stops import raising
from selfsight.tuning.study import Outcome, Search
from selfsight.tuning.workers import make_trials


class ToySearch(Search):
    folder: str
    how: str


@dataclass(kw_only=True)
class Ending(toy.Toy):
    """A process that ends in its second trial."""

    how: str
    made: int = 0

    def run(self, changes: Mapping[str, Any], look: Look, number: int) -> Outcome:
        self.made += 1
        time.sleep(0.2)
        last = multiprocessing.current_process().name.endswith("1")
        if self.made == 2 and (last or self.how == "both"):
            self.end()
        return super().run(changes, look, number)

    def end(self) -> None:
        if self.how in ("kill", "both"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "exit":
            raise SystemExit(0)
        if self.how == "type":
            raise TypeError("no trial fails of this")
        Path(self.folder, "hangs").write_text(str(os.getpid()))
        time.sleep(600)


def prepare(settings: ToySearch, images: Any = None) -> Ending:
    whole = vars(toy.problem(Path(settings.folder)))
    return Ending(**{**whole, "settings": settings, "first": None}, how=settings.how)


def run(settings: ToySearch) -> str:
    """Make the trials; why the study ended."""
    with raising():
        return make_trials(settings, prepare(settings), prepare)[1]


if __name__ == "__main__":
    from selfsight.verbs import VERBS, Verb

    VERBS["toy"] = Verb("toy", "", ToySearch, run, "Make the trials.")
    folder, how = sys.argv[1:]
    words = ["--folder", folder, "--how", how, "--workers", "2", "--trials", "8"]
    sys.exit(command(["toy", *words]))
