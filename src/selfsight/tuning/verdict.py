"""The one reading of test that ends a study: compared, noted, put in words."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from selfsight.console import duration, say
from selfsight.data.imageset import Target
from selfsight.evaluation.intervals import interval
from selfsight.files import read_json, write_text
from selfsight.fitting.metrics import Floats, Values
from selfsight.fitting.tasks import TASKS, higher_is_better
from selfsight.settings import Settings
from selfsight.tuning.record import Tuned, counts_text, finished, search_facts, write_record
from selfsight.tuning.trials import Measured
from selfsight.vocabulary import difference_text, interval_text, value_text

if TYPE_CHECKING:
    import optuna


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


def concluded(
    bench: Any,
    study: optuna.Study,
    reason: str,
    seconds: float,
    *,
    part: str,
    chosen: Callable[[dict[str, Any]], Settings],
    measure: Callable[[Any], Measured],
    read_test: Callable[[Any, Any], dict[str, Any] | None],
    named: Callable[[str, str], str],
    more: Callable[[Any], dict[str, Any]],
) -> Tuned:
    """Ends a study of trainings on labels: the best one again, its reading of test, the files.

    Test is read unless this best trial has read it before.

    Args:
        bench: the study, resolved.
        study: its trials.
        reason: why it ended.
        seconds: that it took.
        part: the settings that were searched, as `best.yaml` calls them.
        chosen: these settings, from the changes of the best trial.
        measure: trains with them, the held-out images left out.
        read_test: reads test with them and what `measure` gave; None without test images.
        named: how sentences call a probe on some weights.
        more: what the study adds to ``tuning.json``, from what `measure` gave; its ``best`` is
            added to that of all studies.

    Raises:
        ValueError: no trial was completed.
    """
    folder = bench.plan.folder
    rows, best = finished(bench.plan, study, bench.space)
    settings = chosen(bench.space.settings_of(best.params))
    write_text(folder / "best.yaml", yaml.safe_dump({part: settings.plain()}, sort_keys=False))
    before = earlier_of(folder, best.number)
    with threads(best.user_attrs.get("threads")):
        again = measure(settings)
        equal = same_value(again.value, best.value)
        test = before.get("test") if before else None
        test = test or read_test(settings, again)
    read = [*(before or earlier(folder)).get("test_readings", [])]
    if not before or not before.get("test"):
        read += readings(test, bench.settings.fraction)
    added = more(again)
    found: dict[str, Any] = {
        **search_facts(bench.plan, study, bench.space, rows),
        "target": bench.target.name,
        "run": str(bench.run.folder.path),
        "data": bench.images.name,
        "task": bench.target.kind,
        "num_labels": len(bench.labelled.rows),
        "ended": reason,
        "seconds": round(seconds, 1),
        **added,
        "best": {
            "number": best.number,
            "value": best.value,
            **added["best"],
            "settings": settings.plain(),
        },
        "again": {"value": again.value, "equal": equal},
        "test": test,
        "test_readings": read,
    }
    found["answer"] = answer(found, named)
    return write_record(bench.plan, found, study, rows)


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
            place = {"probe": probe, "subject": weights, "metric": metric}
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
    pairs = {(v["probe"], v["subject"]): None for v in (test or {}).get("values", [])}
    return [{"when": now, "probe": p, "subject": w, "label_fraction": fraction} for p, w in pairs]


def answer(found: Mapping[str, Any], named: Callable[[str, str], str]) -> list[str]:
    """The sentences that the command prints and the page begins with.

    Args:
        found: what ``tuning.json`` will hold.
        named: how the sentences call a probe on some weights.
    """
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
        if (value["probe"], value["subject"], value["metric"]) == ("tuned", "trained", shown):
            lines.append(
                f"On test, read once: {shown} {value_text(shown, value['mean'])} "
                f"({interval_text(shown, value['low'], value['high'])})."
            )
    for row in test["differences"]:
        if row["metric"] == shown:
            other = named(row["probe"], row["subject"])
            verdict = {"better": "better than", "worse": "worse than"}.get(
                row["verdict"], "no better than"
            )
            lines.append(
                f"Tuned is {verdict} {other}: {difference_text(shown, row['mean'])} "
                f"({interval_text(shown, row['low'], row['high'], signed=True)})."
            )
    return lines
