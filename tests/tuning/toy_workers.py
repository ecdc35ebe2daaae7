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
from pathlib import Path
from typing import Any, NamedTuple

from selfsight.cli import main as command
from selfsight.tuning import workers
from selfsight.tuning.plan import Plan
from selfsight.tuning.settings import Search
from selfsight.tuning.space import read_space

SPACE = read_space(["x=-1.0..1.0", "y=a,b"], {})


class Toy(Search):
    folder: str
    how: str


class Bench(NamedTuple):
    plan: Plan
    how: str
    notes: tuple[str, ...] = ()


def prepare(settings: Toy, images: Any = None) -> Bench:
    about = {"verb": "toy", "name": "square"}
    folder = Path(settings.folder)
    return Bench(Plan(settings, folder, about, "highest", None, 3, 0, "height"), settings.how)


def objective(bench: Bench) -> Any:
    made = 0

    def value(trial: Any) -> float:
        nonlocal made
        made += 1
        x = SPACE.suggest(trial)["x"]
        time.sleep(0.2)
        last = multiprocessing.current_process().name.endswith("1")
        if made == 2 and (last or bench.how == "both"):
            ended(bench)
        return -float(x * x)

    return value


def ended(bench: Bench) -> None:
    if bench.how in ("kill", "both"):
        os.kill(os.getpid(), signal.SIGKILL)
    if bench.how == "exit":
        raise SystemExit(0)
    if bench.how == "type":
        raise TypeError("no trial fails of this")
    Path(bench.plan.folder, "hangs").write_text(str(os.getpid()))
    time.sleep(600)


def run(settings: Any) -> int:
    print(workers.search(settings, None, prepare, objective, lambda *found: found[2]))
    return 0


if __name__ == "__main__":
    from selfsight.verbs import VERBS, Verb

    VERBS["toy"] = Verb("", "", lambda: Toy, run)
    folder, how = sys.argv[1:]
    words = ["--folder", folder, "--how", how, "--workers", "2", "--trials", "8"]
    sys.exit(command(["toy", *words]))
