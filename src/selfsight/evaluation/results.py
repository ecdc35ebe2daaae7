"""`results.json`: one record a number, means and differences with intervals; and the table."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from selfsight.evaluation.embedding_map import EmbeddingMap, read_map
from selfsight.evaluation.result_tables import ADJUSTED, Row, Table, aligned, tables_of
from selfsight.evaluation.verdicts import give_verdicts
from selfsight.files import read_json, write_json
from selfsight.markup import block, lines, table
from selfsight.records.content import checked
from selfsight.records.results import (
    Confusion,
    Corrupted,
    Difference,
    Evaluation,
    Place,
    ProbeChoice,
    Record,
    ResultsFile,
    Value,
    current,
    variants,
)
from selfsight.runs.folder import RunFolder
from selfsight.runs.lock import locked


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
            content = {name: getattr(merged, name) for name in ResultsFile.model_fields}
            content["files"] = RunFolder(self.path.parent).digests_of_results()
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
        tables, below = self._shown()
        parts = (block(title, table(rows[0], rows[1:], most=100)) for title, rows in tables)
        return "".join(parts) + lines(below)

    def table(self) -> str:
        """One table a task: probes and weights by label fraction, then differences to controls."""
        tables, below = self._shown()
        parts = ("\n".join([title, *aligned(rows)]) for title, rows in tables)
        return "\n\n".join(parts) + "".join("\n" + line for line in below)

    def _shown(self) -> tuple[list[Table], list[str]]:
        """The tables, and the sentences below them, the gravest first."""
        ways = variants({n: Evaluation(**e) for n, e in self.evaluations.items()})
        values, gaps, corrupted = map(self._complete, ("values", "differences", "corruptions"))
        tables, adjusted = tables_of(values, gaps, corrupted, ways)
        return tables, [
            *(f"Warning, allowed: {leak}" for leak in self.allowed_leaks),
            *(f"Caution: {caution}" for caution in self.cautions),
            *(f"note: {note}" for note in self.notes),
            *([ADJUSTED] if adjusted else []),
        ]

    def _complete(self, name: str) -> list[Row]:
        """The rows of a list, with the defaults of what they do not say."""
        fields = ROWS[name].model_fields.items()
        usual = {key: field.default for key, field in fields if not field.is_required()}
        return [{**usual, **row} for row in getattr(self, name)]


ROWS: dict[str, type[Place]] = {
    "records": Record,
    "values": Value,
    "differences": Difference,
    "choices": ProbeChoice,
    "confusion": Confusion,
    "corruptions": Corrupted,
}
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
