"""Names of images that Parquet files keep, and what is asked by files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from selfsight.neighbours.encoder import file_names, is_image_file


def table(path: Path, names: list[str | None]) -> None:
    images = [{"bytes": b"x", "path": name} for name in names]
    pq.write_table(pa.table({"image": images, "label": list(range(len(names)))}), path)


def test_names_of_a_folder_and_of_a_file(tmp_path: Path) -> None:
    table(tmp_path / "train.parquet", ["a/1.jpg", "a/2.jpg", None])
    table(tmp_path / "test.parquet", ["b/1.jpg"])
    ids = np.array(["test.parquet#0", "train.parquet#1", "train.parquet#2", "other.png"])
    assert file_names(tmp_path, ids) == ["b/1.jpg", "a/2.jpg", None, None]
    assert file_names(tmp_path / "train.parquet", ids[1:2]) == ["a/2.jpg"]


def test_images_without_names(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"x"]}), tmp_path / "plain.parquet")
    assert file_names(tmp_path, np.array(["plain.parquet#0", "gone.parquet#0"])) == [None, None]
    assert file_names("digits", np.array(["digits#0"])) == [None]


def test_image_files(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "a.txt").write_bytes(b"")
    assert is_image_file(tmp_path / "a.jpg")
    assert not is_image_file(tmp_path / "a.txt")
    assert not is_image_file(tmp_path / "gone.jpg")
