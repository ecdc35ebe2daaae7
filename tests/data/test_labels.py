"""A table of targets joined to images by row id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfsight.data.imageset import ImageSet, class_target
from selfsight.data.labels import join_labels
from selfsight.data.notes import doubts
from selfsight.data.reading import Asked, ReadOptions, guesses_of, held_to
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


def test_a_table_of_groups_or_splits_alone_joins_images_that_have_targets(tmp_path: Path) -> None:
    """The labels are the folders; who photographed which coil is in a table."""
    images = image_set(*(f"{i}.png" for i in range(6)))
    kinds = class_target("class", ["ok", "bad"] * 3)
    labelled = images.changed(targets={"class": kinds})
    table = tmp_path / "coils.csv"
    table.write_text("file,coil\n" + "\n".join(f"{i}.png,c{i // 2}" for i in range(6)))
    for asked in (Asked(group="coil"), Asked()):
        joined = join_labels(labelled, table, asked)
        assert set(joined.targets) == {"class"} and joined.group_name == "coil"
        assert joined.groups is not None and joined.groups.tolist() == [0, 0, 1, 1, 2, 2]
    named = join_labels(images, table, Asked(group="coil"))
    assert not named.targets and named.group_name == "coil"
    table.write_text("file,split\n" + "\n".join(f"{i}.png,test" for i in range(6)))
    assert set(join_labels(labelled, table).splits) == {"test"}


def test_why_a_table_has_no_target_is_said(tmp_path: Path) -> None:
    images = image_set(*(f"{i}.png" for i in range(6)))
    table = tmp_path / "labels.csv"
    table.write_text(
        "file,note,kind\n" + "\n".join(f"{i}.png,seen by {i},pit" for i in range(6)) + "\n"
    )
    with pytest.raises(ValueError) as error:
        join_labels(images, table)
    assert "note (another text in every row), kind (the same text everywhere)" in str(error.value)


def test_classes_that_recur_are_not_names_of_images(tmp_path: Path) -> None:
    """The classes 0 to 9 would name 0.png to 9.png without the suffix."""
    images = image_set(*(f"{i}.png" for i in range(30)))
    for digits in (["0", "1", "2"] * 10, ["7", "8", "7"] * 10):
        where = [*(f"{i}.png" for i in range(27)), None, None, None]
        rows = {"digit": pa.array(digits), "where": pa.array(where)}
        pq.write_table(pa.table(rows), tmp_path / "l.parquet")
        joined = join_labels(images, tmp_path / "l.parquet")
        assert joined.targets["digit"].known.sum() == 27
        where = ["0.png", "1.png", "x.png", "y.png", "z.png", "u.png"]
        few = {"digit": pa.array(digits[:6]), "where": pa.array(where)}
        pq.write_table(pa.table(few), tmp_path / "l.parquet")
        assert join_labels(images, tmp_path / "l.parquet").targets["digit"].known.sum() == 2


def test_a_rare_second_label_is_doubted(tmp_path: Path) -> None:
    """One image that is named twice with two labels makes several labels of a class."""
    images = image_set(*(f"{i}.png" for i in range(40)))
    table = tmp_path / "labels.csv"
    rows = [f"{i}.png,{'pit' if i % 2 else 'stain'}" for i in range(40)]
    table.write_text("file,kind\n" + "\n".join([*rows, "3.png,stain"]) + "\n")
    joined = join_labels(images, table)
    (note,) = doubts(joined.notes)
    assert "only 1 of 40 images hold more than one kind, such as '3.png' (pit, stain)" in note
    sure = Asked(options=ReadOptions(kinds=("kind:labels",)))
    assert not doubts(join_labels(images, table, sure).notes)
    many = [f"{i}.png,hole" for i in range(0, 40, 5)]
    table.write_text("file,kind\n" + "\n".join([*rows, *many]) + "\n")
    assert not doubts(join_labels(images, table).notes)


def test_a_separator_that_is_in_no_cell_is_a_mistake(tmp_path: Path) -> None:
    images = image_set(*(f"{i}.png" for i in range(40)))
    table = tmp_path / "labels.csv"
    cells = ["pit/stain", "pit", "stain", "pit/stain"] * 10
    table.write_text("file,kind\n" + "\n".join(f"{i}.png,{c}" for i, c in enumerate(cells)))
    with pytest.raises(ValueError, match=r"separator ';': no cell of kind holds it \(one is 'pit/"):
        join_labels(images, table, Asked(options=ReadOptions(separator=";")))
    split = join_labels(images, table, Asked(options=ReadOptions(separator="/")))
    assert split.targets["kind"].names == ("pit", "stain")
    held = Asked(options=ReadOptions(separator=";"), held=frozenset(["separator"]))
    assert join_labels(images, table, held).targets["kind"].kind == "class"
    single = Asked(options=ReadOptions(separator=";", kinds=("kind:labels",)))
    assert join_labels(images, table, single).targets["kind"].kind == "labels"


def test_several_labels_of_a_run_stay_several_labels(tmp_path: Path) -> None:
    """Cells of a later table hold one label each by chance."""
    images = image_set(*(f"{i}.png" for i in range(40)))
    table = tmp_path / "labels.csv"
    cells = ["pit|stain", "pit", "stain", "pit"] * 10
    table.write_text("file,kind\n" + "\n".join(f"{i}.png,{c}" for i, c in enumerate(cells)))
    recorded = guesses_of(join_labels(images, table))
    assert recorded["kinds"] == ["kind:labels"] and recorded["separator"] == ["|"]
    changes = held_to({"kinds": ()}, {name: tuple(v) for name, v in recorded.items()})
    table.write_text("file,kind\n" + "\n".join(f"{i}.png,{c[:3]}" for i, c in enumerate(cells)))
    later = join_labels(images, table, Asked(options=ReadOptions.model_validate(changes)))
    assert later.targets["kind"].kind == "labels"
    table.write_text("file,kind,x\n" + "\n".join(f"{i}.png,,{i % 2}" for i in range(40)))
    empty = join_labels(images, table, Asked(options=ReadOptions.model_validate(changes)))
    assert set(empty.targets) == {"x"}
