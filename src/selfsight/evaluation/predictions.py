"""`predictions.parquet`: one row a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.files import digest_of, replacing

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
            about: target, probe, weights, label_fraction, label_seed, split.
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
        for name in ("data", "target", "probe", "subject", "split"):
            index = pa.array(np.zeros(count, np.int32))
            columns[name] = pa.DictionaryArray.from_arrays(index, [about[name]])
        columns["label_fraction"] = pa.array(np.full(count, about["label_fraction"]))
        columns["label_seed"] = pa.array(np.full(count, about["label_seed"], np.int64))
        columns["output"] = _lists(output)
        columns["truth"] = _lists(truth)
        self.tables.append(pa.table(columns))

    def write(self, path: Path, digests: Mapping[str, str]) -> list[str]:
        """Replaces the rows of the same data and target, keeps the others.

        Args:
            path: the file.
            digests: name -> checksum, as ``results.json`` holds them: of the file that is there.

        Returns:
            A note where the file that is there is damaged: its rows are not kept.
        """
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        if not self.tables:
            return []
        notes = []
        whole = path.is_file() and digests.get(path.name) == digest_of(path)
        if path.exists() and not whole:
            notes.append(
                f"{path.name} was damaged and has been replaced: predictions on other data and "
                "targets are gone until these are evaluated again."
            )
        table = pa.concat_tables(self.tables).unify_dictionaries()
        if whole:
            old = pq.read_table(path)
            if old.schema.equals(table.schema):
                mine = pc.and_(
                    pc.equal(pc.cast(old["data"], pa.string()), self.images.name),
                    pc.is_in(
                        pc.cast(old["target"], pa.string()),
                        pc.unique(pc.cast(table["target"], pa.string())),
                    ),
                )
                table = pa.concat_tables([old.filter(pc.invert(mine)), table])
                table = table.unify_dictionaries()
        with replacing(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
        return notes


def _repeated(text: list[str]) -> Any:
    import pyarrow as pa

    return pa.array(text, pa.string()).dictionary_encode()


def _lists(values: NDArray[np.float32]) -> Any:
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    offsets = np.arange(len(values) + 1, dtype=np.int32) * np.int32(values.shape[1])
    return pa.ListArray.from_arrays(pa.array(offsets), flat)
