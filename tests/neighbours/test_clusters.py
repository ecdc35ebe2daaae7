"""`cluster`: a group for each image, scores beside trivial groupings, near-duplicates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pytest

import selfsight
from selfsight.data.imageset import ImageSet
from selfsight.neighbours.clusters import ClusterImages
from selfsight.neighbours.index import Index


def test_groups_of_digits(digits_index: Index, tmp_path: Path) -> None:
    got = selfsight.cluster(digits_index, out=tmp_path / "clusters.csv")
    table = pc.read_csv(got.path)
    assert table["row_id"].to_pylist() == digits_index.row_ids.tolist()
    clusters = [-1 if c is None else c for c in table["cluster"].to_pylist()]
    assert clusters == got.clusters.tolist()
    sizes = np.bincount(got.clusters[got.clusters >= 0])
    assert (np.diff(sizes) <= 0).all() and sizes.min() >= 2
    names = [score.name for score in got.scores]
    assert names == ["hdbscan", "every image alone", "all one group"]
    assert got.scores[0].pair_precision > 0.5 > got.scores[2].pair_precision
    page = got.page.read_text()
    assert "every image alone" in page and "Group 0" in page and "BCubed" in page


def test_linkage_at_a_threshold_from_pairs(digits_index: Index, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.array(digits_index.labels)
    rows = random.integers(0, len(labels), (400, 2))
    ids = digits_index.row_ids[rows]
    same = labels[rows[:, 0]] == labels[rows[:, 1]]
    pc.write_csv(
        pa.table({"a": ids[:, 0].tolist(), "b": ids[:, 1].tolist(), "same": same.astype(int)}),
        tmp_path / "pairs.csv",
    )
    got = selfsight.cluster(
        digits_index, pairs=str(tmp_path / "pairs.csv"), out=tmp_path / "linked.parquet"
    )
    assert got.scores[0].name == "linkage"
    unit = digits_index.vectors.at(np.arange(len(digits_index))).numpy()
    different = (unit[rows[:, 0]] * unit[rows[:, 1]]).sum(1)[~same].astype(float)
    threshold = different.mean() + 3.3 * different.std(ddof=1)
    if threshold < 1:
        again = selfsight.cluster(
            digits_index, threshold=float(threshold), out=tmp_path / "again.csv"
        )
        assert (again.clusters == got.clusters).mean() > 0.99


def test_copies_are_near_duplicates(digits_run: Path, digits: ImageSet, tmp_path: Path) -> None:
    rows = np.concatenate([np.arange(30), [4, 9]])
    images = digits.take(rows)
    names = np.array([f"{i}.png" for i in range(32)])
    from dataclasses import replace

    index = selfsight.index(digits_run, replace(images, row_ids=names), out=tmp_path / "index")
    got = selfsight.cluster(index, near=0.99999, out=tmp_path / "clusters.csv")
    table = pc.read_csv(got.path).to_pylist()
    assert {row["row_id"]: row["duplicate_of"] for row in table if row["duplicate_of"]} == {
        "30.png": "4.png",
        "31.png": "9.png",
    }
    assert "Near-duplicates: 2" in got.page.read_text()


def test_settings_that_do_not_go_together(digits_index: Index) -> None:
    with pytest.raises(ValueError, match="by linkage: give --pairs"):
        selfsight.cluster(digits_index, by="linkage")
    with pytest.raises(ValueError, match="takes neither --pairs nor --threshold"):
        selfsight.cluster(digits_index, by="hdbscan", threshold=0.5)
    with pytest.raises(ValueError, match=r"must end in \.csv or \.parquet"):
        selfsight.cluster(digits_index, out="x.html")
    assert ClusterImages(index="x").near == 0.98


def test_few_images_are_groups_too(digits_run: Path, digits: ImageSet, tmp_path: Path) -> None:
    for count in (1, 2, 3):
        index = selfsight.index(
            digits_run, digits.take(np.arange(count)), out=tmp_path / f"index{count}"
        )
        got = selfsight.cluster(index, out=tmp_path / f"{count}.csv")
        assert len(got.clusters) == count
