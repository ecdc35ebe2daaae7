"""Representations made elsewhere, from a table or an archive, as something to evaluate.

The features stand in the place of the pixels of an `ImageSet`, ``(N, 1, F, 1)``: so splits, groups,
labels, copies across the sides of a split, and the fingerprint are those of the one door,
`selfsight.data.request.open`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.data import request
from selfsight.data.imageset import ImageSet
from selfsight.data.options import DataOptions
from selfsight.data.pixels.values import ValueScale
from selfsight.data.reading import NONE, Asked
from selfsight.data.sources.steps.array_tables import array_column
from selfsight.data.sources.steps.listing import Listing, Loaded
from selfsight.data.sources.steps.listing_from_columns import with_columns
from selfsight.data.sources.steps.matching import ROW_ID
from selfsight.data.sources.steps.tables import read_columns
from selfsight.evaluation.subject import Subject
from selfsight.fitting.representations import Representations

Floats = NDArray[np.float32]
FEATURES = re.compile(r"^(features?|embeddings?|representations?|vectors?|x)$", re.I)
"""Names of a column or an array of features, where there are several that could be it."""
NUMBERED = re.compile(r"^(.*?)[_\- ]?\d+$")


def open_features(path: str | Path, settings: DataOptions) -> ImageSet:
    """Features with their targets, groups and splits, which are completed and checked for leaks.

    Args:
        path: Parquet, CSV or JSON lines with a column of lists or many numeric columns, or
            ``.npz`` with one ``(N, F)`` array. Beside them row ids, targets, a group and a split.
        settings: how columns are read; ``labels`` joins a table by row id.

    Raises:
        ValueError: there is no such file, it holds no features, some are not finite, row ids are
            not unique, or its splits leak.
    """
    path = Path(path)
    columns, names, notes = _columns(path)
    values, rest = _features(path, columns, settings.target)
    ids, rest = _row_ids(path, rest, len(values))
    pixels = values[:, None, :, None]

    def load(rows: NDArray[np.int64], size: Any, max_unreadable: float) -> Loaded:
        return Loaded(pixels[rows], rows, (), ValueScale.of(pixels.dtype))

    listing = Listing(path.stem, ids, np.full(len(ids), "train", "<U10"), load)
    own = settings.target if settings.labels is None and settings.target != NONE else None
    asked = Asked(
        target=own,
        group=settings.group if settings.labels is None else None,
        split=settings.split_column if settings.labels is None else None,
        options=settings,
    )
    listing = with_columns(listing, rest, names, None, asked, notes)
    rows = np.searchsorted(np.sort(ids), listing.row_ids)
    rows = np.argsort(ids)[rows]
    images = ImageSet(
        name=listing.name,
        pixels=pixels[rows],
        row_ids=listing.row_ids,
        splits=listing.splits,
        targets=listing.targets,
        groups=listing.groups,
        group_name=listing.group_name,
        notes=tuple(listing.notes),
    )
    wish = DataOptions(**{name: getattr(settings, name) for name in DataOptions.model_fields})
    if settings.labels is None:
        wish = wish.updated({"group": None, "split_column": None})
    return request.open(wish, images)


def feature_subjects(
    images: ImageSet,
    controls: Sequence[str],
    rows: NDArray[np.int64],
    train: NDArray[np.int64],
    device: torch.device,
) -> list[Subject]:
    """The features as ``trained``, and each control under the name of its file.

    Args:
        images: from `open_features`.
        controls: files of features of the same rows, matched by row id.
        rows: ``(M,)`` rows that are needed, ascending.
        train: rows that means and scales are fitted on.
        device: where the probes run.

    Raises:
        ValueError: a control lacks a row, or has the name of another one.
    """

    def subject(name: str, values: Floats) -> Subject:
        tensor = torch.from_numpy(np.ascontiguousarray(values)).to(device)
        return Subject(name, (Representations.of(tensor, rows, train),))

    found = [subject("trained", images.pixels[rows, 0, :, 0])]
    for control in controls:
        path = Path(control)
        columns, _, _ = _columns(path)
        values, rest = _features(path, columns)
        ids, _ = _row_ids(path, rest, len(values))
        if path.stem in {s.name for s in found}:
            raise ValueError(f"control {control}: another one is called {path.stem}; rename it.")
        place = {row_id: row for row, row_id in enumerate(ids.tolist())}
        missing = [i for i in images.row_ids[rows].tolist() if i not in place]
        if missing:
            raise ValueError(
                f"control {control}: it has no row {missing[0]!r} of {images.name} "
                f"({len(missing):,} of {len(rows):,} are missing)."
            )
        taken = [place[row_id] for row_id in images.row_ids[rows].tolist()]
        found.append(subject(path.stem, values[taken]))
    return found


def _columns(path: Path) -> tuple[dict[str, Any], dict[str, Sequence[str]], list[str]]:
    """The columns of a table, or the arrays of an archive as columns."""
    if path.suffix.lower() != ".npz":
        return read_columns(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # a damaged archive may raise anything
        raise ValueError(f"{path} is no readable .npz ({error}).") from None
    lengths = {len(array) for array in arrays.values() if array.ndim}
    if len(lengths) != 1:
        raise ValueError(f"{path}: its arrays must have one length N (got {sorted(lengths)}).")
    return {name: array_column(a) for name, a in arrays.items() if a.ndim in (1, 2)}, {}, []


def _features(
    path: Path, columns: dict[str, Any], target: str | None = None
) -> tuple[Floats, dict[str, Any]]:
    """``(N, F)`` features, and the other columns."""
    import pyarrow as pa

    def is_number(kind: Any) -> bool:
        return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))

    lists = [
        name
        for name, column in columns.items()
        if hasattr(column.type, "value_type")
        and not pa.types.is_dictionary(column.type)
        and is_number(column.type.value_type)
    ]
    if len(lists) > 1:
        lists = [name for name in lists if FEATURES.match(name)]
        if len(lists) != 1:
            raise ValueError(
                f"{path}: several columns hold lists of numbers; call the features `features`."
            )
    if lists:
        taken = lists
        rows = columns[lists[0]].to_pylist()
        widths = {None if row is None else len(row) for row in rows}
        if len(widths) != 1 or None in widths or 0 in widths:
            raise ValueError(f"{path}: the lists in {lists[0]} must all have one length.")
        values = np.array(rows, np.float32)
    else:
        taken = _numbered([name for name, column in columns.items() if is_number(column.type)])
        if len(taken) < 2:  # features with names of their own
            taken = [n for n, c in columns.items() if pa.types.is_floating(c.type) and n != target]
        if len(taken) < 2:
            raise ValueError(
                f"{path}: it holds no features; give a column of lists, or numeric columns (f0, "
                "f1, ...)."
            )
        values = np.stack(
            [np.asarray(columns[name].to_numpy(), np.float32) for name in taken], axis=1
        )
    bad = np.flatnonzero(~np.isfinite(values).all(1))
    if len(bad):
        raise ValueError(f"{path}: the features of row {bad[0]} are not finite.")
    return values, {name: column for name, column in columns.items() if name not in taken}


def _numbered(names: Sequence[str]) -> list[str]:
    """The largest set of names that are one word and a number each."""
    together: dict[str, list[str]] = {}
    for name in names:
        if match := NUMBERED.match(name):
            together.setdefault(match[1], []).append(name)
    return max(together.values(), key=len, default=[])


def _row_ids(
    path: Path, columns: dict[str, Any], count: int
) -> tuple[NDArray[np.str_], dict[str, Any]]:
    """Row ids of the column that is called so, else ``#ROW``; and the other columns."""
    name = next((name for name in columns if name.lower() == "row_id"), None)
    name = name or next((name for name in columns if ROW_ID.match(name)), None)
    if name is None:
        return np.char.add("#", np.arange(count).astype(str)), columns
    ids = np.array([str(value) for value in columns[name].to_pylist()])
    if len(np.unique(ids)) < len(ids):
        raise ValueError(f"{path}: the row ids in column {name} are not unique.")
    return ids, {other: column for other, column in columns.items() if other != name}
