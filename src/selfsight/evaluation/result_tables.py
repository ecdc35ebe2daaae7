"""The tables of results as rows of text: the main one, corruptions, and what needs no probe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfsight import vocabulary
from selfsight.console import counted
from selfsight.evaluation.intervals import NO_BETTER
from selfsight.vocabulary import higher_is_better, in_percent, metrics_of

Row = dict[str, Any]
Table = tuple[str, list[list[str]]]
"""Title and rows, the head first."""

ADJUSTED = (
    "note: `no better` beside an interval above zero: verdicts are adjusted for the number of "
    "comparisons with one control (Holm), intervals are not."
)


def tables_of(
    values: list[Row], differences: list[Row], corruptions: list[Row], ways: Mapping[str, str]
) -> tuple[list[Table], bool]:
    """Of each evaluation, data and target: the headline metric, corruptions, what needs no label.

    Args:
        values, differences, corruptions: rows, with all that they may say.
        ways: by evaluation, in which way it was made, where there are several.

    Returns:
        The tables; whether one shows a difference as `only_adjusted` has it.
    """
    tables: list[Table] = []
    adjusted = False
    for place in dict.fromkeys(map(_place, values)):
        own, gaps, corrupted = (
            [row for row in rows if _place(row) == place]
            for rows in (values, differences, corruptions)
        )
        if main := headline_rows(own):
            tables.append(main_table(main, gaps, ways.get(place[0], "")))
            adjusted |= any(map(only_adjusted, headline_gaps(main, gaps)))
        if corrupted:
            tables.append(corruption_table(corrupted))
        free = ([row for row in own if row["task"] == task] for task in FREE_TITLES)
        tables += [free_table(rows) for rows in free if rows]
    return tables, adjusted


def _place(row: Row) -> tuple[str, str, str | None]:
    return row.get("evaluation", ""), row["data"], row["target"]


def headline_rows(values: list[Row]) -> list[Row]:
    """The means of the headline metric of the target, over all of its labels."""
    values = [v for v in values if metrics_of(v["task"]) and v["label"] is None]
    if not values:
        return []
    there = {v["metric"] for v in values}
    # R² needs numbers that vary.
    metric = next(name for name in metrics_of(values[0]["task"]) if name in there)
    return [v for v in values if v["metric"] == metric]


def headline_gaps(values: list[Row], differences: list[Row]) -> list[Row]:
    """The differences of the same metric and task as the `headline_rows`."""
    metrics = {(v["task"], v["metric"]) for v in values}
    return [d for d in differences if d["label"] is None and (d["task"], d["metric"]) in metrics]


def only_adjusted(gap: Row) -> bool:
    """The interval of a difference lies on the better side of zero, and its verdict does not."""
    if gap["verdict"] != NO_BETTER or gap["low"] is None or gap["high"] is None:
        return False
    higher = higher_is_better(gap["metric"])
    return bool(gap["low"] > 0) if higher else bool(gap["high"] < 0)


def main_table(values: list[Row], differences: list[Row], way: str) -> Table:
    """Title and rows: probes and subjects by label fraction, then differences to controls.

    Args:
        values: see `headline_rows`.
        differences: of the same images and target.
        way: in which it was made, where there are several.
    """
    task, data, target, metric = (values[0][n] for n in ("task", "data", "target", "metric"))
    differences = headline_gaps(values, differences)
    columns = list(dict.fromkeys(v["label_fraction"] for v in values))
    scale, unit = (100.0, " %") if in_percent(metric) else (1.0, "")
    head = [_column(f, [v for v in values if v["label_fraction"] == f]) for f in columns]
    rows: list[list[str]] = []
    for probe in dict.fromkeys(v["probe"] for v in values):
        for weights in dict.fromkeys(v["subject"] for v in values if v["probe"] == probe):
            found = {
                v["label_fraction"]: _number(v, scale)
                for v in values
                if (v["probe"], v["subject"]) == (probe, weights)
            }
            rows.append([probe, weights, *(found.get(f, "") for f in columns)])
        for control in dict.fromkeys(d["control"] for d in differences if d["probe"] == probe):
            found = {
                d["label_fraction"]: f"{_number(d, scale, sign=True)} {_short(d['verdict'])}"
                for d in differences
                if (d["probe"], d["control"]) == (probe, control)
            }
            rows.append(["", f"trained - {control}", *(found.get(f, "") for f in columns)])
    title = (
        f"{data}, {target} ({task}){f', {way}' if way else ''}, {metric}{unit} "
        f"on {values[0]['split']}: "
        "mean ± half of the 95 % interval"
    )
    return title, [["probe", "subject", *head], *rows]


def _column(fraction: float, values: list[Row]) -> str:
    """``140 of 1,034 labels (13.5 %)``: what the probe read, which at least covers each class, and
    the labels that a subject read in all, where more.
    """
    if not fraction:
        return "no labels"
    count = min(v["num_labels"] for v in values)
    read: dict[str, int] = {}
    for value in values:
        read[value["subject"]] = max(read.get(value["subject"], 0), value["num_labels"])
    more = "".join(f"; {name}: {all_:,} in all" for name, all_ in read.items() if all_ > count)
    known = next((v["known_labels"] for v in values if v.get("known_labels")), None)
    if known is None:
        return f"{100 * fraction:g} % ({counted(count, 'label')}{more})"
    return f"{count:,} of {counted(known, 'label')} ({100 * count / known:.3g} %{more})"


FREE_TITLES = {
    "clusters": "clusters of the {split} images (no label is used to form them)",
    "none": "representations of the {split} images (no label is used)",
}
"""Of the tables of what needs no probe, by task."""


def free_table(values: list[Row]) -> Table:
    """Measures that no label was read to compute (scores against labels among them)."""
    names = list(dict.fromkeys((v["probe"], v["metric"]) for v in values))
    kinds = list(dict.fromkeys(v["subject"] for v in values))
    clusters = values[0]["task"] == "clusters"
    rows = []
    for probe, metric in names:
        found = {
            v["subject"]: f"{v['mean']:.3g}" if v["low"] is None else _number(v, 1.0)
            for v in values
            if (v["probe"], v["metric"]) == (probe, metric)
        }
        first = [vocabulary.probe(probe).title] if clusters else []
        title = vocabulary.metric(metric).title
        rows.append([*first, title, *(found.get(kind, "") for kind in kinds)])
    title = FREE_TITLES[values[0]["task"]].format(split=values[0]["split"])
    return title, [[*(["clusters by"] if clusters else []), "measure", *kinds], *rows]


def corruption_table(rows: list[Row]) -> Table:
    """A line a corruption and strength, a column a subject."""
    metric = rows[0]["metric"]
    scale, unit = (100.0, " %") if in_percent(metric) else (1.0, "")
    kinds = list(dict.fromkeys(row["subject"] for row in rows))
    shown = []
    for at in dict.fromkeys((row["corruption"], row["strength"], row["amount"]) for row in rows):
        found = {
            row["subject"]: _number(row, scale)
            for row in rows
            if (row["corruption"], row["strength"], row["amount"]) == at
        }
        name = f"{at[0]} {at[1]}" if at[1] else "clean"
        shown.append([name, at[2] if at[1] else "", *(found.get(kind, "") for kind in kinds)])
    title = f"corrupted {rows[0]['split']} images, linear probe, {metric}{unit}"
    return title, [["corruption", "strength", *kinds], *shown]


def aligned(rows: list[list[str]]) -> list[str]:
    """Text columns of equal width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]


def _number(row: Row, scale: float, *, sign: bool = False) -> str:
    return with_half(row["mean"], row["low"], row["high"], scale, sign=sign)


def with_half(
    value: float, low: float | None, high: float | None, scale: float, *, sign: bool = False
) -> str:
    """``84.6 ± 8.2``: a number with half of its interval, where it has one.

    Args:
        value, low, high: as they were measured.
        scale: 100 shows per cent, with one digit.
        sign: shows a plus, too.
    """
    digits = 1 if scale > 1 else 3
    text = f"{scale * value:{'+' if sign else ''}.{digits}f}"
    if low is None or high is None:
        return text
    return f"{text} ± {scale * (high - low) / 2:.{digits}f}"


def _short(verdict: str) -> str:
    return "no better" if verdict == NO_BETTER else verdict
