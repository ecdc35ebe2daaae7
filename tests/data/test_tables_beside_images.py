"""Tables that name images, in every spelling; columns and keys of splits; axes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from selfsight.data.notes import doubts
from selfsight.data.request import open_images

from .brought import (
    COUNT,
    PIXELS,
    PLAIN,
    PNGS,
    PUT,
    WRITE,
    csv_text,
    each,
    folder_of,
    same,
    save,
    tree,
)


@pytest.mark.parametrize("name", ["train/metadata.csv", "train/labels.csv", "labels.csv"])
def test_a_table_in_the_folder_is_read_and_what_it_leaves_out_is_counted(
    tmp_path: Path, name: str
) -> None:
    names = folder_of(tmp_path / "train")
    folder_of(tmp_path / "test", 4)
    prefix = "" if name.startswith("train/") else "train/"
    table = {"file_name": [prefix + n for n in names[:10]], "kind": each(["a", "b"])[:10]}
    (tmp_path / name).write_text(csv_text(table))
    images = open_images(tmp_path, **PLAIN)
    target = images.targets["kind"]
    assert target.known.sum() == 10 and len(images) == COUNT + 4
    assert [target.names[v] for v in target.values[target.known]] == each(["a", "b"])[:10]
    assert any("names 10 of" in note for note in images.notes)
    assert any("labels" in note.setting for note in doubts(images.notes))
    none = open_images(tmp_path, **PLAIN, labels="none")
    assert not none.targets


def test_a_manifest_that_names_half_the_images_says_so(tmp_path: Path) -> None:
    names = folder_of(tmp_path / "images")
    rows = {"path": [f"images/{n}" for n in names[:10]], "y": each(["a", "b"])[:10]}
    (tmp_path / "a.csv").write_text(csv_text(rows))
    images = open_images(tmp_path / "a.csv", **PLAIN)
    assert len(images) == 10
    assert any("10 images beside those" in note for note in images.notes)


@pytest.mark.parametrize("container", ["csv", "folder", "labels"])
def test_long_form_becomes_several_labels(tmp_path: Path, container: str) -> None:
    names = folder_of(tmp_path / "set", 3)
    rows = {
        "file_name": [names[0], names[0], names[1], names[2]],
        "defect": ["crack", "edge", "edge", "crack"],
        "area": [1.5, 2.5, 3.5, 4.5],
    }
    options: dict[str, Any] = {}
    path = tmp_path / "set"
    if container == "csv":
        rows["file_name"] = [f"set/{name}" for name in rows["file_name"]]
        path = tmp_path / "table.csv"
        path.write_text(csv_text(rows))
    elif container == "folder":
        (path / "table.csv").write_text(csv_text(rows))
    else:
        (tmp_path / "table.csv").write_text(csv_text(rows))
        options["labels"] = str(tmp_path / "table.csv")
    images = open_images(path, **PLAIN, **options)
    target = images.targets["defect"]
    assert (target.kind, target.names) == ("labels", ("crack", "edge"))
    same(target.values, [[1, 1], [0, 1], [1, 0]])
    assert any("several rows for an image" in note for note in images.notes)


DIALECTS: dict[str, Callable[[str], bytes]] = {
    "semicolons and decimal commas": lambda t: t.replace(",", ";").replace(".5", ",5").encode(),
    "tabs": lambda t: t.replace(",", "\t").encode(),
    "UTF-16": lambda t: t.encode("utf-16"),
    "Latin-1": lambda t: t.encode("latin-1"),
    "a byte order mark": lambda t: t.encode("utf-8-sig"),
    "Windows line ends": lambda t: t.replace("\n", "\r\n").encode(),
    "trailing commas": lambda t: t.replace("\n", ",\n").encode(),
    "backslashes": lambda t: t.replace("images/", "images\\").encode(),
    "no header": lambda t: t.partition("\n")[2].encode(),
    "an empty last line": lambda t: (t + "\n\n").encode(),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_spreadsheet_however_it_was_saved(tmp_path: Path, dialect: str) -> None:
    names = folder_of(tmp_path / "images")
    rows = {
        "path": [f"images/{name}" for name in names],
        "mass": [i + 0.5 for i in range(COUNT)],
        "kind": each(["Öl", "Wasser"]),
    }
    (tmp_path / "t.csv").write_bytes(DIALECTS[dialect](csv_text(rows)))
    images = open_images(tmp_path / "t.csv", **PLAIN)
    number, kind = ("column 2", "column 3") if dialect == "no header" else ("mass", "kind")
    same(images.targets[number].values[:, 0], rows["mass"])
    assert images.targets[kind].names == ("Wasser", "Öl")
    assert images.row_ids[0] == "images/000.png"


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ("Image Index", lambda name: name),
        ("id", lambda name: name.removesuffix(".png")),
        ("id", lambda name: str(int(name.removesuffix(".png")))),
        ("filename", lambda name: f"C:\\data\\{name}"),
        ("image_id", lambda name: f"./images/{name}"),
    ],
)
def test_names_of_images_in_other_spellings(
    tmp_path: Path, column: str, shown: Callable[[str], str]
) -> None:
    names = folder_of(tmp_path / "images")
    rows = {column: [shown(name) for name in names], "kind": each(["a", "b", "c"])}
    (tmp_path / "t.csv").write_text(csv_text(rows))
    images = open_images(tmp_path / "t.csv", **PLAIN)
    assert images.targets["kind"].values.tolist() == each([0, 1, 2])
    np.testing.assert_array_equal(images.pixels, PIXELS)
    joined = open_images(tmp_path / "images", **PLAIN, labels=str(tmp_path / "t.csv"))
    assert joined.targets["kind"].values.tolist() == each([0, 1, 2])


def test_a_table_names_images_of_one_folder_among_others(tmp_path: Path) -> None:
    """Names alone, beside a second folder whose names stand twice."""
    names = folder_of(tmp_path / "photos")
    tree(tmp_path / "others", ["a", "b"])
    rows = {"Image Index": names, "kind": each(["a", "b", "c"])}
    (tmp_path / "t.csv").write_text(csv_text(rows))
    images = open_images(tmp_path / "t.csv", **PLAIN)
    assert images.row_ids.tolist() == [f"photos/{name}" for name in names]
    assert images.targets["kind"].values.tolist() == each([0, 1, 2])
    assert any("6 images below" in note for note in images.notes)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / names[0]).write_bytes(PNGS[1])
    with pytest.raises(ValueError, match="none of the 20 images can be read"):
        open_images(tmp_path / "t.csv", **PLAIN)


def test_accents_in_both_unicode_forms(tmp_path: Path) -> None:
    import unicodedata

    word = unicodedata.normalize("NFD", "möwe")
    for i in range(4):
        save(tmp_path / "images" / f"{word}{i}.png", i)
    text = unicodedata.normalize("NFC", "\n".join(f"images/möwe{i}.png,{i % 2}" for i in range(4)))
    (tmp_path / "t.csv").write_text("path,label\n" + text + "\n", encoding="utf-8")
    images = open_images(tmp_path / "t.csv", **PLAIN)
    assert len(images) == 4 and images.targets["label"].values.tolist() == [0, 1, 0, 1]


def test_a_table_that_names_nothing_says_what_it_holds(tmp_path: Path) -> None:
    folder_of(tmp_path, 3)
    (tmp_path / "t.csv").write_text("colour,weight\nred,1.5\nblue,2.5\n")
    with pytest.raises(ValueError, match=r"colour \('red'\).*--image-column"):
        open_images(tmp_path / "t.csv")


@pytest.mark.parametrize("container", ["csv", "parquet"])
def test_a_split_column_that_holds_something_else_is_none(tmp_path: Path, container: str) -> None:
    columns = {"split": each(["adult", "child"]), "kind": each(["a", "b", "c"])}
    images = open_images(PUT[container](tmp_path, columns), **PLAIN)
    assert len(images.rows("train")) == COUNT
    assert any("is not taken as the split" in note for note in images.notes)
    columns["split"] = each(["train", "test", "test_ood", "train"])
    (tmp_path / "b").mkdir()
    images = open_images(PUT[container](tmp_path / "b", columns), **PLAIN)
    assert [len(images.rows(s)) for s in ("train", "test")] == [10, 5]
    assert any("test_ood" in note for note in doubts(images.notes))
    every = open_images(PUT[container](tmp_path / "b", columns), **PLAIN, split_column="none")
    assert len(every.rows("train")) == COUNT


def test_groups_and_keys_of_array_files_give_all_splits(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/images"], file["train/y"] = PIXELS[:12], np.arange(12) % 2
        file["test/images"], file["test/y"] = PIXELS[12:], np.arange(8) % 2
    images = open_images(tmp_path / "a.h5", validation=0)
    assert [len(images.rows(s)) for s in ("train", "test")] == [12, 8]
    np.savez(tmp_path / "b.npz", x_train=PIXELS[:12], y_train=np.arange(12) % 2,
             x_test=PIXELS[12:])  # fmt: skip
    images = open_images(tmp_path / "b.npz", validation=0)
    target = images.targets["y"]
    assert [len(images.rows(s)) for s in ("train", "test")] == [12, 8]
    assert target.known[images.rows("train")].all()
    assert not target.known[images.rows("test")].any()
    assert any("x_test has no y" in note for note in doubts(images.notes))


@pytest.mark.parametrize("container", ["npy", "HDF5"])
def test_axes_are_said_and_overruled(tmp_path: Path, container: str) -> None:
    values = np.random.default_rng(0).integers(0, 255, (6, 5, 16, 16)).astype(np.uint8)
    images = open_images(WRITE[container](tmp_path, values))
    assert images.pixels.shape == (6, 16, 16, 5)
    assert any("--axes NHWC" in note for note in images.notes)
    (tmp_path / "b").mkdir()
    images = open_images(WRITE[container](tmp_path / "b", values), axes="NHWC")
    assert images.pixels.shape == (6, 5, 16, 16)
    (tmp_path / "c").mkdir()
    last = WRITE[container](tmp_path / "c", values.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(
        open_images(last, axes="HWCN").pixels, values.transpose(0, 2, 3, 1)
    )
