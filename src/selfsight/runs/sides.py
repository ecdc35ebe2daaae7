"""The sides that a run recorded, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfsight.data.sides import Sides
from selfsight.runs.frame import Frame
from selfsight.runs.run import Run


def read_run_table(path: Path, columns: Sequence[str] | None = None) -> Any:
    """A Parquet file of a run as a pyarrow table.

    Args:
        path: of the file.
        columns: that are read; None: all.

    Raises:
        ValueError: it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table: Any = pq.read_table(path, columns=None if columns is None else list(columns))
        table.validate(full=True)  # text that is no UTF-8
    except (OSError, UnicodeError, pa.ArrowException) as error:
        raise ValueError(f"{path} is damaged and cannot be read: {error}") from None
    return table


def sides_of(run: Run, table: Any = None) -> Sides:
    """The splits and groups that a run recorded, with the digests of its images.

    Args:
        run: a finished run.
        table: its ``splits.parquet``, where that has been read.

    Raises:
        ValueError: its table is damaged.
    """
    table = read_run_table(run.folder.splits) if table is None else table
    try:
        columns = {name: table[name] for name in ("row_id", "split", "group", "digest")}
        known: str = run.environment["data"]["fingerprint"]
    except (KeyError, TypeError):
        raise ValueError(
            f"{run.folder.environment}: it does not say what images the run was trained on."
        ) from None
    groups, names = None, tuple[str, ...]()
    if columns["group"].null_count < len(table):
        groups = columns["group"].to_numpy().astype(np.int64)
        names = _names(table, groups)
    return Sides(
        str(Path(run.folder.path)),
        np.array(columns["row_id"].to_pylist()),
        np.array(columns["split"].to_pylist()),
        groups,
        (table.schema.metadata or {}).get(b"group", b"").decode() or None,
        names,
        known,
        np.asarray(columns["digest"].fill_null(0).to_numpy(), np.uint64),
        Frame.of_run(run).scale(run.name),
    )


def _names(table: Any, groups: Any) -> tuple[str, ...]:
    """The names of the groups, by number; a run that recorded none has numbers for names."""
    if "group_name" not in table.column_names:
        return ()
    names = [str(code) for code in range(int(groups.max(initial=-1)) + 1)]
    for code, name in zip(groups.tolist(), table["group_name"].to_pylist(), strict=True):
        if code >= 0:
            names[code] = name
    return tuple(names)
