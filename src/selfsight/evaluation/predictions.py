"""`predictions.parquet`: one row a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.files import digest_of, replacing

_PLACE = ("evaluation", "data", "target", "probe", "subject", "split")
_FIT = ("evaluation", "target", "probe", "subject", "split", "label_fraction", "label_seed")
_ALL = 20_000_000  # numbers of a target above which only the first label draw is kept


class Predictions:
    """Collects predictions and writes them beside those of other data and targets."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        self.tables: list[Any] = []
        self.numbers = 0

    def add(
        self,
        about: dict[str, Any],
        rows: NDArray[np.int64],
        output: NDArray[np.float32],
        *,
        keep: bool,
    ) -> None:
        """One probe's predictions.

        Args:
            about: evaluation, data, target, probe, subject, split, label_fraction, label_seed.
            rows: ``(M,)`` rows of the image set.
            output: ``(M, K)`` probabilities or numbers.
            keep: keep these even when there are very many.
        """
        import pyarrow as pa

        self.numbers += output.size
        if self.numbers > _ALL and not keep:
            return
        target = self.images.targets[about["target"]].values[rows]
        truth = target[:, None].astype(np.float32) if target.ndim == 1 else target
        count = len(rows)
        columns: dict[str, Any] = {"row_id": _repeated(self.images.row_ids[rows].tolist())}
        for name in _PLACE:
            index = pa.array(np.zeros(count, np.int32))
            columns[name] = pa.DictionaryArray.from_arrays(index, [about[name]])
        columns["label_fraction"] = pa.array(np.full(count, about["label_fraction"]))
        columns["label_seed"] = pa.array(np.full(count, about["label_seed"], np.int64))
        columns["output"] = _lists(output)
        columns["truth"] = _lists(truth)
        self.tables.append(pa.table(columns))

    def write(self, path: Path, digests: Mapping[str, str]) -> list[str]:
        """Adds these to the file; predictions of the same fit take the place of the old ones.

        The file that ``results.json`` knows stays as `previous_of` until that is written too, and
        `settle` removes it: a stop between the two files loses no rows.

        Args:
            path: the file.
            digests: name -> checksum, as ``results.json`` holds them: of the file that is there,
                or of the one before it.

        Returns:
            A note where the file that is there is damaged: its rows are not kept.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self.tables:
            return []
        table = pa.concat_tables(self.tables).unify_dictionaries()
        notes, old, previous = [], None, previous_of(path)
        known = digests.get(path.name)
        whole = [p for p in (path, previous) if known and p.is_file() and digest_of(p) == known]
        if whole:
            old = pq.read_table(whole[0])
        if known and path.exists() and (old is None or not old.schema.equals(table.schema)):
            notes.append(
                f"{path.name} was damaged and has been replaced: predictions of earlier "
                "evaluations are gone until these are made again."
            )
        elif old is not None:
            table = pa.concat_tables([old.filter(_others(old, table)), table]).unify_dictionaries()
        with replacing(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
            if whole[:1] == [path]:
                path.replace(previous)
        return notes


def previous_of(path: Path) -> Path:
    """Where the predictions stay that ``results.json`` still speaks of."""
    return path.with_stem(f"{path.stem}.previous")


def settle(path: Path) -> None:
    """Removes the predictions before these: ``results.json`` speaks of these now."""
    previous_of(path).unlink(missing_ok=True)


def _others(old: Any, new: Any) -> Any:
    """Mask of the rows of one table whose fit is not in the other one."""
    import pyarrow as pa

    made = set(_fits(new))
    return pa.array([fit not in made for fit in _fits(old)], pa.bool_())


def _fits(table: Any) -> list[tuple[Any, ...]]:
    """What each row is a prediction of."""
    columns = [table[name].to_pylist() for name in _FIT]
    return list(zip(*columns, strict=True))


def _repeated(text: list[str]) -> Any:
    import pyarrow as pa

    return pa.array(text, pa.string()).dictionary_encode()


def _lists(values: NDArray[np.float32]) -> Any:
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    offsets = np.arange(len(values) + 1, dtype=np.int32) * np.int32(values.shape[1])
    return pa.ListArray.from_arrays(pa.array(offsets), flat)
