"""Tables with a mistake in them are an error that names the image, or a doubt.

Images in two groups or splits, empty splits, names that are alike, cells that are no numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from selfsight.data import request
from selfsight.data.imageset import ImageSet
from selfsight.data.notes import Note, doubts
from selfsight.data.options import DataOptions
from selfsight.data.request import open_images
from selfsight.data.sides import Sides, read_sides
from selfsight.data.sources.steps.alike_names import alike
from selfsight.data.sources.steps.split_names import file_splits

PIXELS = np.random.default_rng(5).integers(0, 255, (60, 8, 8)).astype(np.uint8)
NAMES = [f"{i:02}.png" for i in range(60)]
KIND = ["good", "bad"] * 30
THICK: list[Any] = [round(2 + i * 0.037, 2) for i in range(60)]
COILS: list[Any] = [f"C{i // 6}" for i in range(60)]
SPLIT: list[Any] = ["train", "train", "validation", "test", "test"] * 12
FORMS = ["labels.csv", "manifest.csv", "manifest.jsonl", "manifest.parquet"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    for name, values in zip(NAMES, PIXELS, strict=True):
        Image.fromarray(values).save(tmp_path / "a" / name)
    return tmp_path / "a"


def write(file: Path, names: Sequence[str] = NAMES, **columns: Sequence[Any]) -> str:
    """A table; lists in a CSV are rows of their own."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    named = [{"path": name} | row for name, row in zip(names, rows, strict=True)]
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(named), file)
    elif file.suffix == ".jsonl":
        file.write_text("\n".join(map(json.dumps, named)))
    else:
        lines = [",".join(["path", *columns])]
        for row in named:
            count = max(len(v) if isinstance(v, list) else 1 for v in row.values())
            for i in range(count):
                cells = [v[i % len(v)] if isinstance(v, list) else v for v in row.values()]
                lines.append(",".join("" if c is None else f'"{c}"' for c in cells))
        file.write_text("\n".join(lines) + "\n")
    return str(file)


def opened(folder: Path, form: str, *, labels: str = "", options: Any = None,
           **columns: Sequence[Any]) -> ImageSet:  # fmt: skip
    """The images with a table of ``form``: joined, or as a manifest."""
    where = folder.parent if form.startswith("labels") else folder
    file = write(where / form, **columns)
    if form.startswith("labels"):
        return open_images(folder, labels=file, **(options or {}))
    return open_images(file, **(options or {}))


def doubted(images: ImageSet) -> str:
    return "\n".join(doubts(images.notes))


def first(values: Sequence[Any], cell: Any, place: int = 0) -> list[Any]:
    return [cell if i == place else value for i, value in enumerate(values)]


@pytest.mark.parametrize("options", [{}, {"group": "coil"}])
@pytest.mark.parametrize("form", FORMS)
def test_an_image_in_two_groups(folder: Path, form: str, options: dict[str, str]) -> None:
    single = form.endswith("csv")
    coils = [c if single else [c] for c in COILS]
    with pytest.raises(
        ValueError, match=r"00\.png.* (groups \(C0, C7\)|with different coil)"
    ) as error:
        opened(folder, form, options=options, kind=KIND, coil=first(coils, ["C0", "C7"]))
    assert "\n" not in str(error.value)
    images = opened(folder, form, options={"group": "none"}, kind=KIND,
                    coil=first(coils, ["C0", "C7"]))  # fmt: skip
    assert images.groups is None


@pytest.mark.parametrize("form", FORMS)
def test_an_image_in_two_groups_of_a_weak_name(folder: Path, form: str) -> None:
    single = form.endswith("csv")
    batch = [c if single else [c] for c in COILS]
    with pytest.raises(ValueError, match=r"group column 'batch': 00\.png is in 2 groups"):
        opened(folder, form, kind=KIND, batch=first(batch, ["C0", "C7"]))
    many = [[a, b] for a, b in zip(COILS, COILS[7:] + COILS[:7], strict=True)]
    images = opened(folder, form, kind=KIND, batch=many)
    assert images.groups is None and "several values of batch" in doubted(images)


def test_lists_of_one_are_that_value_and_other_cells_are_refused(folder: Path) -> None:
    lists = [[c] for c in COILS]
    for options in ({}, {"group": "coil"}):
        images = opened(folder, "manifest.jsonl", options=options, kind=KIND, coil=lists)
        assert images.group_names == tuple(sorted(set(COILS)))
    deeper = [{"id": c} for c in COILS]
    images = opened(folder, "manifest.jsonl", kind=KIND, coil=deeper)
    assert images.groups is None
    with pytest.raises(ValueError, match=r"group column 'coil' holds struct.* --group none"):
        opened(folder, "manifest.jsonl", options={"group": "coil"}, kind=KIND, coil=deeper)


def test_several_persons_on_photos_are_labels(folder: Path) -> None:
    persons = [[c, "C3"] for c in COILS]
    images = opened(folder, "manifest.jsonl", kind=KIND, persons=persons)
    assert images.groups is None and images.targets["persons"].kind == "labels"
    assert "several values of persons" in "\n".join(images.notes) and not doubted(images)


@pytest.mark.parametrize("options", [{}, {"split_column": "split"}])
@pytest.mark.parametrize("form", FORMS)
def test_an_image_in_two_splits(folder: Path, form: str, options: dict[str, str]) -> None:
    single = form.endswith("csv")
    splits = [c if single else [c] for c in SPLIT]
    both = first(splits, ["train", "test"])
    with pytest.raises(ValueError, match=r"00\.png.* (splits \(t|with different split)"):
        opened(folder, form, options=options, kind=KIND, split=both)
    twice = opened(folder, form, options=options, kind=KIND, split=first(splits, ["train"] * 2))
    assert len(twice) in (60, 61) and twice.splits[0] == "train"  # a CSV has the row twice


@pytest.mark.parametrize("options", [{}, {"split_column": "split"}])
@pytest.mark.parametrize("form", FORMS)
def test_empty_splits_are_said(folder: Path, form: str, options: dict[str, str]) -> None:
    blank = [None if i % 5 == 2 else word for i, word in enumerate(SPLIT)]
    images = opened(folder, form, options=options, kind=KIND, split=blank)
    assert (
        "12 of 60 images have no split in column split and are taken as train: 02.png, 07.png, "
        "12.png and 9 more."
    ) in doubted(images)
    only = [word if word == "test" else None for word in SPLIT]  # the rest is train on purpose
    images = opened(folder, form, options=options, kind=KIND, split=only)
    assert "36 of 60 images have no split" in "\n".join(images.notes) and not doubted(images)


def test_an_empty_split_leaves_the_split_of_the_folder(tmp_path: Path) -> None:
    for place, side in enumerate(("train", "test")):
        (tmp_path / "a" / side).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(PIXELS[10 * place + i]).save(tmp_path / "a" / side / f"{i}.png")
    names = [f"{side}/{i}.png" for side in ("train", "test") for i in range(10)]
    splits = ["train", None] * 5 + ["test", None] * 5
    file = write(tmp_path / "labels.csv", names, kind=KIND[:20], split=splits)
    joined = open_images(tmp_path / "a", labels=file)
    write(tmp_path / "a" / "labels.csv", names, kind=KIND[:20], split=splits)
    for images in (joined, open_images(tmp_path / "a")):
        sides = dict(zip(images.row_ids.tolist(), images.splits.tolist(), strict=True))
        assert all(sides[name] == "test" for name in names[10:])
        assert "are left in the split that they are in without it (train, test)" in doubted(images)


def test_folders_that_are_the_splits_beside_a_table_in_long_form(tmp_path: Path) -> None:
    for place, side in enumerate(("train", "test")):
        (tmp_path / "a" / side).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(PIXELS[10 * place + i]).save(tmp_path / "a" / side / f"{i}.png")
    names = [f"{side}/{i}.png" for side in ("train", "test") for i in range(10)]
    defects = [["pit", "scratch"], "pit"] * 10
    file = write(tmp_path / "t.csv", names, defects=defects, split=["train"] * 20)
    joined = open_images(tmp_path / "a", labels=file, split_column="FOLDER")
    write(tmp_path / "a" / "t.csv", names, defects=defects)
    for images in (joined, open_images(tmp_path / "a", split_column="FOLDER")):
        assert images.targets["defects"].kind == "labels"
        assert sorted(images.row_ids[images.rows("test")].tolist()) == sorted(names[10:])


@pytest.mark.parametrize(("word", "split"), [("holdout", "test"), ("dev", "validation"),
                                        ("Eval", "test"), ("pool", "unlabelled")])  # fmt: skip
@pytest.mark.parametrize("form", ["labels.csv", "manifest.csv"])
def test_unusual_words_of_splits_are_said(folder: Path, form: str, word: str, split: str) -> None:
    words = ["train" if i % 3 else word for i in range(60)]
    for options in ({}, {"split_column": "split"}):
        images = opened(folder, form, options=options, thick=THICK, split=words)
        assert f"In column split {word} is read as {split} (--split-column none to change it)." in (
            images.notes
        )
        assert images.splits[0] == split
    usual = opened(folder, form, thick=THICK, split=["train", "val", "test"] * 20)
    assert not any("is read as" in note for note in usual.notes)


def test_a_column_of_splits_that_a_table_of_labels_has_is_said(folder: Path) -> None:
    images = opened(folder, "labels.csv", kind=KIND, split=SPLIT)
    assert "Column split is taken as the split (--split-column none to change it)." in images.notes


def sides(folder: Path, rows: Sequence[tuple[str, str]], **columns: Sequence[Any]) -> str:
    file = folder.parent / "sides.csv"
    more = zip(*columns.values(), strict=True) if columns else [()] * len(rows)
    lines = [",".join((*row, *map(str, rest))) for row, rest in zip(rows, more, strict=True)]
    file.write_text("\n".join([",".join(["row_id", "split", *columns]), *lines]) + "\n")
    return str(file)


def test_sides_without_effect_are_counted(folder: Path) -> None:
    rows = [(name, "" if i % 5 == 2 else side)
            for i, (name, side) in enumerate(zip(NAMES, SPLIT, strict=True))]  # fmt: skip
    path = sides(folder, [*rows, ("x.png", "test"), ("y.png", ""), ("", "test")])
    images = request.open(DataOptions(splits=path), folder)
    notes = "\n".join(images.notes)
    assert f"12 images have an empty split in {path} and are placed as images that it does" in (
        doubted(images)
    )
    assert f"3 rows of {path} name no image and are not used: x.png, row 63, y.png." in notes
    assert f"48 images are on the sides that {path} recorded; 12 new ones" in notes
    path = sides(folder, [(name, "holdout" if i < 20 else "train") for i, name in enumerate(NAMES)])
    images = request.open(DataOptions(splits=path), folder)
    assert "In column split holdout is read as test." in images.notes
    assert not any("name no image" in note or "empty split" in note for note in images.notes)


def test_a_table_of_sides_that_is_gone_is_not_read_where_sides_are_given(folder: Path) -> None:
    images = request.open(DataOptions(), folder)
    record = Sides("runs/a", images.row_ids, images.splits)
    settings = DataOptions(splits=str(folder.parent / "gone.csv"))
    again = request.open(settings, folder, sides=record)
    assert again.splits.tolist() == images.splits.tolist()
    with pytest.raises(ValueError, match=r"gone\.csv: there is no such file"):
        request.open(settings, folder)


def test_groups_of_sides_that_are_alike_are_doubted(folder: Path) -> None:
    coils = [c.lower() if i % 2 else c for i, c in enumerate(COILS)]
    path = sides(folder, [(name, "train") for name in NAMES], group=coils)
    images = request.open(DataOptions(splits=path), folder)
    assert f"Groups in {path} that differ only in case or blanks" in doubted(images)


def test_folders_and_files_of_unusual_words(tmp_path: Path) -> None:
    for place, side in enumerate(("train", "holdout", "dev")):
        (tmp_path / "a" / side).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(PIXELS[10 * place + i]).save(tmp_path / "a" / side / f"{i}.png")
    notes = open_images(tmp_path / "a").notes
    text = "The folders dev (as validation), holdout (as test), train are splits (--split-column"
    assert any(note.startswith(text) for note in notes)
    found = file_splits(["train-0", "evaluation-0", "val-0"])
    assert found is not None and found.splits == ("train", "test", "validation")
    assert found.notes == (
        "evaluation-0 is read as test by the name (--split-column none to change it).",
    )


def test_sides_that_contradict_each_other(folder: Path) -> None:
    rows = list(zip(NAMES, SPLIT, strict=True))
    path = sides(folder, [*rows, ("00.png", "test")])
    said = r"sides\.csv: '00\.png' is named twice \(rows 1 and 61\), as train and as test; keep"
    with pytest.raises(ValueError, match=said):
        request.open(DataOptions(splits=path), folder)
    assert len(read_sides(sides(folder, [*rows, *rows])).row_ids) == 60
    assert read_sides(sides(folder, [("a", "train"), ("a", "unlabelled")])).splits[0] == "train"
    path = sides(folder, [("a", "test"), ("a", "test")], group=["C1", "C2"])
    with pytest.raises(ValueError, match=r"'a' is named twice \(rows 1 and 2\) with different gro"):
        read_sides(path)
    with pytest.raises(ValueError, match=r"sides\.csv: its column split is empty in every row"):
        read_sides(sides(folder, [("a", ""), ("b", "")], group=["C1", "C2"]))
    with pytest.raises(ValueError, match=r"sides\.csv: split column 'split': 'x' of b names no"):
        read_sides(sides(folder, [("a", "train"), ("b", "x")]))


def test_names_that_are_alike() -> None:
    assert alike(["C1", "c1", "C2"]) == [["C1", "c1"]]
    assert alike(["003", "3", "30"]) == [["003", "3"]]
    assert alike(["coil 07", "Coil7", "coil 70"]) == [["coil 07", "Coil7"]]
    assert alike(["caf\u00e9", "cafe\u0301"]) == [["caf\u00e9", "cafe\u0301"]]
    assert alike(["1.05", "1.5", "10", "1", "0", "00"]) == [["0", "00"]]
    assert alike(["a-b", "ab"]) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", [str.lower, lambda c: c.replace("C", "C0"),
                                    lambda c: c.replace("C", "C ")])  # fmt: skip
def test_groups_that_are_alike_are_doubted(folder: Path, form: str, change: Any) -> None:
    coils = [change(c) if i % 2 else c for i, c in enumerate(COILS)]
    images = opened(folder, form, kind=KIND, coil=coils)
    text = "Groups of coil that differ only in case or blanks, or in leading zeros, are taken as"
    assert text in doubted(images) and "and 9 more such" in doubted(images)
    clean = opened(folder, form, kind=KIND, coil=COILS)
    assert not doubted(clean)


@pytest.mark.parametrize("form", FORMS)
def test_classes_and_labels_that_are_alike_are_doubted(folder: Path, form: str) -> None:
    images = opened(folder, form, kind=["good", "Good", "BAD", "bad"] * 15)
    assert (
        "Classes of kind that differ only in case or blanks, or in leading zeros, are taken as "
        "different classes: BAD and bad (and 1 more such)"
    ) in doubted(images)
    images = opened(folder, form, defects=["pit|Scratch", "scratch", "pit", "pit|scratch"] * 15)
    assert "Labels of defects that differ only in case" in doubted(images)
    if not form.endswith("csv"):
        images = opened(folder, form, tags=[["pit", "Pit"], ["pit"]] * 30)
        assert "Labels of tags that differ only in case" in doubted(images)


@pytest.mark.parametrize("by", ["target", "group"])
def test_folders_that_are_alike_are_doubted(tmp_path: Path, by: str) -> None:
    for place, name in enumerate(("good", "Good", "bad")):
        (tmp_path / "a" / name).mkdir(parents=True)
        for i in range(20):
            Image.fromarray(PIXELS[20 * place + i]).save(tmp_path / "a" / name / f"{i}.png")
    images = open_images(tmp_path / "a", group="FOLDER" if by == "group" else None)
    assert "Folders that differ only in case or blanks, or in leading zeros, are taken as" in (
        doubted(images)
    )
    assert "Good and good" in doubted(images)


@pytest.mark.parametrize("cell", ["3.1.2", "-", "3.2 mm", "1,005", "?"])
@pytest.mark.parametrize("form", FORMS)
def test_a_cell_among_numbers_that_is_none(folder: Path, form: str, cell: str) -> None:
    cells = first(list(map(str, THICK)), cell, 7)
    recurring = first([f"{i % 7}.5" for i in range(60)], cell, 7)
    for values, what in ((cells, "no target"), (recurring, "a class of 8 classes")):
        images = opened(folder, form, kind=KIND, thick=values)
        said = (
            f"thick is {what}, although all but 1 of its 60 cells are numbers: '{cell}' of 07.png;"
        )
        assert said in doubted(images)
        assert isinstance(doubts(images.notes)[0], Note)
        assert doubts(images.notes)[0].setting == "kinds"
        sure = opened(folder, form, kind=KIND, thick=values, options={"kinds": ("thick:class",)})
        assert "cells are numbers" not in doubted(sure)
        with pytest.raises(
            ValueError, match=r"'thick': 1 of its 60 cells is no number \("
        ) as error:
            opened(folder, form, options={"kinds": ("thick:number",)}, kind=KIND, thick=values)
        assert f"('{cell}' of 07.png); " in str(error.value)


@pytest.mark.parametrize("form", FORMS)
def test_cells_that_are_all_written_in_another_way(folder: Path, form: str) -> None:
    ways: dict[str, Any] = {
        "decimal point": lambda v: f"{v}".replace(".", ","),
        "unit": lambda v: f"{v} mm",
    }
    for mend, written in ways.items():
        cells = [written(THICK[i % 40]) for i in range(60)]
        images = opened(folder, form, kind=KIND, thick=cells)
        assert "although its cells look like numbers, such as" in doubted(images)
        said = rf"60 of its 60 cells are no numbers \(the first: '2.*' of 00\.png\); .*{mend}"
        with pytest.raises(ValueError, match=said):
            opened(folder, form, options={"kinds": ("thick:number",)}, kind=KIND, thick=cells)


def test_text_that_is_no_number_is_not_doubted(folder: Path) -> None:
    codes = first([f"{i % 9:03}" for i in range(60)], "A12")
    for values in (
        codes,
        [f"{i % 9} mm" for i in range(60)],
        [f"{i % 30}a" for i in range(60)],
        [f"{i % 20}.{i % 3}.1" for i in range(60)],
        ["a"] * 30 + ["1", "2"] * 15,
    ):
        images = opened(folder, "labels.csv", kind=KIND, code=values)
        assert not doubted(images), values[:3]


def test_numbers_in_text(folder: Path) -> None:
    values: list[Any] = first(first(list(map(str, THICK)), "+3.5"), None, 1)
    values = first(values, "inf", 2)
    images = opened(folder, "manifest.jsonl", options={"kinds": ("thick:number",)}, kind=KIND,
                    thick=values)  # fmt: skip
    found = images.targets["thick"].values[:, 0]
    assert found[0] == 3.5 and np.isnan(found[1:3]).all() and not np.isnan(found[3:]).any()
    typo = first(list(map(str, THICK)), "3.1.2", 7)
    said = r"'width,thick': column 'thick': 1 of its 60 cells is no number \('3\.1\.2' of 07\.png\)"
    with pytest.raises(ValueError, match=said):
        opened(folder, "labels.csv", options={"target": "width,thick"}, width=THICK, thick=typo)


def test_nothing_is_said_of_targets_that_are_not_taken(tmp_path: Path) -> None:
    for place, name in enumerate(("one", "two")):
        (tmp_path / "a" / name).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(PIXELS[10 * place + i]).save(tmp_path / "a" / name / f"{i}.png")
    file = write(tmp_path / "a" / "t.csv", [f"{n}/{i}.png" for n in ("one", "two")
                 for i in range(10)], kind=["x", "X"] * 10)  # fmt: skip
    for source, target in ((tmp_path / "a", "class"), (Path(file), "kind")):
        spoken = [
            note
            for note in open_images(source).notes
            if f"target {target}" in note
            or f"{target} is the only target" in note
            or f"Classes of {target}" in note
        ]
        assert spoken
        for options, whole in ((DataOptions(target="none"), False), (DataOptions(), True)):
            images = request.open(options, source, whole=whole, near=False)
            here = " ".join(images.notes)
            assert "are the target" not in here and "is the only target" not in here
            assert whole or "Classes of" not in here
