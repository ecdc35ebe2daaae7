"""Tables: the Hugging Face layout, manifests, columns, and the real data."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from selfsight.data.request import open_images


def png(seed: int, side: int = 8) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "png")
    return buffer.getvalue()


def write(path: Path, first: int, count: int, metadata: Any = None, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": png(first + i), "path": f"{first + i}.png"} for i in range(count)]
    table = pa.table({"image": images, **columns})
    if metadata:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    pq.write_table(table, path, row_group_size=7)
    return path


def notes(images: Any) -> str:
    return " ".join(images.notes)


def test_split_files_in_shards(tmp_path: Path) -> None:
    write(tmp_path / "train-00000-of-00002.parquet", 0, 20, label=[0, 1] * 10)
    write(tmp_path / "train-00001-of-00002.parquet", 20, 20, label=[0, 1] * 10)
    write(tmp_path / "validation-00000-of-00001.parquet", 40, 6, label=[0, 1] * 3)
    write(tmp_path / "test.parquet", 46, 4, label=[0, 1] * 2)
    (tmp_path / "dataset_info.json").write_text(json.dumps({"class_names": ["good", "bad"]}))
    images = open_images(tmp_path)
    assert [len(images.rows(s)) for s in ("train", "validation", "test")] == [40, 6, 4]
    assert images.targets["label"].names == ("good", "bad")
    assert "test.parquet#3" in images.row_ids
    place = images.row_ids.tolist().index("train-00001-of-00002.parquet#9")
    assert (images.pixels[place] == np.asarray(Image.open(io.BytesIO(png(29))))).all()
    assert "only target" in notes(images)


def test_one_file_with_bytes_names_in_the_schema_and_a_split_column(tmp_path: Path) -> None:
    names = {"info": {"features": {"kind": {"_type": "ClassLabel", "names": ["x", "y", "z"]}}}}
    splits = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    table = pa.table({"img": [png(i) for i in range(10)], "kind": [0, 1] * 5, "split": splits})
    table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
    pq.write_table(table, tmp_path / "all.parquet")
    images = open_images(tmp_path / "all.parquet")
    assert images.targets["kind"].names == ("x", "y", "z")
    assert [len(images.rows(s)) for s in ("train", "validation", "test")] == [6, 2, 2]
    assert images.row_ids[0] == "#0"


def test_columns_become_targets_of_the_right_kind(tmp_path: Path) -> None:
    count = 40
    random = np.random.default_rng(0)
    groups = np.random.default_rng(1).permutation(["g1", "g2", "", None] * 10).tolist()
    write(
        tmp_path / "all.parquet",
        0,
        count,
        label=[None, *random.integers(0, 3, count - 1).tolist()],
        material=["steel", "copper"] * 20,
        labels=[None, [], [1], [0, 2]] * 10,
        words=[["a"], ["b", "a"], [], None] * 10,
        text_labels=["a|b", "b|", "|", None] * 10,
        hot=[[0, 1, 0], [1, 1, 0]] * 20,
        n_parts=random.integers(0, 4, count).tolist(),
        mass=[float("nan"), None, *random.normal(size=count - 2).tolist()],
        flag=[True, False] * 20,
        position=random.normal(size=(count, 2)).tolist(),
        file_id=list(range(count)),
        comment=[f"comment {i}" for i in range(count)],
        constant=[1] * count,
        group=groups,
    )
    images = open_images(tmp_path / "all.parquet", target="labels")
    kinds = {name: target.kind for name, target in images.targets.items()}
    assert kinds == {
        "label": "class", "material": "class", "labels": "labels", "words": "labels",
        "text_labels": "labels", "hot": "labels", "n_parts": "number", "mass": "number",
        "flag": "class", "position": "number",
    }  # fmt: skip
    labels = images.targets["labels"].values
    assert np.isnan(labels[0]).all()
    assert labels[1].tolist() == [0, 0, 0]
    assert labels[3].tolist() == [1, 0, 1]
    assert images.targets["words"].values[1].tolist() == [1, 1]
    assert images.targets["text_labels"].values[:3].tolist() == [[1, 1], [0, 1], [0, 0]]
    assert np.isnan(images.targets["text_labels"].values[3]).all()
    assert images.targets["label"].values[0] == -1
    assert np.isnan(images.targets["mass"].values[:2]).all()
    assert images.targets["position"].values.shape == (count, 2)
    assert images.groups is not None
    assert images.groups.tolist() == [{"g1": 0, "g2": 1}.get(name, -1) for name in groups]
    for word in ("file_id", "comment", "constant"):
        assert word in notes(images)
    several = open_images(tmp_path / "all.parquet", target="n_parts,mass")
    assert several.targets["n_parts,mass"].values.shape == (count, 2)
    asked = open_images(tmp_path / "all.parquet", target="file_id")
    assert "file_id" in asked.targets


def test_columns_that_say_the_same_are_one_target(tmp_path: Path) -> None:
    who = ["ann", "bob", "cid"] * 6
    numbers = [0, 1, 2] * 6
    write(tmp_path / "all.parquet", 0, 18, label=numbers, person=who)
    images = open_images(tmp_path / "all.parquet")
    assert list(images.targets) == ["person"]
    assert "label says the same as person" in notes(images)
    assert list(open_images(tmp_path / "all.parquet", target="label").targets) == [
        "label",
        "person",
    ]


def test_classes_in_no_common_split_are_identities(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", 0, 12, person=["ann", "bob", "cid"] * 4)
    write(tmp_path / "test.parquet", 12, 4, person=["dan", "eve"] * 2)
    images = open_images(tmp_path)
    assert images.targets["person"].kind == "identity"
    assert "identity, not a class" in notes(images)


def test_an_official_split_is_used_when_asked(tmp_path: Path) -> None:
    write(
        tmp_path / "train.parquet", 0, 8,
        label=[0, 1] * 4, official_split=["test", "test", *["trainval"] * 6],
    )  # fmt: skip
    write(tmp_path / "test.parquet", 8, 4, label=[0, 1] * 2, official_split=["trainval"] * 4)
    assert len(open_images(tmp_path).rows("test")) == 4
    images = open_images(tmp_path, split_column="official_split", validation=0)
    assert images.row_ids[images.rows("test")].tolist() == ["train.parquet#0", "train.parquet#1"]
    with pytest.raises(ValueError, match=r"split column 'label': '0' of test.parquet#0 names no"):
        open_images(tmp_path, split_column="label")


def manifest(folder: Path, suffix: str = "csv") -> Path:
    (folder / "images").mkdir(parents=True)
    for i in range(20):
        (folder / "images" / f"{i}.png").write_bytes(png(i))
    rows = [
        {"path": f"images/{i}.png", "kind": "ab"[i % 2], "patient": f"p{i // 4}"} for i in range(20)
    ]
    path = folder / f"list.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        separator = "\t" if suffix == "tsv" else ","
        lines = [rows[0].keys(), *(row.values() for row in rows)]
        path.write_text("\n".join(separator.join(line) for line in lines))
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl"])
def test_manifests(tmp_path: Path, suffix: str) -> None:
    images = open_images(manifest(tmp_path, suffix))
    assert images.pixels.shape == (20, 8, 8, 3)
    assert images.row_ids[1] == "images/1.png"
    assert images.group_name == "patient"
    assert images.targets["kind"].names == ("a", "b")
    assert images.groups is not None
    test, rest = images.rows("test"), np.flatnonzero(images.splits != "test")
    assert len(test)
    assert not np.intersect1d(images.groups[test], images.groups[rest]).size


def test_a_metadata_table_in_a_folder_is_found(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    path.rename(tmp_path / "metadata.csv")
    assert "kind" in open_images(tmp_path).targets


def test_paths_that_leave_the_folder_are_named_and_skipped(tmp_path: Path) -> None:
    path = manifest(tmp_path / "in")
    (tmp_path / "secret.png").write_bytes(png(99))
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "secret.png")
    outside = ["../secret.png", str(tmp_path / "secret.png"), "link.png", "images/no.png", ""]
    path.write_text(path.read_text() + "\n" + "\n".join(f"{p},a,p9" for p in outside))
    images = open_images(path, max_unreadable=0.3)
    assert len(images) == 20
    assert "5 unreadable images were skipped" in notes(images)
    assert "a path outside" in notes(images)
    wider = open_images(path, max_unreadable=0.3, root=tmp_path / "in")
    assert len(wider) == 20


def test_sentences_for_bad_tables(tmp_path: Path) -> None:
    broken = tmp_path / "a.parquet"
    broken.write_bytes(b"PAR1 nothing")
    with pytest.raises(ValueError, match=r"a.parquet is not a readable Parquet file"):
        open_images(broken)
    pq.write_table(pa.table({"x": [1, 2]}), broken)
    with pytest.raises(ValueError, match=r"no column of images \(bytes\)"):
        open_images(broken)
    write(broken, 0, 0, label=pa.array([], pa.int64()))
    with pytest.raises(ValueError, match="there are no rows in it"):
        open_images(broken)
    write(broken, 0, 4, label=[0, 1, 0, 1], kind=["a", "a", "b", "b"])
    with pytest.raises(ValueError, match="did you mean 'label'"):
        open_images(broken, target="lable")
    with pytest.raises(ValueError, match="no group column 'patients'"):
        open_images(broken, group="patients")
    (tmp_path / "b.csv").write_text('path,label\n"a.png')
    with pytest.raises(ValueError, match=r"b.csv"):
        open_images(tmp_path / "b.csv")


REAL = {
    "xsdd": (None, 1360, (128, 128, 1), {"label": "class"}, (1094, 266)),
    "covid_cxr": (
        "labels", 575, (224, 224, 1), {"labels": "labels", "age": "number"}, (468, 107),
    ),
    "nuclei": (None, 664, (128, 128, 3), {"n_nuclei": "number"}, (549, 115)),
}  # fmt: skip
REAL_SLOW = {
    "deeppcb": (
        "labels", 6000, (160, 160, 1),
        {"labels": "labels", "n_defects": "number", "defect_area": "number"}, (4504, 1496),
    ),
    "lfw": (None, 13233, (96, 96, 3), {"person": "identity"}, (10695, 2538)),
    "cifar10": (None, 60000, (32, 32, 3), {"label": "class"}, (50000, 10000)),
    "cifar100": (
        "fine_label", 60000, (32, 32, 3),
        {"fine_label": "class", "coarse_label": "class"}, (50000, 10000),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "folder", [*REAL, *(pytest.param(name, marks=pytest.mark.slow) for name in REAL_SLOW)]
)
def test_real_data_opens_with_one_call(shared_data: Path, folder: str) -> None:
    target, count, shape, kinds, (train, test) = (REAL | REAL_SLOW)[folder]
    images = open_images(shared_data / folder, target=target)
    assert images.pixels.shape == (count, *shape)
    assert kinds.items() <= {name: t.kind for name, t in images.targets.items()}.items()
    assert len(images.rows("test")) == test
    assert len(images.rows("train", "validation")) == train
    assert 0.05 < len(images.rows("validation")) / train < 0.15
    assert "unreadable" not in notes(images)


def test_limit_decodes_only_what_is_wanted(shared_data: Path) -> None:
    images = open_images(shared_data / "xsdd", limit=50)
    assert len(images.pool) == 50
    assert len(images.rows("test")) == 266


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_codes_with_leading_zeros_stay_text(tmp_path: Path, delimiter: str) -> None:
    """As numbers 01 and 1 would be one class, and predictions would not join the user's table."""
    from selfsight.data.sources.steps.delimited import read_delimited

    cells = ["01", "1", "007", "7", "10", ""]
    lines = [f"{i}.png{delimiter}{code}{delimiter}{i}" for i, code in enumerate(cells)]
    path = tmp_path / "table.csv"
    path.write_text("\n".join([delimiter.join(["file", "code", "count"]), *lines]) + "\n")
    found = read_delimited(path)[0].to_pydict()
    assert found["code"] == [*cells[:-1], None]
    assert found["count"] == list(range(6))
