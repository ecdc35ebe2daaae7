"""The one reading of test that ends a study: compared, noted, put in words."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfsight.console import duration, say
from selfsight.data.imageset import Target
from selfsight.evaluation.intervals import interval
from selfsight.evaluation.metrics import Floats, Values
from selfsight.evaluation.tasks import TASKS, higher_is_better
from selfsight.run_folder import read_json
from selfsight.tuning.record import counts_text


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """As many threads as the trial had: sums in another order differ in their last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def earlier(folder: Path) -> dict[str, Any]:
    """What an earlier end of the study wrote; empty where there was none."""
    path = folder / "tuning.json"
    return dict(read_json(path)) if path.is_file() else {}


def earlier_of(folder: Path, number: int) -> dict[str, Any] | None:
    """What an earlier end of the study wrote, if its best trial was this one."""
    kept = earlier(folder)
    return kept if kept and kept["best"]["number"] == number else None


def same_value(again: float, recorded: float | None) -> bool:
    """Whether the best trial, trained again, has its value to the last digit; said if not."""
    if again == recorded:
        return True
    say(
        f"Warning: trained again, the best trial gives {again!r} and not {recorded!r}; another "
        "machine or number of threads made it."
    )
    return False


def compared(
    target: Target, images: int, scores: Mapping[tuple[str, str], Values], groups: int
) -> dict[str, Any]:
    """Values with intervals, and paired differences tuned - other, over the same test images.

    Args:
        target: what was predicted.
        images: of test.
        scores: of a probe and its weights; ``("tuned", "trained")`` among them.
        groups: how many test groups the bootstrap drew from.
    """
    values, differences = [], []
    ours = scores["tuned", "trained"]
    for (probe, weights), found in scores.items():
        for metric in TASKS[target.kind].metrics:
            key = (metric, None)
            here: Floats = found[key][None]
            if not np.isfinite(here[0, 0]):
                continue
            place = {"probe": probe, "weights": weights, "metric": metric}
            ends = interval(here, groups)
            values.append({**place, "mean": ends.mean, "low": ends.low, "high": ends.high})
            if found is not ours:
                gap = interval(ours[key][None] - here, groups)
                verdict = gap.verdict(higher_is_better=higher_is_better(metric))
                differences.append(
                    {
                        **place,
                        "mean": gap.mean,
                        "low": gap.low,
                        "high": gap.high,
                        "verdict": verdict,
                    }
                )
    return {
        "split": "test",
        "images": images,
        "values": values,
        "differences": differences,
    }


def readings(test: Mapping[str, Any] | None, fraction: float) -> list[dict[str, Any]]:
    """One record a probe and its weights that test was read with just now."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    pairs = {(v["probe"], v["weights"]): None for v in (test or {}).get("values", [])}
    return [{"when": now, "probe": p, "weights": w, "label_fraction": fraction} for p, w in pairs]


def answer(found: Mapping[str, Any], named: Callable[[str, str], str]) -> list[str]:
    """The sentences that the command prints and the page begins with.

    Args:
        found: what ``tuning.json`` will hold.
        named: how the sentences call a probe on some weights.
    """
    from selfsight.reporting.wording import difference_text, interval_text, value_text

    metric = found["metric"]
    lines = [
        f"{counts_text(found['trials'])} in {duration(found['seconds'])}; the best one, "
        f"trial {found['best']['number']}, has {metric} "
        f"{value_text(metric, found['best']['value'])} on the images held out."
    ]
    test = found["test"]
    if test is None:
        return [*lines, "There is no test split: nothing says how much of this is chance."]
    shown = TASKS[found["task"]].headline if metric == "loss" else metric
    for value in test["values"]:
        if (value["probe"], value["weights"], value["metric"]) == ("tuned", "trained", shown):
            lines.append(
                f"On test, read once: {shown} {value_text(shown, value['mean'])} "
                f"({interval_text(shown, value['low'], value['high'])})."
            )
    for row in test["differences"]:
        if row["metric"] == shown:
            other = named(row["probe"], row["weights"])
            verdict = {"better": "better than", "worse": "worse than"}.get(
                row["verdict"], "no better than"
            )
            lines.append(
                f"Tuned is {verdict} {other}: {difference_text(shown, row['mean'])} "
                f"({interval_text(shown, row['low'], row['high'], signed=True)})."
            )
    return lines
