"""`results.json`: one record a number, means and differences with intervals; and the table."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfsight.evaluation.embedding_map import EmbeddingMap, read_map
from selfsight.evaluation.verdicts import give_verdicts
from selfsight.files import read_json, write_json
from selfsight.markup import block, lines, table
from selfsight.records.content import checked
from selfsight.records.results import Evaluation, ResultsFile, current, variants
from selfsight.runs.folder import RunFolder
from selfsight.runs.lock import locked
from selfsight.vocabulary import in_percent, metrics_of

Row = dict[str, Any]


@dataclass
class Results:
    """What an evaluation measured, or all that a file of results shows.

    Attributes:
        path: the file.
        backbone: hash of the weights that were evaluated last.
        evaluations: what was measured on what, by the key that rows call ``evaluation``: see
            `selfsight.records.results.Evaluation`.
        records: one a number: evaluation, data, task, target, probe, subject, label_fraction,
            num_labels, label_seed, split, metric, label, value.
        values: means over label draws with 95 % intervals.
        differences: trained - control, paired by draw, with intervals and verdict.
        choices: what each probe chose, and whether it could choose.
        confusion: confusion matrices (rows: truth) of the first draw at the largest fraction.
        corruptions: scores on images with a corruption.
        test_readings: each time that predictions were compared with the test split.
        notes: what was decided for the user, one sentence each.
        files: checksums of the predictions and the map, as `read` found them.
        allowed_leaks: leaks that the user allowed, one sentence each, after the name of the data.
        cautions: what lessens the results without being a leak, such as test images that the
            weights were trained on without their labels.
        subjects: subjects that are runs: name -> path (``run``) and hash of the weights.
    """

    path: Path
    backbone: str = ""
    evaluations: dict[str, Row] = field(default_factory=dict)
    records: list[Row] = field(default_factory=list)
    values: list[Row] = field(default_factory=list)
    differences: list[Row] = field(default_factory=list)
    choices: list[Row] = field(default_factory=list)
    confusion: list[Row] = field(default_factory=list)
    corruptions: list[Row] = field(default_factory=list)
    test_readings: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    allowed_leaks: list[str] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)
    subjects: dict[str, dict[str, str]] = field(default_factory=dict)

    def note_reading(self, about: Row) -> None:
        """Notes that predictions were compared with the test split; other splits are not noted."""
        if about["split"] == "test":
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            self.test_readings.append({"when": now, **about})

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
        """Results back from their file, as `selfsight.records.results.ResultsFile.shown` has them.

        Raises:
            ValueError: the file is missing or damaged.
        """
        results = cls._whole(path)
        hidden = results.evaluations.keys() - set(results._current())
        for name in ROWS:
            rows = getattr(results, name)
            setattr(results, name, [row for row in rows if row.get("evaluation") not in hidden])
        results.evaluations = {n: e for n, e in results.evaluations.items() if n not in hidden}
        return results

    @classmethod
    def _whole(cls, path: str | Path) -> Results:
        content = read_json(path)
        checked(ResultsFile, content, path)
        if any(not {"data", "target"} <= row.keys() for row in content.get("records", [])):
            raise ValueError(f"{path} is damaged: a record names no data or no target.")
        summary = content.pop("summary", {})
        return cls(Path(path), **{**summary, **content})

    def _current(self) -> list[str]:
        return current({n: Evaluation(**e) for n, e in self.evaluations.items()}, self.backbone)

    def write(self) -> None:
        """Adds these to the file: a row takes the place of the same row of the same evaluation.

        A mean over fewer seeds or label draws takes the place of none. Verdicts are adjusted over
        all that the file then holds, here as there. Readings of the test split are only added.

        Raises:
            ValueError: the file that is there is damaged.
            OSError: the disk refuses it; the file that was there is whole.
        """
        with locked(self.path.parent, wait=True):
            merged = self._merged(Results._whole(self.path)) if self.path.exists() else self
            content = {
                "backbone": merged.backbone,
                "evaluations": merged.evaluations,
                "records": merged.records,
                "summary": merged.summary,
                "choices": merged.choices,
                "confusion": merged.confusion,
                "corruptions": merged.corruptions,
                "test_readings": merged.test_readings,
                "notes": merged.notes,
                "files": RunFolder(self.path.parent).digests_of_results(),
                "allowed_leaks": merged.allowed_leaks,
                "cautions": merged.cautions,
                "subjects": merged.subjects,
            }
            checked(ResultsFile, content, self.path)
            write_json(self.path, content)

    def _merged(self, old: Results) -> Results:
        evaluations = {**old.evaluations}
        for name, mine in self.evaluations.items():
            before = old.evaluations.get(name, {})
            both = {
                part: list(dict.fromkeys([*before.get(part, []), *mine.get(part, [])]))
                for part in SENTENCES
            }
            evaluations[name] = {**mine, **both}
        readings = [*old.test_readings, *self.test_readings]
        merged = Results(self.path, self.backbone, evaluations, test_readings=readings)
        merged.subjects = {**old.subjects, **self.subjects}
        for name in ROWS:
            setattr(merged, name, _both(getattr(old, name), getattr(self, name)))
        merged._name_apart()
        shown = [evaluations[name] for name in merged._current()]
        known = [self] if shown else [old, self]
        for part in SENTENCES:
            texts = [text for evaluation in shown for text in evaluation.get(part, [])]
            texts += [text for results in known for text in getattr(results, part)]
            setattr(merged, part, list(dict.fromkeys(texts)))
        families = {n: Evaluation(**e).family for n, e in evaluations.items()}
        give_verdicts(merged.values, merged.differences, families)
        return merged

    def _name_apart(self) -> None:
        """Gives the data that are shown names of their own, in the evaluations and the rows."""
        given = {}
        for name in self._current():
            evaluation = self.evaluations[name]
            given[name] = tuple(evaluation[part] for part in ("data", "source", "fingerprint"))
        names = unique_names(given)
        for name, data in names.items():
            self.evaluations[name]["data"] = data
        for part in ROWS:
            for row in getattr(self, part):
                row["data"] = names.get(row.get("evaluation", ""), row["data"])

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        """The tables of `table`, for notebooks."""
        parts = []
        for place, way in self._places():
            for title, rows in self._task_tables(place, way):
                parts.append(block(title, table(rows[0], rows[1:], most=100)))
        return "".join(parts) + lines(self._below())

    def table(self) -> str:
        """One table a task: probes and weights by label fraction, then differences to controls."""
        parts = [self._task_table(place, way) for place, way in self._places()]
        return "\n\n".join(filter(None, parts)) + "".join("\n" + line for line in self._below())

    def _below(self) -> list[str]:
        """The sentences below the tables, the gravest first."""
        return [
            *(f"Warning, allowed: {leak}" for leak in self.allowed_leaks),
            *(f"Caution: {caution}" for caution in self.cautions),
            *(f"note: {note}" for note in self.notes),
        ]

    def _places(self) -> list[tuple[tuple[str, str, str | None], str]]:
        """Evaluation, data and target of each table, and the way it was made where it matters."""
        ways = variants({n: Evaluation(**e) for n, e in self.evaluations.items()})
        return [
            (place, ways.get(place[0], "")) for place in dict.fromkeys(map(_place, self.values))
        ]

    def _task_table(self, place: tuple[str, str, str | None], way: str) -> str:
        tables = self._task_tables(place, way)
        return "\n\n".join("\n".join([title, *aligned(rows)]) for title, rows in tables)

    def _task_tables(
        self, place: tuple[str, str, str | None], way: str
    ) -> list[tuple[str, list[list[str]]]]:
        """Title and rows, the head first: of the headline metric, of corruptions, and of what
        needs no label.
        """
        values = [v for v in self.values if _place(v) == place]
        free = [v for v in values if v["task"] in ("none", "clusters")]
        main = [v for v in values if metrics_of(v["task"]) and v["label"] is None]
        gaps = [d for d in self.differences if _place(d) == place]
        corrupted = [c for c in self.corruptions if _place(c) == place]
        return [
            *([_main_table(main, gaps, way)] if main else []),
            *([_corruption_table(corrupted)] if corrupted else []),
            *([_free_table(free)] if free else []),
        ]


ROWS = ("records", "values", "differences", "choices", "confusion", "corruptions")
"""Lists whose rows take the place of the same row."""
SENTENCES = ("notes", "allowed_leaks", "cautions")
"""Lists of sentences; each evaluation keeps its own."""
_KEY = (
    "evaluation",
    "task",
    "target",
    "split",
    "probe",
    "label_fraction",
    "subject",
    "control",
    "label_seed",
    "initialisation",
    "corruption",
    "strength",
    "metric",
    "label",
)


def unique_names(given: Mapping[str, tuple[str, str, str]]) -> dict[str, str]:
    """A name of the data for each key, the same for the same content and unique otherwise.

    Args:
        given: name, source and fingerprint of each; of two that share a name and not the content
            the later one is called by its folder too, or else by its fingerprint.
    """
    owner: dict[str, str] = {}
    names = {}
    for key, (name, source, fingerprint) in given.items():
        parent = Path(source).parent.name if source else ""
        wishes = [name, f"{parent}/{name}"] if parent else [name]
        for wish in [*wishes, f"{name} ({fingerprint[:6]})"]:
            if owner.setdefault(wish, fingerprint) == fingerprint:
                names[key] = wish
                break
    return names


def _place(row: Row) -> tuple[str, str, str | None]:
    return row.get("evaluation", ""), row["data"], row["target"]


def _many(row: Row) -> tuple[int, int]:
    """Training seeds and label draws of a mean."""
    return row.get("seeds", 1), row.get("draws") or 0


def _both(old: list[Row], new: list[Row]) -> list[Row]:
    """The rows of both; a new one takes the place of the old one of its key."""

    def key(row: Row) -> tuple[object, ...]:
        unnamed = "" if row.get("evaluation") else row["data"]
        return unnamed, *(row.get(name) for name in _KEY)

    rows = {key(row): row for row in old}
    for row in new:
        before = rows.get(key(row))
        if before is None or _many(before) <= _many(row):
            rows[key(row)] = row
    return list(rows.values())


def _main_table(values: list[Row], differences: list[Row], way: str) -> tuple[str, list[list[str]]]:
    task, data, target = (values[0][name] for name in ("task", "data", "target"))
    there = {v["metric"] for v in values}
    metric = next(name for name in metrics_of(task) if name in there)  # R² needs numbers that vary
    values = [v for v in values if v["metric"] == metric]
    differences = [
        d for d in differences if (d["metric"], d["label"]) == (metric, None) and d["task"] == task
    ]
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
    the labels that the trained subject read in all, where more.
    """
    if not fraction:
        return "no labels"
    count = min(v["num_labels"] for v in values)
    trained = max((v["num_labels"] for v in values if v["subject"] == "trained"), default=0)
    more = f"; trained read {trained:,}" if trained > count else ""
    known = next((v["known_labels"] for v in values if v.get("known_labels")), None)
    if known is None:
        return f"{100 * fraction:g} % ({count:,} labels{more})"
    return f"{count:,} of {known:,} labels ({100 * count / known:.3g} %{more})"


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


def _corruption_table(rows: list[Row]) -> tuple[str, list[list[str]]]:
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
    return "no better" if verdict == "no better than the control" else verdict
