"""Columns of a Parquet file that hold images: encoded bytes, or nested lists of pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfsight.data.notes import guess
from selfsight.data.reading import Asked
from selfsight.data.sources.steps.columns import first_line
from selfsight.settings import unknown

PREFERRED = re.compile(r"^(image|img|picture|photo|pixels|pixel_values)s?$", re.I)
NOT_PREFERRED = re.compile(
    r"(^|_)(mask|masks|label|labels|seg|segmentation|annotation|depth|target|gt|ground_truth"
    r"|thumbnail)(_|$)",
    re.I,
)


def schema_of(file: Path) -> Any:
    """The schema of a Parquet file.

    Raises:
        ValueError: it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise ValueError(f"{file} is not a readable Parquet file ({first_line(error)}).") from None


def image_columns(file: Path) -> list[str]:
    """Columns with encoded images: struct<bytes, path> or binary; none but in Parquet."""
    import pyarrow as pa

    if file.suffix.lower() != ".parquet":
        return []
    return [
        field.name
        for field in schema_of(file)
        if pa.types.is_binary(field.type)
        or pa.types.is_large_binary(field.type)
        or (pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
    ]


def array_columns(file: Path) -> list[str]:
    """Columns of nested lists of numbers, two or three deep: pixels."""
    import pyarrow as pa

    if file.suffix.lower() != ".parquet":
        return []
    found = []
    for field in schema_of(file):
        kind, depth = field.type, 0
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        while (
            pa.types.is_list(kind)
            or pa.types.is_large_list(kind)
            or pa.types.is_fixed_size_list(kind)
        ):
            kind, depth = kind.value_type, depth + 1
        if depth in (2, 3) and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            found.append(field.name)
    return found


def chosen_column(names: Sequence[str], asked: Asked, source: str) -> tuple[str | None, list[str]]:
    """The column of images among several, and the guess; None where there is none.

    Raises:
        ValueError: the one that was asked for is not there.
    """
    wanted = asked.options.image_column
    if wanted is not None and wanted in names:
        return wanted, []
    wanted = None if "image_column" in asked.held else wanted
    if not names:
        return None, []
    if wanted is not None:
        raise unknown(f"image column in {source} named", wanted, names)
    best = min(names, key=lambda n: (bool(NOT_PREFERRED.search(n)), not PREFERRED.search(n)))
    others = [name for name in names if name != best]
    if not others:
        return best, []
    text = f"Images are read from column {best}, and not from {', '.join(others)}"
    return best, [guess(text, "image_column", best, others, about=source)]
