"""The best settings, and what they are worth on test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from selfsight import vocabulary
from selfsight.reporting.page import Page, Values
from selfsight.reporting.tuning.names import probe_title, subject_title, unit_name
from selfsight.reporting.words import capital, duration, number
from selfsight.vocabulary import difference_text, interval_text, value_text

ORDER = 10
TITLE = "Best settings"
HEADING = "Best settings and what they are worth"


def values(study: Mapping[str, Any], page: Page) -> Values:
    """The reading of test, the settings and the study in numbers."""
    return {
        "tables": _tables(study),
        "settings": yaml.safe_dump(study["best"]["settings"], sort_keys=False),
        "facts": facts(study),
    }


def facts(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The study in numbers."""
    counts, again = study["trials"], study["again"]
    rows = [
        ("Trials", number(counts["made"])),
        ("Pruned", number(counts["pruned"])),
        ("Stopped early", number(counts["stopped_early"])),
        ("Failed", number(counts["failed"])),
        (capital(f"{unit_name(study)}s trained"), number(counts["epochs"])),
        ("Time", duration(study["seconds"])),
        ("Sampler", study["sampler"]),
        ("Pruner", study["pruner"]),
        ("Seed", str(study["seed"])),
        ("Compared by", vocabulary.metric(study["metric"]).title),
        (
            "Best trial, trained again",
            "the same value, to the last digit"
            if again["equal"]
            else f"{number(again['value'], 6)} (it was {number(study['best']['value'], 6)})",
        ),
    ]
    if study.get("num_labels"):
        rows.append(("Labels read", number(study["num_labels"])))
    return rows


def _tables(study: Mapping[str, Any]) -> list[list[dict[str, str]]]:
    """What was read on test: the metric of the study, then the others."""
    rows = _rows(study)
    shown = vocabulary.metric(study["metric"]).title
    if shown not in {row["metric"] for row in rows}:  # a study by the loss
        shown = rows[0]["metric"] if rows else ""
    first = [row for row in rows if row["metric"] == shown]
    others = sorted((row for row in rows if row["metric"] != shown), key=lambda row: row["metric"])
    return [table for table in (first, others) if table]


def _rows(study: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row a metric, a probe and a subject, with the difference to the tuned one."""
    test = study.get("test")
    if not test:
        return []
    gaps = {(d["probe"], d["subject"], d["metric"]): d for d in test["differences"]}
    rows = []
    for value in test["values"]:
        metric = value["metric"]
        gap = gaps.get((value["probe"], value["subject"], metric))
        row = {
            "metric": vocabulary.metric(metric).title,
            "probe": probe_title(study, value["probe"]),
            "subject": subject_title(study, value["subject"]),
            "value": value_text(metric, value["mean"]),
            "interval": interval_text(metric, value["low"], value["high"]),
            "gap": "",
            "gap_interval": "",
            "verdict": "",
        }
        if gap:
            row["gap"] = difference_text(metric, gap["mean"])
            row["gap_interval"] = interval_text(metric, gap["low"], gap["high"], signed=True)
            verdict = gap["verdict"].removesuffix(" than the control")
            none = verdict == "no verdict"
            row["verdict"] = f"no verdict: {gap['reason']}" if none else f"{verdict} than this"
        rows.append(row)
    return rows
