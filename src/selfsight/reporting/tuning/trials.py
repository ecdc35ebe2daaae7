"""Every trial, one row each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfsight import vocabulary
from selfsight.reporting.page import Page, Values
from selfsight.reporting.tuning.figures import short
from selfsight.reporting.tuning.names import unit_name
from selfsight.reporting.words import number
from selfsight.vocabulary import value_text

ORDER = 30
TITLE = "Trials"


def values(study: Mapping[str, Any], page: Page) -> Values:
    """The table of ``trials.csv``."""
    metric = study["metric"]
    columns = ["trial", "ended", vocabulary.metric(metric).title, f"{unit_name(study)}s", "seconds"]
    rows = [
        [
            str(row["number"]),
            row["reason"] or row["state"],
            value_text(metric, row["value"]),
            number(row["epochs"]),
            number(row["seconds"]),
            *(short(row[name]) for name in study["searched"]),
        ]
        for row in study["rows"]
    ]
    return {"columns": [*columns, *study["searched"]], "rows": rows}
