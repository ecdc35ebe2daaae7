"""Delimited text: encoding, delimiter, header and decimal mark by what stands in the file."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from selfsight.data.sources.steps.texts import PATH
from selfsight.files import text_of_cell

DELIMITERS = (",", ";", "\t", "|")
HEAD = 1 << 18
"""Bytes at the beginning that are looked at."""
LINES = 100
DECIMAL = r"^\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*$"
PADDED = r"^\s*[+-]?0\d"
NUMBER = re.compile(r"^\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*$")
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"),
         (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


@dataclass(frozen=True)
class Dialect:
    """How a file of delimited text is written."""

    encoding: str
    delimiter: str
    names: tuple[str, ...]
    header: bool
    even: bool
    """Every line that was looked at has as many cells as there are names."""


def read_delimited(file: Path) -> tuple[Any, list[str]]:
    """The table in a CSV or TSV file, and what was decided about how it is written.

    pyarrow reads it; lines of other lengths are evened out before by the csv module.

    Raises:
        ValueError: lines that do not fit the header.
        pyarrow.ArrowException, OSError: it is no table.
    """
    import pyarrow as pa

    with file.open("rb") as opened:
        head = opened.read(HEAD)
    dialect = _dialect(head, file.suffix.lower())
    notes = _notes(file.name, dialect)
    if dialect.even:
        try:
            return _plain(_parsed(file, dialect), dialect, file.name, notes), notes
        except (pa.ArrowInvalid, UnicodeDecodeError):
            pass  # a later line is not as the first ones
    try:
        text = file.read_text(encoding=dialect.encoding)
    except UnicodeDecodeError:
        dialect = replace(dialect, encoding="cp1252")
        text = file.read_text(encoding="cp1252", errors="replace")
        notes = _notes(file.name, dialect)
    even, names, more = _even(text, dialect, file)
    dialect = Dialect("utf-8", dialect.delimiter, names, True, True)
    return _plain(_parsed(io.BytesIO(even), dialect), dialect, file.name, notes), [*notes, *more]


def _dialect(head: bytes, suffix: str) -> Dialect:
    encoding = next((name for mark, name in MARKS if head.startswith(mark)), "utf-8")
    if encoding == "utf-8" and head[1:200:2].count(0) > head[:200].count(0) // 2 > 0:
        encoding = "utf-16-le"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        encoding = "cp1252"
        text = head.decode(encoding, "replace")
    lines = text.splitlines()
    lines = (lines[:-1] if len(head) == HEAD else lines)[:LINES] or [""]
    delimiter = "\t" if suffix == ".tsv" and any("\t" in line for line in lines) else _best(lines)
    rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
    first = rows[0] if rows else [""]
    header = not (any(PATH.search(cell.strip()) for cell in first) or all(map(NUMBER.match, first)))
    if header:
        names = [name.strip() for name in first]
    else:
        names = [f"column {place}" for place in range(1, len(first) + 1)]
        paths = [i for i, cell in enumerate(first) if PATH.search(cell.strip())]
        if paths:
            names[paths[0]] = "path"
    even = all(len(row) == len(names) for row in rows) and names[-1] != ""
    return Dialect(
        encoding, delimiter, tuple(names), header, even and len(set(names)) == len(names)
    )


def _best(lines: Sequence[str]) -> str:
    """The delimiter that gives most lines as many cells, more than one, as the first line."""
    best, found = (0.0, 0), ","
    for delimiter in DELIMITERS:
        try:
            rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            continue
        counts = Counter(len(row) for row in rows)
        usual, many = counts.most_common(1)[0] if counts else (1, 0)
        fits = usual > 1 and len(rows[0]) >= max(2, usual - 1)
        score = (many / len(rows), usual) if fits else (0.0, 0)
        if score > best:
            best, found = score, delimiter
    return found


def _notes(name: str, dialect: Dialect) -> list[str]:
    notes = []
    if dialect.encoding not in ("utf-8", "utf-8-sig"):
        notes.append(f"{name} is read as {dialect.encoding}.")
    if dialect.delimiter not in (",", "\t"):
        notes.append(f"Columns of {name} are separated by {dialect.delimiter!r}.")
    if not dialect.header:
        notes.append(f"{name} has no header; its columns are {', '.join(dialect.names)}.")
    return notes


def _parsed(source: Any, dialect: Dialect) -> Any:
    """The table; whole numbers of which one begins with a zero (``007``) are codes: text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = _read(source, dialect)
    whole = [n for n, kind in zip(table.column_names, table.schema.types, strict=True)
             if pa.types.is_integer(kind)]  # fmt: skip
    if whole:
        if isinstance(source, io.BytesIO):
            source.seek(0)
        for name, column in zip(whole, _read(source, dialect, whole).columns, strict=True):
            if pc.any(pc.match_substring_regex(column, PADDED)).as_py():
                table = table.set_column(table.column_names.index(name), name, column)
    return _texts(table)


def _read(source: Any, dialect: Dialect, texts: Sequence[str] = ()) -> Any:
    """The table as pyarrow types it; some columns alone, as text."""
    import pyarrow as pa
    import pyarrow.csv as csv_reader

    encoding = {"utf-8-sig": "utf-8"}.get(dialect.encoding, dialect.encoding)
    return csv_reader.read_csv(
        source,
        read_options=csv_reader.ReadOptions(
            column_names=list(dialect.names),
            skip_rows=1 if dialect.header else 0,
            encoding=encoding,
        ),
        parse_options=csv_reader.ParseOptions(delimiter=dialect.delimiter),
        convert_options=csv_reader.ConvertOptions(
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            include_columns=list(texts),
            column_types={name: pa.string() for name in texts},
        ),
    )


def _texts(table: Any) -> Any:
    """Names and texts as they were before `csv_cell` wrote them."""
    import pyarrow as pa

    columns = []
    for column in table.columns:
        if pa.types.is_string(column.type):
            texts = [None if text is None else text_of_cell(text) for text in column.to_pylist()]
            column = pa.chunked_array([pa.array(texts, column.type)])
        columns.append(column)
    return pa.table(columns, names=[text_of_cell(name) for name in table.column_names])


def _plain(table: Any, dialect: Dialect, name: str, notes: list[str]) -> Any:
    """Numbers with a decimal comma as numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if dialect.delimiter == ",":
        return table
    for place, column in enumerate(table.columns):
        if not pa.types.is_string(column.type) or column.null_count == len(column):
            continue
        if pc.any(pc.match_substring_regex(column, PADDED)).as_py():
            continue
        if pc.all(pc.match_substring_regex(column, DECIMAL + r"|^\s*[+-]?\d+\s*$")).as_py():
            numbers = pc.replace_substring(pc.utf8_trim_whitespace(column), ",", ".")
            field = table.column_names[place]
            table = table.set_column(place, field, numbers.cast(pa.float64()))
            notes.append(f"Numbers in column {field} of {name} have decimal commas.")
    return table


def _even(text: str, dialect: Dialect, file: Path) -> tuple[bytes, tuple[str, ...], list[str]]:
    """The table with as many cells in each line as there are names, the names, and notes."""
    reader = csv.reader(io.StringIO(text), delimiter=dialect.delimiter, strict=True)
    try:
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"{file}: line {reader.line_num} cannot be read ({error}).") from None
    body = rows[1:] if dialect.header else rows
    names = list(dialect.names)
    if body and names[-1:] != [""] and all(len(row) == len(names) + 1 for row in body):
        if all(not row[-1].strip() for row in body):
            body = [row[:-1] for row in body]
        else:  # a column of row names, which the header leaves out
            names = ["row", *names]
    short = 0
    for number, row in enumerate(body):
        while len(row) > len(names) and not row[-1].strip():
            row.pop()
        if len(row) > len(names):
            raise ValueError(
                f"{file}: line {number + 1 + dialect.header} has {len(row)} cells and there are "
                f"{len(names)} columns ({', '.join(names)}); put texts with "
                f"{dialect.delimiter!r} in quotes."
            )
        short += len(row) < len(names)
        row += [""] * (len(names) - len(row))
    kept = [i for i, name in enumerate(names) if name or any(row[i].strip() for row in body)]
    seen: Counter[str] = Counter()
    unique = []
    for i in kept:
        name = names[i] or "row"
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    out = io.StringIO()
    writer = csv.writer(out, delimiter=dialect.delimiter)
    writer.writerow(unique)
    writer.writerows([row[i] for i in kept] for row in body)
    notes = [f"{short:,} lines of {file.name} are short: the cells at their end are empty."]
    return out.getvalue().encode(), tuple(unique), notes if short else []
