"""A worker on a study of a function, for tests that kill it.

Usage: ``python toy.py FOLDER TRIALS NUMBER STORAGE SECONDS HANG``: each trial takes SECONDS; with
HANG = N it never ends its (N + 1)th trial but writes ``FOLDER/hangs``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from selfsight.tuning.plan import Plan, open_study
from selfsight.tuning.settings import Search
from selfsight.tuning.space import read_space
from selfsight.tuning.study import work

SPACE = read_space(["x=-1.0..1.0", "y=a,b"], {})


def plan(folder: Path, **options: Any) -> Plan:
    about = {"verb": "toy", "name": "square", "space": SPACE.plain()}
    return Plan(Search(**options), folder, about, "highest", {"x": 0.5, "y": "a"}, 3, 0, "height")


def height(values: dict[str, Any]) -> float:
    return -float((values["x"] - 0.25) ** 2) - (values["y"] == "b")


def main() -> None:
    folder, trials, number, storage, seconds, hang = sys.argv[1:]
    made = 0

    def objective(trial: Any) -> float:
        nonlocal made
        value = height(SPACE.suggest(trial))
        if made == int(hang):
            Path(folder, "hangs").write_text(str(trial.number))
            time.sleep(600)
        time.sleep(float(seconds))
        made += 1
        return value

    options = {} if storage == "journal" else {"storage": storage}
    here = plan(Path(folder), trials=int(trials), heartbeat=1, **options)
    work(here, open_study(here), objective, int(number))


if __name__ == "__main__":
    main()
