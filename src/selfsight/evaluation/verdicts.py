"""The verdicts of differences: one that was fixed beforehand, all others adjusted together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from selfsight.evaluation.intervals import Interval
from selfsight.vocabulary import headline, higher_is_better, metrics_of

Row = dict[str, Any]


def give_verdicts(
    values: Sequence[Row], differences: Sequence[Row], families: Mapping[str, Hashable]
) -> None:
    """Writes ``primary``, ``p`` and ``verdict`` into each difference, from its ``raw_p``.

    The primary difference (see `_primary`) gets the verdict of its own interval. Those of all
    others are Holm's, within the family, the target and the control.

    Args:
        values, differences: rows of `selfsight.evaluation.results.Results`.
        families: of the rows' evaluations: images, labels and weights.
    """

    def place(row: Row) -> Hashable:
        family = families.get(row.get("evaluation", ""), row["data"])
        return family, row["task"], row["target"], row["split"]

    together: dict[Hashable, list[Row]] = {}
    of_place: dict[Hashable, list[Row]] = {}
    for row in differences:
        together.setdefault(place(row), []).append(row)
    for row in values:
        of_place.setdefault(place(row), []).append(row)
    for here, rows in together.items():
        primary = _primary(of_place.get(here, []))
        for row in rows:
            row["primary"] = primary is not None and primary == _key(row, row["control"])
        for control in dict.fromkeys(row["control"] for row in rows):
            _adjust([row for row in rows if row["control"] == control])


def _adjust(rows: Iterable[Row]) -> None:
    others = []
    for row in rows:
        row["p"] = row["raw_p"]
        if row["raw_p"] is not None and not row["primary"]:
            others.append(row)
    for row, p in zip(others, holm([row["raw_p"] for row in others]), strict=True):
        row["p"] = p
    for row in rows:
        gap = Interval(row["mean"], row["low"], row["high"])
        higher = higher_is_better(row["metric"])
        row["verdict"] = gap.verdict(higher_is_better=higher, p=row["p"])


def holm(values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Scandinavian Journal of Statistics 6, 1979).

    Below 5 %, all of them together err with a chance of at most 5 %.
    """
    order = np.argsort(values, kind="stable")
    factors = len(values) - np.arange(len(values))
    raised = np.minimum(np.maximum.accumulate(np.asarray(values)[order] * factors), 1.0)
    adjusted = np.empty(len(values))
    adjusted[order] = raised
    return adjusted.tolist()


def _primary(values: Sequence[Row]) -> tuple[object, ...] | None:
    """The verdict that was fixed beforehand, as `_key` gives it; None where there is none.

    Trained - start where there is a start, else trained - untrained; the linear probe where it was
    used, else the first one; the largest fraction; the headline metric of the target. Of several
    ways to measure the same weights it is the first.
    """
    if not values or not metrics_of(values[0]["task"]):
        return None
    subjects = {row["subject"] for row in values}
    control = next((name for name in ("start", "untrained") if name in subjects), None)
    theirs = [row for row in values if row["subject"] == control]
    if not theirs:
        return None
    first = theirs[0].get("evaluation", "")
    theirs = [row for row in theirs if row.get("evaluation", "") == first]
    probe = next((r["probe"] for r in theirs if r["probe"] == "linear"), theirs[0]["probe"])
    fraction = max(row["label_fraction"] for row in theirs if row["probe"] == probe)
    return first, probe, control, fraction, headline(values[0]["task"]), None


def _key(row: Row, control: str) -> tuple[object, ...]:
    place = (row.get("evaluation", ""), row["probe"], control, row["label_fraction"])
    return *place, row["metric"], row["label"]
