"""What a run folder holds, read for its page: each file is optional, a damaged one is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from selfsight import vocabulary
from selfsight.files import not_a_folder, read_json
from selfsight.records.content import read_record
from selfsight.records.results import ResultsFile
from selfsight.reporting.distributions import Splits
from selfsight.runs.folder import RunFolder
from selfsight.vocabulary import run_names

Read = TypeVar("Read")


@dataclass(frozen=True)
class RunContents:
    """One run, as far as its files are there; what is missing is None."""

    path: Path
    name: str
    settings: dict[str, Any] | None
    environment: dict[str, Any] | None
    splits: Splits | None
    metrics: dict[str, list[float | None]] | None
    samples: dict[str, NDArray[Any]] | None
    results: ResultsFile | None
    map: dict[str, NDArray[Any]] | None

    def setting(self, dotted: str) -> Any:
        """A setting by its dotted path, or None."""
        value: Any = self.settings
        for part in dotted.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    @property
    def about_data(self) -> dict[str, Any]:
        data = (self.environment or {}).get("data")
        return data if isinstance(data, dict) else {}

    @property
    def unchanged(self) -> bool:
        """Whether nothing was trained: the run took its weights as they were."""
        return bool(self.setting("epochs") == 0)

    def subject_title(self, subject: str) -> str:
        """How a table calls a subject; nothing is called trained that was not."""
        if subject != "trained" or not self.unchanged:
            return vocabulary.subject(subject).title
        titles = {"published": "published weights", "none": "random weights"}
        return titles.get(str(self.setting("weights")), "given weights")

    @property
    def leaks(self) -> list[str]:
        """The leaks that the user allowed in training or evaluation, one sentence each."""
        leaks = (self.environment or {}).get("allowed_leaks")
        of_training = [str(leak) for leak in leaks] if isinstance(leaks, list) else []
        of_results = self.results.allowed_leaks if self.results else []
        return list(dict.fromkeys([*of_training, *of_results]))

    @property
    def cautions(self) -> list[str]:
        """What lessens the results without being a leak, one sentence each."""
        return self.results.cautions if self.results else []


def read_run(path: str | Path) -> RunContents:
    """Raises ``ValueError`` when there is no such run or one of its files is damaged."""
    folder = RunFolder(path)
    if not folder.path.is_dir():
        raise ValueError(f"run {path}: {not_a_folder(path)}.")
    folder.check(folder.digests_of_training())
    results = _optional(folder.results, lambda path: read_record(ResultsFile, path).shown)
    if results is not None:
        folder.check(results.files, remedy="Evaluate the run again.")
    contents = RunContents(
        path=folder.path,
        name=folder.path.resolve().name,
        settings=_optional(folder.settings, lambda _: folder.read_settings()),
        environment=_optional(folder.environment, _read_object),
        splits=_optional(folder.splits, _read_splits),
        metrics=_optional(folder.metrics, lambda _: folder.read_metrics()),
        samples=_optional(folder.samples, _read_samples),
        results=results,
        map=_optional(folder.representations / "map.npz", _read_map),
    )
    parts = ("settings", "environment", "splits", "metrics", "samples", "results")
    if all(getattr(contents, part) is None for part in parts):
        raise ValueError(f"run {path}: the folder holds no file of a run, so nothing to report.")
    return contents


def with_own_names(runs: Sequence[RunContents]) -> list[RunContents]:
    """Runs under names that are unique: see `selfsight.vocabulary.run_names`."""
    names = run_names([run.path.resolve() for run in runs])
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def _optional(path: Path, read: Callable[[Path], Read]) -> Read | None:
    if not path.exists():
        return None
    if not path.is_file():
        raise ValueError(f"{path}: a folder stands where a file is needed; move it away.")
    try:
        return read(path)
    except Exception as error:  # a damaged file may raise anything: zip, pickle, arrow, unicode
        if isinstance(error, ValueError) and path.name in str(error):
            raise
        raise ValueError(f"{path} is damaged and cannot be read: {error}") from None


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it must hold an object.")
    return content


def _read_arrays(path: Path, needed: Sequence[str]) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise ValueError(f"{path} is damaged: it has no array {missing[0]!r}.")
    return arrays


def _read_samples(path: Path) -> dict[str, NDArray[Any]]:
    arrays = _read_arrays(path, ["images"])
    for name, array in arrays.items():
        if array.ndim != 4 or array.dtype != np.uint8 or len(array) != len(arrays["images"]):
            raise ValueError(f"{path} is damaged: {name!r} must be (n, H, W, C) uint8.")
    return arrays


def _read_map(path: Path) -> dict[str, NDArray[Any]]:
    arrays = _read_arrays(path, ["x"])
    if arrays["x"].ndim != 2 or arrays["x"].shape[1] != 2:
        raise ValueError(f"{path} is damaged: 'x' must be (M, 2).")
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) != len(arrays["x"]):
            raise ValueError(f"{path} is damaged: {name!r} has another length than 'x'.")
    return arrays


def _read_splits(path: Path) -> Splits:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    if "split" not in table.column_names:
        raise ValueError(f"{path} is damaged: it has no column 'split'.")
    split = np.asarray(table["split"].to_pylist(), dtype=str)
    sides = [name for name in ("train", "unlabelled", "validation", "test") if name in split]
    groups: dict[str, int] = {}
    if "group" in table.column_names and table["group"].null_count < len(table):
        for side in sides:
            groups[side] = int(
                pc.count_distinct(table["group"].filter(pa.array(split == side))).as_py()
            )
    metadata = table.schema.metadata or {}
    name = metadata.get(b"target", b"").decode(errors="replace")
    target = table["target"] if "target" in table.column_names else None
    if target is None or target.null_count == len(table):
        empty = dict.fromkeys(sides, 0)
        return Splits(_counted(split, sides), empty, groups, None)
    of_side = {side: target.filter(pa.array(split == side)).drop_null() for side in sides}
    labelled = {side: len(values) for side, values in of_side.items()}
    counted = _counted(split, sides)
    kind = target.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        shares = {side: _shares(values) for side, values in of_side.items()}
        return Splits(counted, labelled, groups, "class", shares, target=name)
    if _is_text(kind.value_type) or pa.types.is_null(kind.value_type):
        shares = {side: _shares(pc.list_flatten(values)) for side, values in of_side.items()}
        both = _together(of_side["train"].to_pylist() if "train" in of_side else [])
        return Splits(counted, labelled, groups, "labels", shares, together=both, target=name)
    numbers = {
        side: np.array(
            [[np.nan if v is None else v for v in row] for row in values.to_pylist()], np.float64
        )
        for side, values in of_side.items()
        if len(values)
    }
    return Splits(counted, labelled, groups, "number", numbers=numbers, target=name)


def _together(rows: Sequence[Sequence[str]]) -> dict[str, dict[str, int]]:
    both: dict[str, dict[str, int]] = {}
    for labels in rows:
        for a in labels:
            counts = both.setdefault(a, {})
            for b in labels:
                counts[b] = counts.get(b, 0) + 1
    return both


def _counted(split: NDArray[np.str_], sides: Sequence[str]) -> dict[str, int]:
    return {side: int((split == side).sum()) for side in sides}


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _shares(values: Any) -> dict[str, int]:
    return {str(pair["values"]): int(pair["counts"]) for pair in values.value_counts().to_pylist()}
