"""A table of targets joined to images by row id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfsight.data.imageset import ImageSet
from selfsight.data.labels import join_labels
from selfsight.data.reading import Asked, ReadOptions
from selfsight.data.request import open_images


def image_set(*ids: str) -> ImageSet:
    pixels = np.zeros((len(ids), 4, 4, 1), np.uint8)
    return ImageSet("made", pixels, np.array(ids), np.full(len(ids), "train"))


def test_by_path(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("kind,path,mass\ngood,b.png,1.5\nbad,a.png,\nbad,other.png,3\n")
    images = join_labels(image_set("a.png", "b.png", "c.png"), table)
    kind = images.targets["kind"]
    assert [kind.names[v] if v >= 0 else None for v in kind.values] == ["bad", "good", None]
    np.testing.assert_array_equal(images.targets["mass"].values[:, 0], [np.nan, 1.5, np.nan])
    assert "labels.csv names 2 of 3 images in column path." in images.notes


def test_null_list_is_unknown_and_empty_is_none_of_them(tmp_path: Path) -> None:
    rows = {"row_id": ["x#0", "x#1", "x#2"], "labels": [None, [], ["a"]]}
    pq.write_table(pa.table(rows), tmp_path / "labels.parquet")
    images = join_labels(image_set("x#0", "x#1", "x#2", "x#3"), tmp_path / "labels.parquet")
    np.testing.assert_array_equal(images.targets["labels"].values[:, 0], [np.nan, 0, 1, np.nan])


def test_shorter_names_match_where_they_are_unique(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("name,kind\na,x\nb,y\n")
    images = join_labels(image_set("a.png", "b.png"), table)
    assert "without the suffix" in " ".join(images.notes)
    table.write_text("name,kind\na.png,x\nb.png,y\n")
    images = join_labels(image_set("in/a.png", "in/b.png"), table)
    assert "by the name of the file alone" in " ".join(images.notes)
    with pytest.raises(ValueError, match="no column names any image; row ids look like"):
        join_labels(image_set("in/a.png", "out/a.png"), table)


def test_joined_while_opening_the_splits_are_balanced_and_groups_kept(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((40, 8, 8), np.uint8))
    lines = [f"a.npy#{i},{i % 2},p{i // 4}" for i in range(40)]
    (tmp_path / "labels.csv").write_text("id,label,patient\n" + "\n".join(lines))
    images = open_images(tmp_path / "a.npy", labels=tmp_path / "labels.csv", target="label")
    assert images.group_name == "patient"
    assert len(images.rows("test")) == 8
    assert images.groups is not None
    assert not set(images.groups[images.rows("test")]) & set(images.groups[images.pool])


def test_sentences_for_bad_tables(tmp_path: Path) -> None:
    images = image_set("a.png", "b.png")
    with pytest.raises(ValueError, match="there is no such file"):
        join_labels(images, tmp_path / "no.csv")
    table = tmp_path / "labels.csv"
    table.write_text("path,kind\na.png,x\na.png,y\n")
    said_to_be_one = Asked(options=ReadOptions(kinds=("kind:class",)))
    with pytest.raises(ValueError, match=r"'a.png' is named twice \(rows 1 and 2\)"):
        join_labels(images, table, said_to_be_one)
    table.write_text("path\na.png\nb.png\n")
    with pytest.raises(ValueError, match="it has no column of targets"):
        join_labels(images, table)
    table.write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match="no text column with row ids"):
        join_labels(images, table)
    table.write_text("path,kind\na.png,x\nb.png,y\n")
    with pytest.raises(ValueError, match="did you mean 'kind'"):
        join_labels(images, table, Asked(group="kinds"))
