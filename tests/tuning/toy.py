"""A study of a function, and a worker on it for tests that kill it.

Usage: ``python toy.py FOLDER TRIALS NUMBER STORAGE SECONDS HANG``: each trial takes SECONDS; with
HANG = N it never ends its (N + 1)th trial but writes ``FOLDER/hangs``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfsight.fitting.stopping import Look
from selfsight.tuning.space import read_space
from selfsight.tuning.study import Outcome, Problem, Search, open_study
from selfsight.tuning.workers import work

SPACE = read_space(["x=-1.0..1.0", "y=a,b"], {})


def height(values: Mapping[str, Any]) -> float:
    return -float((values["x"] - 0.25) ** 2) - (values["y"] == "b")


@dataclass(kw_only=True)
class Toy(Problem):
    """The height of a hill; `before` is called with each trial's number and may give its value."""

    before: Callable[[int], float | None] = lambda number: None
    reports: bool = False

    def run(self, changes: Mapping[str, Any], look: Look, number: int) -> Outcome:
        value = self.before(number)
        value = height(changes) if value is None else value
        if self.reports:
            look(1, value)
        return Outcome(value, [value], 1)

    def best_yaml(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        return dict(changes)

    def read_test(self, changes: Mapping[str, Any], again: Outcome) -> dict[str, Any] | None:
        return None

    def facts(self, changes: Mapping[str, Any], again: Outcome) -> dict[str, Any]:
        facts = {"method": "toy", "data": "hill", "target": "height", "task": "number"}
        return {**facts, "best": {"settings": dict(changes)}}

    def called(self, probe: str, subject: str) -> str:
        return f"{probe} of {subject}"


def problem(
    folder: Path, before: Callable[[int], float | None] | None = None, **options: Any
) -> Toy:
    return Toy(
        settings=Search(**options),
        folder=folder,
        about={"verb": "toy", "name": "square", "space": SPACE.plain()},
        space=SPACE,
        first={"x": 0.5, "y": "a"},
        metric="height",
        mode="highest",
        looks=3,
        **({} if before is None else {"before": before}),
    )


def main() -> None:
    folder, trials, number, storage, seconds, hang = sys.argv[1:]
    made = 0

    def before(trial: int) -> None:
        nonlocal made
        if made == int(hang):
            Path(folder, "hangs").write_text(str(trial))
            time.sleep(600)
        time.sleep(float(seconds))
        made += 1

    options = {} if storage == "journal" else {"storage": storage}
    here = problem(Path(folder), before, trials=int(trials), heartbeat=1, **options)
    work(here, open_study(here), int(number))


if __name__ == "__main__":
    main()
