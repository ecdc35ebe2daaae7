"""A run's ancestors, the images that it and they were trained on, and the sides they recorded.

The weights of a run are a function of every image that it was trained on, and of every image that
the runs were trained on from whose weights it started. A run that chose which images to label is an
ancestor too. A test image among what they saw is a leak where its label was read, and worth a word
where it was not; `selfsight.data.request.open` checks that. A later round takes the sides that they
recorded, so that their train images do not become its test images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.leaks import ReadLabels, Seen
from selfsight.data.sides import Sides
from selfsight.records.content import read_record
from selfsight.records.labelling import SuggestionsFile
from selfsight.runs.checkpoint import in_run
from selfsight.runs.folder import RunFolder
from selfsight.runs.frame import Frame
from selfsight.runs.run import Run, load_run, run_of_checkpoint
from selfsight.runs.sides import read_run_table, sides_of

TRAINED_ON = ("train", "unlabelled")
SUGGESTIONS = "suggestions.json"
"""What `suggest` writes beside its table of labels."""
NO_RUN = ("auto", "none", "published")
"""Weights that are no run's."""


@dataclass(frozen=True)
class Lineage:
    """What some weights were trained on.

    Attributes:
        seen: one for each run.
        records: the sides that each run recorded, the nearest first.
        cautions: a sentence for each start of which nothing is known.
        paths: of the runs and their ancestors.
    """

    seen: tuple[Seen, ...] = ()
    records: tuple[Sides, ...] = ()
    cautions: tuple[str, ...] = ()
    paths: frozenset[Path] = frozenset()


def lineage_of(
    runs: Sequence[Run],
    labels: str | None = None,
    *,
    without: Sequence[Run] = (),
    known: Lineage | None = None,
) -> Lineage:
    """What runs and their ancestors were trained on, each once.

    Args:
        runs: the nearest first.
        labels: a table of labels; the run whose `suggest` chose its images is an ancestor too.
        without: runs that are left out; their ancestors are not.
        known: of other runs, which the result begins with; what is in it is not read again.

    Raises:
        ValueError: the files of a run are damaged.
    """
    known = known or Lineage()
    seen, records = list(known.seen), list(known.records)
    cautions, done = list(known.cautions), set(known.paths)
    left_out = {run.path for run in without}
    waiting = [*runs, *chosen_by(labels)]
    while waiting:
        run = waiting.pop(0)
        if run.path in done:
            continue
        done.add(run.path)
        if run.path not in left_out:
            table = read_run_table(run.folder.splits)
            seen.append(seen_by(run, table))
            records.append(sides_of(run, table))
        waiting += chosen_by(run.settings.labels)
        start = start_of(run)
        if isinstance(start, Run):
            waiting.append(start)
        elif start is not None:
            cautions.append(
                f"{run.folder.path} started from the weights of {start}; what those were trained "
                "on is not known here."
            )
    return Lineage(tuple(seen), tuple(records), tuple(cautions), frozenset(done))


def chosen_by(labels: str | None) -> list[Run]:
    """The run whose `suggest` chose the images of a table of labels, where it lies beside it."""
    if labels is None or not Path(labels).with_name(SUGGESTIONS).is_file():
        return []
    record = read_record(SuggestionsFile, Path(labels).with_name(SUGGESTIONS))
    if record.table != Path(labels).name or not RunFolder(record.run).backbone.is_file():
        return []
    return [load_run(record.run)]


def lineage_of_weights(weights: str, labels: str | None = None) -> Lineage:
    """What the weights that a training starts from were trained on.

    Args:
        weights: the folder of a run, or a checkpoint in one; of anything else nothing is known
            here.
        labels: see `lineage_of`.

    Raises:
        ValueError: the folder holds no finished run.
    """
    runs: list[Run] = []
    if weights not in NO_RUN:
        if in_run(weights):
            runs = [run_of_checkpoint(weights)]
        elif Path(weights).is_dir():
            runs = [load_run(weights)]
    return lineage_of(runs, labels)


def start_of(run: Run) -> Run | str | None:
    """The run whose weights a run started from, their name where there is no such run, or None."""
    weights = str(run.plain.get("weights") or "none")
    # Of published weights the run records where they are from; what they saw is not known.
    if weights in NO_RUN or run.environment.get("start") is not None:
        return None
    if in_run(weights):
        return run_of_checkpoint(weights) if Path(weights).is_file() else weights
    # A study that was moved as a whole: the run lies beside its start.
    for path in (Path(weights), run.path.parent / Path(weights).name):
        if RunFolder(path).backbone.is_file() and path.resolve() != run.path:
            return load_run(path)
    return weights


def seen_by(run: Run, table: Any = None) -> Seen:
    """The images that a run itself was trained on, those of further pools among them.

    Args:
        run: a finished run.
        table: its ``splits.parquet``, where that has been read.

    Raises:
        ValueError: its tables are damaged.
    """
    table = read_run_table(run.folder.splits) if table is None else table
    own = np.isin(np.array(table["split"].to_pylist(), str), TRAINED_ON)
    read = np.array(table["label_read"].to_pylist(), bool)
    digests = [_numbers(table["digest"], own)]
    if run.folder.pools.is_file():
        pools = read_run_table(run.folder.pools, ["digest"])
        digests.append(_numbers(pools["digest"], np.ones(len(pools), bool)))
    return Seen(
        str(run.folder.path),
        Frame.of_run(run).scale(run.name),
        np.unique(np.concatenate(digests)),
        np.unique(_numbers(table["digest"], own & read)),
        _labels(run, table, own & read),
    )


def _labels(run: Run, table: Any, read: NDArray[np.bool_]) -> tuple[ReadLabels, ...]:
    """The labels that the training read, and those that chose it among others."""
    metadata = table.schema.metadata or {}
    target = metadata.get(b"target", b"").decode()
    ids = np.array(table["row_id"].to_pylist(), str)
    digests = np.asarray(table["digest"].fill_null(0).to_numpy(), np.uint64)
    labels = [ReadLabels(target, ids[read], digests[read])]
    if run.folder.selection.is_file():
        chosen = np.isin(
            ids, read_run_table(run.folder.selection, ["row_id"])["row_id"].to_pylist()
        )
        labels.append(ReadLabels(target, ids[chosen], digests[chosen]))
    return tuple(part for part in labels if len(part.row_ids))


def _numbers(column: Any, rows: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """The digests of the rows; blank images have none."""
    import pyarrow as pa

    return np.asarray(column.filter(pa.array(rows)).drop_null().to_numpy(), np.uint64)
