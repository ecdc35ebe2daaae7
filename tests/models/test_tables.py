"""Tables that are written a part at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfsight.models.tables import writing_table


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 96)])
def test_a_parquet_file_of_representations_is_hardly_larger_than_they_are(
    tmp_path: Path, kind: pa.DataType
) -> None:
    values = np.random.default_rng(0).normal(size=(4096, 96)).astype(np.float32)
    path = tmp_path / "r.parquet"
    with writing_table(path) as write:
        for first in range(0, len(values), 1024):
            part = values[first : first + 1024]
            names = [f"photographs/of/one/folder/{first + row:06}.jpg" for row in range(len(part))]
            rows = pa.array(part.tolist(), kind)
            write(pa.table({"row_id": names, "split": ["train"] * len(part), "values": rows}))
    assert path.stat().st_size < 1.05 * values.nbytes
    np.testing.assert_array_equal(np.stack(pq.read_table(path)["values"].to_numpy()), values)
    text = pq.ParquetFile(path).metadata.row_group(0).column(1)
    assert "RLE_DICTIONARY" in text.encodings  # a text that repeats is kept once
