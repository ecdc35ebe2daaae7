"""Tables in long form: several rows for an image, one for each defect, say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfsight.data.notes import Note, left_out
from selfsight.data.reading import FOLDER, Asked
from selfsight.data.sources.steps.columns import GROUP, SPLIT, find_column, flat

RARE = 0.05
"""Share of images with several values below which a column is doubted to hold several labels."""


def grouped(
    columns: Mapping[str, Any], keys: Sequence[str | None], source: str, asked: Asked
) -> tuple[dict[str, Any], list[int], list[str]] | None:
    """One row for each key, where the rows of a key differ; None where no two rows do.

    Text, integers and truth values that differ between the rows of a key become lists: several
    labels. Other values that differ are left out.

    Args:
        columns: pyarrow columns.
        keys: what each row is about; None: nothing.
        source: name of the table, for messages.
        asked: columns that are split and group, which must not differ, and kinds of columns.

    Returns:
        The columns, the first row of each key, and notes.

    Raises:
        ValueError: the rows of a key differ in the split, the group, or a column that was said
            to be a class.
    """
    import pyarrow as pa

    rows: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key is not None:
            rows.setdefault(key, row)
    if len(rows) == sum(key is not None for key in keys):
        return None
    first = list(rows.values())
    plain = {name: flat(column) for name, column in columns.items()}
    codes = pa.array(keys)
    several: dict[str, Any] = {}
    for name, column in plain.items():
        lists = _distinct(codes, column)
        if lists is not None and max(map(len, lists), default=0) > 1:
            several[name] = lists
    if not several:
        return None
    no = (None, FOLDER)
    split = find_column(columns, asked.split, SPLIT, "split") if asked.split not in no else None
    group = find_column(columns, asked.group, GROUP, "group") if asked.group not in no else None
    kinds = asked.options.kind_of
    for name in several:
        if name in (split, group) or kinds.get(name) in ("class", "identity"):
            place = next(i for i, values in enumerate(several[name]) if len(values) > 1)
            key = list(rows)[place]
            other = next(i for i in range(first[place] + 1, len(keys)) if keys[i] == key)
            raise ValueError(
                f"{source}: {key!r} is named twice (rows {first[place] + 1} and {other + 1}) with "
                f"different {name}."
            )
    result: dict[str, Any] = {}
    labels, dropped = [], []
    for name, column in plain.items():
        if name not in several:
            result[name] = column.take(pa.array(first))
        elif pa.types.is_floating(column.type) or _nested(column.type):
            dropped.append(name)
        else:
            labels.append(name)
            result[name] = pa.chunked_array([pa.array(several[name], pa.list_(column.type))])
    text = f"{source} has several rows for an image: {len(keys):,} rows for {len(first):,} images"
    odd = [name for name in labels if kinds.get(name) != "labels" and _rare(several[name])]
    said = f"{text}; {', '.join(labels)} become several labels." if labels else f"{text}."
    if odd:
        place = next(i for i, values in enumerate(several[odd[0]]) if len(values) > 1)
        count = sum(len(values) > 1 for values in several[odd[0]])
        said = (
            f"{text}; {', '.join(labels)} become several labels, although only {count:,} of "
            f"{len(first):,} images hold more than one {odd[0]}, such as {list(rows)[place]!r} "
            f"({', '.join(map(str, several[odd[0]][place]))}): correct these rows, or confirm "
            f"it with --kinds {odd[0]}:labels."
        )
    note = Note(said, "guess", about=source, taken="long form", count=len(first),
                doubtful=bool(odd))  # fmt: skip
    notes: list[str] = [note]
    if dropped:
        gone = (
            f"Columns that differ between the rows of an image are left out: {', '.join(dropped)}."
        )
        notes.append(left_out(gone, about=dropped[0], count=len(dropped), names=dropped))
    return result, first, notes


def _rare(values: Sequence[Sequence[Any]]) -> bool:
    """Whether so few keys have several values that these are probably mistakes."""
    return sum(len(each) > 1 for each in values) < RARE * len(values)


def _nested(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_nested(kind))


def _distinct(codes: Any, column: Any) -> list[list[Any]] | None:
    """The different known values of each key, keys in the order in which they come."""
    import pyarrow as pa

    if pa.types.is_null(column.type):  # Acero's hash_distinct ends the process on it
        return [[] for _ in dict.fromkeys(key for key in codes.to_pylist() if key is not None)]
    table = pa.table({"key": codes, "value": column})
    if _nested(column.type):
        found: dict[str, list[Any]] = {}
        for key, value in zip(codes.to_pylist(), column.to_pylist(), strict=True):
            values = found.setdefault(key, []) if key is not None else []
            if value is not None and value not in values:
                values.append(value)
        return list(found.values())
    made = table.group_by("key", use_threads=False).aggregate([("value", "distinct")])
    return [
        sorted(value for value in values if value is not None and value == value)
        for key, values in zip(
            made["key"].to_pylist(), made["value_distinct"].to_pylist(), strict=True
        )
        if key is not None
    ]
