"""Columns to colour a map by: what the index knows, tables of the user's, right and wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfsight.neighbours.index import Index
from selfsight.neighbours.pair_table import read_table
from selfsight.reporting.map_page import MapColumn

WORDS: dict[object, str] = {True: "by the training", False: "not by the training"}


def map_columns(
    index: Index, places: NDArray[np.int64], further: Mapping[str, Sequence[str | None]]
) -> tuple[MapColumn, ...]:
    """What the index knows, where it differs between images, then the further columns."""
    known: dict[str, Sequence[str | None]] = {}
    rows = index.rows.take(places)
    for name in ("label", "split", "group", "source", "seen"):
        values = rows[name].to_pylist()
        shown = index.card.target if name == "label" and index.card.target else name
        if len(set(values)) > 1:
            known[shown] = [
                None if v is None else WORDS[v] if name == "seen" else str(v) for v in values
            ]
    numeric = {index.card.target} if index.card.target_kind == "number" else set()
    for name, texts in further.items():
        taken = f"{name} (2)" if name in known else name
        known[taken] = [texts[place] for place in places.tolist()]
        if _are_numbers(known[taken]):
            numeric.add(taken)
    return tuple(_column_of(name, texts, name in numeric) for name, texts in known.items())


def _are_numbers(texts: Sequence[str | None]) -> bool:
    """Whether a column holds more different numbers than a legend can show."""
    known = {text for text in texts if text is not None}
    try:
        return len({float(text) for text in known}) > 20
    except ValueError:
        return False


def _column_of(name: str, texts: Sequence[str | None], numeric: bool) -> MapColumn:
    """A column of categories, or of numbers where every known text is one."""
    if numeric:
        try:
            values = np.array([np.nan if t in (None, "") else float(t) for t in texts])
            return MapColumn(name, (), values)
        except ValueError:  # several numbers each
            pass
    names = sorted(
        {t for t in texts if t}, key=lambda t: (not t.isdigit(), len(t) * t.isdigit(), t)
    )
    code = {text: at for at, text in enumerate(names)}
    return MapColumn(name, tuple(names), np.array([code.get(t or "", -1) for t in texts], np.int64))


def further_columns(paths: Sequence[str], index: Index) -> dict[str, list[str | None]]:
    """Columns of tables that have a ``row_id``, in the order of an index.

    Raises:
        ValueError: no such file, no ``row_id`` in it, or no row id of the index.
    """
    columns: dict[str, list[str | None]] = {}
    for path in paths:
        table = read_table(path, "columns")
        if "row_id" not in table.column_names:
            raise ValueError(
                f"columns {path}: it has no column row_id; it has {', '.join(table.column_names)}."
            )
        rows = [index.places.get(str(row_id)) for row_id in table["row_id"].to_pylist()]
        if len(table) and all(row is None for row in rows):
            raise ValueError(
                f"columns {path}: none of its row ids is in the index, whose first is "
                f"{str(index.row_ids[0])!r}."
            )
        for name in table.column_names:
            if name in ("row_id", "label"):
                continue
            values: list[str | None] = [None] * len(index)
            for row, value in zip(rows, table[name].to_pylist(), strict=True):
                if row is not None and value is not None:
                    values[row] = str(value)
            columns[name] = values
    return columns


def error_column(predictions: Path, index: Index) -> dict[str, list[str | None]]:
    """Right or wrong, by the last probe on most labels in a run's predictions; of classes only."""
    import pyarrow.parquet as pq

    if not predictions.is_file():
        return {}
    table = pq.read_table(predictions)
    frame = {name: table[name].to_pylist() for name in ("row_id", "target", "probe", "subject")}
    fractions = np.array(table["label_fraction"].to_pylist())
    seeds = np.array(table["label_seed"].to_pylist())
    wanted = np.array([
        target == index.card.target and subject == "trained" and probe in ("linear", "knn")
        for target, probe, subject in zip(
            frame["target"], frame["probe"], frame["subject"], strict=True
        )
    ])  # fmt: skip
    if index.card.target_kind != "class" or not wanted.any():
        return {}
    wanted &= fractions == fractions[wanted].max()
    wanted &= seeds == seeds[wanted].min()
    linear = wanted & np.array([probe == "linear" for probe in frame["probe"]])
    rows = np.flatnonzero(linear if linear.any() else wanted)
    values: list[str | None] = [None] * len(index)
    for row in rows.tolist():
        place = index.places.get(frame["row_id"][row])
        if place is not None:
            right = int(np.argmax(table["output"][row].as_py())) == int(
                table["truth"][row][0].as_py()
            )
            values[place] = "right" if right else "wrong"
    return {"prediction": values} if any(values) else {}
