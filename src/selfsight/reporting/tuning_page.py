"""The page on a study: what won, what it is worth, and how the search went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from selfsight.reporting.figures import Figure
from selfsight.reporting.rendering import write_page
from selfsight.reporting.tuning_figures import (
    STATES,
    Row,
    curves_figure,
    history_figure,
    importances_figure,
    parallel_figure,
    short,
    unit_name,
)
from selfsight.reporting.wording import (
    difference_text,
    duration,
    interval_text,
    metric_name,
    number,
    probe_name,
    subject_name,
    value_text,
)


def write_tuning_page(
    path: Path,
    found: Mapping[str, Any],
    rows: Sequence[Row],
    curves: Mapping[int, list[float | None]],
) -> Path:
    """One self-contained page on a study.

    Args:
        path: of the HTML file.
        found: what ``tuning.json`` holds.
        rows: one a trial, as in ``trials.csv``.
        curves: number of a trial -> its value after each epoch.
    """
    figures: dict[str, Figure] = {"history": history_figure(found, rows)}
    if found["importances"]:
        figures["importances"] = importances_figure(found["importances"])
    if len([row for row in rows if row["state"] == "complete"]) > 1 and found["searched"]:
        figures["parallel"] = parallel_figure(found, rows)
    if curves:
        figures["curves"] = curves_figure(found, rows, curves)
    metric = found["metric"]
    return write_page(
        path,
        "tuning.html",
        figures,
        {},
        title=f"Tuning of {_title(found)}",
        body_class="",
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
        answer=list(found["answer"]),
        facts=_facts(found),
        figures_of={name: drawn["layout"]["height"] for name, drawn in figures.items()},
        states=[(color, name) for color, _, name in STATES.values()],
        metric=metric_name(metric),
        tables=_tables(found),
        settings=yaml.safe_dump(found["best"]["settings"], sort_keys=False),
        space=found["space"],
        readings=_readings(found),
        notes=list(found["notes"]),
        trials=[_trial(row, found) for row in rows],
        columns=[
            "trial",
            "ended",
            metric_name(metric),
            f"{unit_name(found)}s",
            "s",
            *found["searched"],
        ],
        folder=str(path.parent),
    )


def _title(found: Mapping[str, Any]) -> str:
    if found["verb"] == "probe":
        return f"the classifier of {found['target']} on {found['data']}"
    if found["verb"] == "finetune":
        return f"the fine-tuning to {found['target']} on {found['data']}"
    return f"{found['method']} on {found['data']}"


def _facts(found: Mapping[str, Any]) -> dict[str, str]:
    made = found["trials"]
    facts = {
        "trials made": number(made["made"]),
        "pruned": number(made["pruned"]),
        "stopped early": number(made["stopped_early"]),
        "failed": number(made["failed"]),
        f"{unit_name(found)}s trained": number(made["epochs"]),
        "time": duration(found["seconds"]),
        "sampler": found["sampler"],
        "pruner": found["pruner"],
        "seed": str(found["seed"]),
        "compared by": metric_name(found["metric"]),
        "trained again": "the same value, to the last digit"
        if found["again"]["equal"]
        else f"{number(found['again']['value'], 6)} (it was {number(found['best']['value'], 6)})",
    }
    if found.get("num_labels"):
        facts["labels read"] = number(found["num_labels"])
    return facts


def _tables(found: Mapping[str, Any]) -> list[list[dict[str, str]]]:
    """What was read on test: the metric of the study, then the others."""
    rows = _rows(found)
    shown = metric_name(found["metric"])
    if shown not in {row["metric"] for row in rows}:  # a study by the loss
        shown = rows[0]["metric"] if rows else ""
    first = [row for row in rows if row["metric"] == shown]
    others = sorted((row for row in rows if row["metric"] != shown), key=lambda row: row["metric"])
    return [table for table in (first, others) if table]


def _rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row a metric, a probe and its weights, with the difference to the tuned one."""
    test = found.get("test")
    if not test:
        return []
    gaps = {(d["probe"], d["subject"], d["metric"]): d for d in test["differences"]}
    rows = []
    for value in test["values"]:
        metric = value["metric"]
        gap = gaps.get((value["probe"], value["subject"], metric))
        rows.append(
            {
                "metric": metric_name(metric),
                "probe": _probe(found, value["probe"]),
                "subject": _weights(found, value["subject"]),
                "value": value_text(metric, value["mean"]),
                "interval": interval_text(metric, value["low"], value["high"]),
                "gap": difference_text(metric, gap["mean"]) if gap else "",
                "gap_interval": interval_text(metric, gap["low"], gap["high"], signed=True)
                if gap
                else "",
                "verdict": f"{gap['verdict'].removesuffix(' than the control')} than this"
                if gap
                else "",
            }
        )
    return rows


def _readings(found: Mapping[str, Any]) -> list[str]:
    """A sentence for each time that test was read: every probe, and on which weights how often."""
    days: dict[str, dict[str, Counter[str]]] = {}
    for reading in found.get("test_readings", []):
        probes = days.setdefault(str(reading["when"])[:10], {})
        times = probes.setdefault(_probe(found, reading["probe"]), Counter())
        times[_weights(found, reading["subject"])] += 1
    return [
        f"Test was read on {day} with {probe} on "
        + ", ".join(name if n == 1 else f"{name} ({n} times)" for name, n in times.items())
        + "."
        for day, probes in days.items()
        for probe, times in probes.items()
    ]


def _probe(found: Mapping[str, Any], name: str) -> str:
    if found["verb"] == "pretrain":
        return probe_name(name)
    if name == "tuned":
        return "tuned recipe" if found["verb"] == "finetune" else "tuned"
    if found["verb"] == "finetune":
        return "default fine-tuning" if name == "finetune" else f"{probe_name(name)}, frozen"
    return f"default {probe_name(name)}"


def _weights(found: Mapping[str, Any], name: str) -> str:
    if found["verb"] == "pretrain":
        own = {"trained": "tuned settings", "default": "settings of the beginning"}
        return own.get(name, subject_name(name))
    return subject_name(name)


def _trial(row: Row, found: Mapping[str, Any]) -> list[str]:
    return [
        str(row["number"]),
        row["reason"] or row["state"],
        value_text(found["metric"], row["value"]),
        number(row["epochs"]),
        number(row["seconds"]),
        *(short(row[name]) for name in found["searched"]),
    ]
