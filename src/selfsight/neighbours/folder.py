"""The folder of an index, which appears whole or not at all.

==================== =============================================================
``vectors.npy``       vectors of length 1, float32 (an exact index), or
``index.faiss``       inverted lists of faiss
``rows.parquet``      in their order: row id, file, source, split, label, group, seen, prefix,
                     length, digest of the pixels
``pictures.parquet``  small pictures, PNG or JPEG
``index.json``        hash of the network, metric, form, recall; checksums of the others
==================== =============================================================
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.files import write_json
from selfsight.neighbours.approximate import opened
from selfsight.neighbours.card import (
    CARD,
    LISTS,
    PICTURES,
    ROWS,
    VECTORS,
    IndexCard,
    stored,
)
from selfsight.neighbours.exact import Vectors, mapped
from selfsight.runs.sides import read_run_table

COLUMNS = ("row_id", "file", "source", "split", "label", "group", "seen", "prefix", "length",
           "digest")  # fmt: skip
"""Of ``rows.parquet``. ``file`` is the name that a Parquet file keeps of the image, ``seen``
whether pretraining saw it (null: not known), ``prefix`` what the row id and the group begin with
in the index and not in the source, ``length`` that of the representation before it was brought
to 1, ``digest`` of the pixels (null: blank, or not known)."""


def check_free(out: Path, *, append: bool) -> None:
    """Raises ``ValueError`` unless an index can be written here without loss."""
    exists = (out / CARD).is_file()
    if exists and not append:
        raise ValueError(
            f"out {out}: there is an index already; add to it with --append, or choose another "
            "--out."
        )
    if not exists and append:
        raise ValueError(f"append: there is no index in {out}; leave --append out to make one.")
    if not exists and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"out {out}: it is not an empty folder; choose another --out.")


@contextmanager
def writing_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside ``out`` that takes its place when the block ends well."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f"{out.name}.{os.getpid()}.tmp")
    previous = out.with_name(f"{out.name}.previous")
    temporary.mkdir()
    try:
        yield temporary
        for path in temporary.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        if out.exists():
            shutil.rmtree(previous, ignore_errors=True)
            out.rename(previous)
        temporary.rename(out)
        shutil.rmtree(previous, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_rows(folder: Path, rows: Any) -> None:
    """``rows.parquet``."""
    import pyarrow.parquet as pq

    pq.write_table(rows, str(folder / ROWS))


def write_card(folder: Path, card: IndexCard) -> IndexCard:
    """``index.json`` with the checksums of the files that are there; the last file to be written.

    Returns:
        The card with the checksums.
    """
    files = {
        name: stored(folder / name)
        for name in (VECTORS, LISTS, ROWS, PICTURES)
        if (folder / name).is_file()
    }
    card = card.updated({"files": files})
    write_json(folder / CARD, card.plain())
    return card


def open_vectors(folder: Path, card: IndexCard) -> Vectors:
    """The vectors of a folder, memory-mapped."""
    if card.kind == "exact":
        return mapped(folder / VECTORS, card.count, card.width)
    return opened(folder / LISTS, card)


def read_rows(path: Path) -> Any:
    """``rows.parquet``; an index that was written without digests has none that are known.

    Raises:
        ValueError: it is damaged.
    """
    import pyarrow as pa

    table = read_run_table(path)
    if "digest" not in table.column_names:
        table = table.append_column("digest", pa.nulls(len(table), pa.uint64()))
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        raise ValueError(f"{path} is damaged: it has no column {missing[0]}.")
    return table.select(COLUMNS)


def rows_table(row_ids: NDArray[np.str_], **columns: Any) -> Any:
    """A pyarrow table with `COLUMNS`.

    Args:
        row_ids: ``(N,)``.
        columns: some of the others, ``(N,)`` each; those that are missing are unknown.
    """
    import pyarrow as pa

    kinds = dict.fromkeys(COLUMNS, pa.string()) | {
        "seen": pa.bool_(),
        "length": pa.float32(),
        "digest": pa.uint64(),
    }
    given = {"row_id": row_ids.tolist(), **columns}
    empty = [None] * len(row_ids)
    return pa.table({name: pa.array(given.get(name, empty), kinds[name]) for name in COLUMNS})
