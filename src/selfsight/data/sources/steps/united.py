"""Tables of several files as one, where they mean the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfsight.data.notes import doubt, some


def united(
    source: Path, tables: Mapping[str, Any], names: Mapping[str, Mapping[str, Sequence[str]]]
) -> tuple[dict[str, Any], dict[str, Sequence[str]], list[str]]:
    """The columns of all tables, their class names, and what had to be done.

    A column that is not in every file is unknown in the others. Codes whose names differ between
    files become the names.

    Args:
        source: what the tables are of, for messages.
        tables: name of the file -> its table.
        names: name of the file -> class names of its integer columns.

    Raises:
        ValueError: a column that holds text in one file and numbers in another.
    """
    import pyarrow as pa

    notes: list[str] = []
    class_names: dict[str, Sequence[str]] = {}
    tables = dict(tables)
    columns = dict.fromkeys(name for table in tables.values() for name in table.column_names)
    for column in columns:
        given = {file: tuple(names[file].get(column, ())) for file in tables}
        distinct = {words for words in given.values() if words}
        if len(distinct) == 1:
            class_names[column] = distinct.pop()
        elif distinct:
            for file, words in given.items():
                if column in tables[file].column_names:
                    tables[file] = _with_names(tables[file], column, words)
            notes.append(f"Class names of {column} differ between files and are taken by name.")
        _check_types(source, column, tables)
        lacking = [file for file, table in tables.items() if column not in table.column_names]
        if lacking:
            count = sum(tables[file].num_rows for file in lacking)
            text = f"Column {column} is not in {some(lacking)}: it is unknown there."
            notes.append(doubt(text, about=column, count=count))
    try:
        whole = pa.concat_tables(tables.values(), promote_options="permissive")
    except (UnicodeError, pa.ArrowException) as error:
        raise ValueError(f"{source}: its files have different columns ({error}).") from None
    return dict(zip(whole.column_names, whole.columns, strict=True)), class_names, notes


def _with_names(table: Any, column: str, words: Sequence[str]) -> Any:
    import pyarrow as pa

    codes = table[column].to_pylist()

    def named(code: Any) -> Any:
        if isinstance(code, list):
            return [named(each) for each in code]
        known = isinstance(code, int) and 0 <= code < len(words)
        return words[code] if known else None if code is None or code == -1 else str(code)

    texts = pa.chunked_array([pa.array([named(code) for code in codes])])
    return table.set_column(table.column_names.index(column), column, texts)


def _check_types(source: Path, column: str, tables: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` where a column is text here and a number or a list there."""
    first: dict[str, str] = {}
    for file, table in tables.items():
        if column in table.column_names:
            family = _family(table.schema.field(column).type)
            if family:
                first.setdefault(family, file)
    if len(first) > 1:
        held = " and ".join(f"{family} in {file}" for family, file in list(first.items())[:2])
        raise ValueError(
            f"{source}: column {column} holds {held}; write it in the same way in all files."
        )


def _family(kind: Any) -> str:
    """What a type is, in words; empty for a column of nulls."""
    import pyarrow as pa

    if pa.types.is_null(kind):
        return ""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_boolean(kind):
        return "truth values"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numbers"
    if pa.types.is_nested(kind):
        return "lists"
    return str(kind)
