"""`search`: CSV, Parquet and the page agree with the index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

import selfsight
from selfsight.cli import main
from selfsight.neighbours.index import Index


def test_the_table_and_its_page(digits_index: Index, tmp_path: Path) -> None:
    ids = digits_index.row_ids[:3].tolist()
    found = selfsight.search(digits_index, ids, k=5, out=tmp_path / "found.parquet")
    table = pq.read_table(found.path).to_pylist()
    assert len(table) == 15 and [row["rank"] for row in table[:5]] == [1, 2, 3, 4, 5]
    plain = digits_index.search(ids, 5)
    assert [row["row_id"] for row in table] == plain.row_ids.reshape(-1).tolist()
    np.testing.assert_allclose([row["cosine"] for row in table], plain.cosines.reshape(-1))
    labels = dict(zip(digits_index.row_ids.tolist(), digits_index.labels, strict=True))
    assert all(row["label"] == labels[row["row_id"]] for row in table)
    page = found.page.read_text()
    assert page.count("data:image/png") == 18  # three queries with five neighbours each
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.index(ids[0]) < page.index(table[0]["row_id"])


def test_csv_is_printed_without_a_file(
    digits_index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row_id = str(digits_index.row_ids[0])
    assert main(["search", str(digits_index.folder), row_id, "-k", "3", "--far"]) == 0
    printed = tmp_path / "printed.csv"
    printed.write_text(capsys.readouterr().out)
    table = pc.read_csv(printed).to_pydict()
    assert table["rank"] == [1, 2, 3] and set(table["query"]) == {row_id}
    every = digits_index.nearest(digits_index.vectors.at(np.array([0])), 1797)
    assert table["cosine"][0] == pytest.approx(float(every[0].min()), abs=1e-5)


def test_mistakes_of_the_command_line(digits_index: Index, tmp_path: Path) -> None:
    folder, row_id = str(digits_index.folder), str(digits_index.row_ids[0])
    with pytest.raises(ValueError, match=r"must end in \.csv or \.parquet"):
        selfsight.search(folder, row_id, out=tmp_path / "x.txt")
    with pytest.raises(ValueError, match="k: must be from 1 to 1,796"):
        selfsight.search(folder, row_id, k=1797)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"bad\.png"):
        selfsight.search(folder, str(bad))
    with pytest.raises(ValueError, match="there is no such folder"):
        selfsight.search(folder, str(bad), run=str(tmp_path / "gone"))
