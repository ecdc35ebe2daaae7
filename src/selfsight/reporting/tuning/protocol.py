"""How the study was run: its notes, each reading of test, and the space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from selfsight.reporting.page import Page, Values
from selfsight.reporting.tuning.names import probe_title, subject_title

ORDER = 40
TITLE = "Protocol"


def values(study: Mapping[str, Any], page: Page) -> Values:
    """Sentences, and what was searched."""
    return {"sentences": [*study["notes"], *readings(study)], "space": list(study["space"].items())}


def readings(study: Mapping[str, Any]) -> list[str]:
    """A sentence for each day and probe that test was read with: on what, and how often."""
    days: dict[str, dict[str, Counter[str]]] = {}
    for reading in study.get("test_readings", []):
        probes = days.setdefault(str(reading["when"])[:10], {})
        times = probes.setdefault(probe_title(study, reading["probe"]), Counter())
        times[subject_title(study, reading["subject"])] += 1
    return [
        f"Test was read on {day} with {probe} on "
        + ", ".join(name if n == 1 else f"{name} ({n} times)" for name, n in times.items())
        + "."
        for day, probes in days.items()
        for probe, times in probes.items()
    ]
