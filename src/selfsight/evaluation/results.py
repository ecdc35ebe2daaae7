"""`results.json`: one record a number, means and differences with intervals; and the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfsight.evaluation.embedding_map import EmbeddingMap, read_map
from selfsight.files import read_json, write_json
from selfsight.markup import block, lines, table
from selfsight.records import ResultsFile, checked
from selfsight.runs.folder import RunFolder
from selfsight.vocabulary import headline, in_percent, metrics_of

Row = dict[str, Any]


@dataclass
class Results:
    """What an evaluation found.

    Attributes:
        path: the file it is kept in.
        backbone: hash of the trained weights; results of other weights are not kept beside these.
        records: one a number: data, task, target, probe, subject, label_fraction, num_labels,
            label_seed, split, metric, label, value.
        values: means over label draws with 95 % intervals.
        differences: trained - control, paired by draw, with intervals and verdict.
        choices: what each probe chose, and whether it could choose.
        confusion: confusion matrices (rows: truth) of the first draw at the largest fraction.
        test_readings: each time that predictions were compared with the test split.
        notes: what was decided for the user, one sentence each.
        files: checksums of the predictions and the map, as `read` found them.
        allowed_leaks: leaks that the user allowed, one sentence each, after the name of the data.
        subjects: subjects that are runs: name -> path (``run``) and hash of the weights.
        shown: ``(data, target)`` that this evaluation was about.
    """

    path: Path
    backbone: str = ""
    records: list[Row] = field(default_factory=list)
    values: list[Row] = field(default_factory=list)
    differences: list[Row] = field(default_factory=list)
    choices: list[Row] = field(default_factory=list)
    confusion: list[Row] = field(default_factory=list)
    test_readings: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    allowed_leaks: list[str] = field(default_factory=list)
    subjects: dict[str, dict[str, str]] = field(default_factory=dict)
    shown: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def map(self) -> EmbeddingMap:
        """The images in two dimensions, by the representations.

        Raises:
            ValueError: the file is missing or damaged.
        """
        return read_map(RunFolder(self.path.parent).representations)

    @property
    def summary(self) -> dict[str, list[Row]]:
        return {"values": self.values, "differences": self.differences}

    @classmethod
    def read(cls, path: str | Path) -> Results:
        """Results back from their file.

        Raises:
            ValueError: the file is missing or damaged.
        """
        kept = read_json(path)
        checked(ResultsFile, kept, path)
        summary = kept.get("summary", {})
        return cls(
            Path(path),
            backbone=kept.get("backbone", ""),
            records=kept.get("records", []),
            values=summary.get("values", []),
            differences=summary.get("differences", []),
            choices=kept.get("choices", []),
            confusion=kept.get("confusion", []),
            test_readings=kept.get("test_readings", []),
            notes=kept.get("notes", []),
            files=kept.get("files", {}),
            allowed_leaks=kept.get("allowed_leaks", []),
            subjects=kept.get("subjects", {}),
            shown=list(dict.fromkeys((r["data"], r["target"]) for r in kept.get("records", []))),
        )

    def write(self) -> None:
        """Puts these beside what the file holds of other data and targets of the same weights.

        Readings of the test split are never dropped.
        """
        merged = self
        if self.path.exists():
            old = Results.read(self.path)
            merged = _merged(old, self)
        content = {
            "backbone": merged.backbone,
            "records": merged.records,
            "summary": merged.summary,
            "choices": merged.choices,
            "confusion": merged.confusion,
            "test_readings": merged.test_readings,
            "notes": merged.notes,
            "files": RunFolder(self.path.parent).digests_of_results(),
            "allowed_leaks": merged.allowed_leaks,
            "subjects": merged.subjects,
        }
        checked(ResultsFile, content, self.path)
        write_json(self.path, content)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        """The tables of `table`, for notebooks."""
        parts = []
        for data, target in self.shown:
            for title, rows in self._task_tables(data, target):
                parts.append(block(title, table(rows[0], rows[1:], most=100)))
        warnings = [f"Warning, allowed: {leak}" for leak in self.allowed_leaks]
        return "".join(parts) + lines([*warnings, *(f"note: {note}" for note in self.notes)])

    def table(self) -> str:
        """One table a task: probes and weights by label fraction, then differences to controls."""
        parts = [self._task_table(data, target) for data, target in self.shown]
        parts += [f"Warning, allowed: {leak}" for leak in self.allowed_leaks]
        parts += [f"note: {note}" for note in self.notes]
        return "\n\n".join(part for part in parts[: len(self.shown)] if part) + "".join(
            "\n" + note for note in parts[len(self.shown) :]
        )

    def _task_table(self, data: str, target: str | None) -> str:
        tables = self._task_tables(data, target)
        return "\n\n".join("\n".join([title, *aligned(rows)]) for title, rows in tables)

    def _task_tables(self, data: str, target: str | None) -> list[tuple[str, list[list[str]]]]:
        """Title and rows, the head first: of the headline metric, and of what needs no label."""
        values = [v for v in self.values if (v["data"], v["target"]) == (data, target)]
        free = [v for v in values if v["task"] in ("none", "clusters")]
        main = [v for v in values if metrics_of(v["task"]) and v["label"] is None]
        tables = [_main_table(main, self.differences, data, target)] if main else []
        return tables + ([_free_table(free)] if free else [])


def _main_table(
    values: list[Row], differences: list[Row], data: str, target: str | None
) -> tuple[str, list[list[str]]]:
    task = values[0]["task"]
    metric = headline(task)
    values = [v for v in values if v["metric"] == metric]
    differences = [
        d
        for d in differences
        if (d["data"], d["target"], d["metric"], d["label"]) == (data, target, metric, None)
        and d["task"] == task
    ]
    columns = list(dict.fromkeys(v["label_fraction"] for v in values))
    scale, unit = (100.0, " %") if in_percent(metric) else (1.0, "")
    counts = {f: next(v["num_labels"] for v in values if v["label_fraction"] == f) for f in columns}
    head = [f"{100 * f:g} % ({counts[f]} labels)" if f else "no labels" for f in columns]
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
        f"{data}, {target} ({task}), {metric}{unit} on {values[0]['split']}: "
        "mean ± half of the 95 % interval"
    )
    return title, [["probe", "subject", *head], *rows]


def _free_table(values: list[Row]) -> tuple[str, list[list[str]]]:
    """Measures that no label was read to compute (scores against labels among them)."""
    names = list(dict.fromkeys((v["probe"], v["metric"]) for v in values))
    kinds = list(dict.fromkeys(v["subject"] for v in values))
    rows = []
    for probe, metric in names:
        found = {
            v["subject"]: f"{v['mean']:.3g}" if v["low"] is None else _number(v, 1.0)
            for v in values
            if (v["probe"], v["metric"]) == (probe, metric)
        }
        rows.append([probe, metric, *(found.get(kind, "") for kind in kinds)])
    title = f"measured without labels, on {values[0]['split']}"
    return title, [["from", "measure", *kinds], *rows]


def aligned(rows: list[list[str]]) -> list[str]:
    """Text columns of equal width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]


def _number(row: Row, scale: float, *, sign: bool = False) -> str:
    digits = 1 if scale > 1 else 3
    plus = "+" if sign else ""
    value = f"{scale * row['mean']:{plus}.{digits}f}"
    if row["low"] is None:
        return value
    return f"{value} ± {scale * (row['high'] - row['low']) / 2:.{digits}f}"


def _short(verdict: str) -> str:
    return "no better" if verdict == "no better than the control" else verdict


def _merged(old: Results, new: Results) -> Results:
    about = set(new.shown)
    names = {data for data, _ in new.shown}
    same = old.backbone == new.backbone

    def both(before: Iterable[Row], after: list[Row]) -> list[Row]:
        kept = [r for r in before if same and (r["data"], r["target"]) not in about]
        return [*kept, *after]

    return Results(
        new.path,
        backbone=new.backbone,
        records=both(old.records, new.records),
        values=both(old.values, new.values),
        differences=both(old.differences, new.differences),
        choices=both(old.choices, new.choices),
        confusion=both(old.confusion, new.confusion),
        test_readings=[*old.test_readings, *new.test_readings],
        notes=list(dict.fromkeys([*(old.notes if same else []), *new.notes])),
        allowed_leaks=[
            *(leak for leak in old.allowed_leaks if same and leak.partition(": ")[0] not in names),
            *new.allowed_leaks,
        ],
        subjects={**(old.subjects if same else {}), **new.subjects},
    )
