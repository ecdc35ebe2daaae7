"""Arrays beside images as columns: labels, names and groups under keys of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def array_column(array: Any) -> Any:
    """An array of length N as a pyarrow column; ``(N, K)`` as lists."""
    import pyarrow as pa

    values = np.asarray(array[:])
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind in "SUO":
        flat = pa.array(texts_of(values.reshape(-1)))
    else:
        values = values.astype(values.dtype.newbyteorder("="))
        flat = pa.array(values.reshape(-1), from_pandas=values.dtype.kind == "f")
    return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def texts_of(values: NDArray[Any]) -> list[str]:
    """Bytes and text of an array as text."""
    return [
        value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        for value in values.tolist()
    ]


def stacked(columns: Sequence[Any | None], counts: Sequence[int]) -> Any:
    """Columns of several splits one after the other; None is unknown for as many rows.

    Raises:
        ValueError: they hold different types.
    """
    import pyarrow as pa

    known = [column for column in columns if column is not None]
    kinds = {column.type for column in known}
    kind = known[0].type
    if len(kinds) > 1:
        numbers = all(pa.types.is_integer(k) or pa.types.is_floating(k) for k in kinds)
        if not numbers:
            raise ValueError(f"it holds {' in one split and '.join(sorted(map(str, kinds)))}")
        whole = all(pa.types.is_integer(k) for k in kinds)
        kind = pa.int64() if whole else pa.float64()
    chunks = [
        pa.nulls(count, kind) if column is None else column.cast(kind)
        for column, count in zip(columns, counts, strict=True)
    ]
    return pa.chunked_array(chunks, kind)
