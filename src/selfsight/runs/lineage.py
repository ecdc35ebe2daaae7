"""A run's ancestors, the images that it and they were trained on, and the sides they recorded.

The weights of a run are a function of every image that it was trained on, and of every image that
the runs and models were trained on from whose weights it started, or whose weights taught it. A run
that chose which images to label is an ancestor too. A test image among what they saw is a leak
where its label was read, and worth a word where it was not; `selfsight.data.request.open` checks
that. A later round takes the sides that they recorded, so that their train images do not become its
test images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.leaks import ReadLabels, Seen
from selfsight.data.sides import Sides
from selfsight.networks.published.files import header_of
from selfsight.networks.published.packages import PACKAGES
from selfsight.networks.specs import library_of
from selfsight.records.content import read_record
from selfsight.records.labelling import SuggestionsFile
from selfsight.runs.checkpoint import in_run
from selfsight.runs.fitted import FittedModel
from selfsight.runs.folder import RunFolder, is_model, is_run, run_around
from selfsight.runs.frame import Frame
from selfsight.runs.places import RecordedPlace
from selfsight.runs.run import Run, load_run, run_of_checkpoint
from selfsight.runs.sides import read_run_table, sides_of

TRAINED_ON = ("train", "unlabelled")
SUGGESTIONS = "suggestions.json"
"""What `suggest` writes beside its table of labels."""
NO_RUN = ("auto", "none", "published", *PACKAGES)
"""Weights that are no run's."""
OWN_FILE = "selfsight"
"""How the layout of a file is called that selfsight wrote."""

Source = Run | FittedModel | str
"""What weights are of: a run, a model, or the name of weights of which nothing more is known."""


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
    sources: Sequence[Source],
    labels: str | None = None,
    *,
    without: Sequence[Run] = (),
    known: Lineage | None = None,
) -> Lineage:
    """What runs, models and their ancestors were trained on, each once.

    Args:
        sources: the nearest first.
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
    waiting: list[Source] = [*sources, *chosen_by(labels)]
    while waiting:
        source = waiting.pop(0)
        if isinstance(source, str):
            cautions.append(
                f"{source} was written by selfsight and is in no folder of a run: what it was "
                "trained on is not known here. Name the run's folder where you have it."
            )
            continue
        if source.path in done:
            continue
        done.add(source.path)
        if isinstance(source, FittedModel):
            labelled = source.seen()
            if labelled is None:
                cautions.append(f"{source.folder} does not say which labels it was fitted on.")
            else:
                seen.append(labelled)
        elif source.path not in left_out:
            table = read_run_table(source.folder.splits)
            seen.append(seen_by(source, table))
            records.append(sides_of(source, table))
        waiting += chosen_by(source.settings.labels if isinstance(source, Run) else source.labels)
        for before in sources_of(source):
            if isinstance(before, str):
                owner = source.folder.path if isinstance(source, Run) else source.folder
                cautions.append(
                    f"{owner} started from the weights of {before}; what those were trained on is "
                    "not known here."
                )
            else:
                waiting.append(before)
    return Lineage(tuple(seen), tuple(records), tuple(cautions), frozenset(done))


def chosen_by(labels: str | None) -> list[Run]:
    """The run whose `suggest` chose the images of a table of labels, where it lies beside it."""
    if labels is None or not Path(labels).with_name(SUGGESTIONS).is_file():
        return []
    record = read_record(SuggestionsFile, Path(labels).with_name(SUGGESTIONS))
    if record.table != Path(labels).name:
        return []
    # The run is named as from the working directory of `suggest`, which is often above the table.
    above = [Path(), *Path(os.path.abspath(labels)).parents]
    runs = (folder / record.run for folder in above)
    return [load_run(path) for path in runs if RunFolder(path).backbone.is_file()][:1]


def lineage_of_weights(
    weights: str, labels: str | None = None, teachers: Sequence[str] = ()
) -> Lineage:
    """What the weights that a training starts from, and those that teach it, were trained on.

    Args:
        weights: the folder of a run or a model, or a file in one; of published weights nothing is
            known here.
        labels: see `lineage_of`.
        teachers: further weights, named in the same way.

    Raises:
        ValueError: the folder holds no finished run.
    """
    found = [source_of(name) for name in (weights, *teachers)]
    return lineage_of([source for source in found if source is not None], labels)


def source_of(weights: str) -> Source | None:
    """The run or the model that weights are of; their name where they are of one that is unknown.

    None for random and published ones, and where there is no such file.

    Raises:
        ValueError: the folder holds no finished run, or the file is of a run that is damaged.
    """
    path = Path(weights)
    if weights in NO_RUN or library_of(weights) is not None:
        return None
    if in_run(path):
        return run_of_checkpoint(path) if path.is_file() else weights
    if path.is_dir():
        if is_model(path):
            return FittedModel(path)
        if is_run(path):
            return load_run(path)
        return weights if RunFolder(path).backbone.is_file() else None
    if not path.is_file() or not header_of(path):
        return None
    if is_model(path.parent) and path == RunFolder(path.parent).backbone:
        return FittedModel(path.parent)
    around = run_around(path)
    if around is None:
        return weights
    run = load_run(around.path)
    return start_of(run) if path == around.start else run


def sources_of(source: Run | FittedModel) -> list[Source]:
    """What weights are made from: the start of a run and its teachers, the run of a model."""
    if isinstance(source, FittedModel):
        found = [_named(source.run, source)]
    else:
        teachers: list[str] = source.environment.get("teachers") or []
        found = [start_of(source), *(_named(name, source) for name in teachers)]
    return [each for each in found if each is not None]


def start_of(run: Run) -> Source | None:
    """What the weights are of that a run started from, or None; see `source_of`."""
    weights = str(run.plain.get("weights") or "none")
    origin = run.environment.get("start")
    # Of published weights the run records where they are from; what they saw is not known.
    if isinstance(origin, dict) and origin.get("layout") != OWN_FILE:
        return None
    return _named(weights, run)


def _named(weights: str, by: Run | FittedModel) -> Source | None:
    """`source_of` for a name that a run or a model recorded, the name where nothing is found."""
    if not weights or weights in NO_RUN or library_of(weights) is not None:
        return None
    weights = RecordedPlace.of(by.folder.path if isinstance(by, Run) else by.folder).found(weights)
    # A study that was moved as a whole: the run lies beside its start.
    for path in (Path(weights), by.path.parent / Path(weights).name):
        whole = RunFolder(path).backbone.is_file() and path.resolve() != by.path
        if whole or path.is_file():
            return source_of(str(path))
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
        np.array(table["row_id"].to_pylist(), str)[own],
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
