"""Inputs from public bug reports of other tools: read, or left out with a sentence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfsight.data.notes import doubts
from selfsight.data.request import open_images

from .brought import PLAIN, picture, save, tree


def test_suffixes_in_capitals(tmp_path: Path) -> None:
    names = ["a.JPG", "b.Jpeg", "c.PNG", "d.TIFF", "e.WEBP"]
    for i, name in enumerate(names):
        kind = name.rpartition(".")[2].lower().replace("jpg", "jpeg")
        save(tmp_path / name, i, format=kind)
    assert open_images(tmp_path, **PLAIN).row_ids.tolist() == names


def test_folders_of_notebooks_and_systems_are_no_classes(tmp_path: Path) -> None:
    tree(tmp_path, ["cat", "dog", ".ipynb_checkpoints"])
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "cat" / "._0.png").write_bytes(b"AppleDouble")
    (tmp_path / "empty").mkdir()
    images = open_images(tmp_path, **PLAIN)
    assert images.targets["class"].names == ("cat", "dog")
    assert len(images) == 6
    assert any(".ipynb_checkpoints" in note and "._0.png" in note for note in images.notes)


def test_names_of_files_are_no_splits(tmp_path: Path) -> None:
    names = ["photo of a cat.png", "photo of a dog.png", "photo of a train.png", "test tubes.png"]
    for i, name in enumerate(names):
        save(tmp_path / name, i)
    lines = [json.dumps({"file_name": name, "kind": "ab"[i % 2]}) for i, name in enumerate(names)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    images = open_images(tmp_path, **PLAIN)
    assert set(images.splits) == {"train"}
    assert images.targets["kind"].values.tolist() == [0, 1, 0, 1]


def test_a_validation_folder_without_classes_is_unknown(tmp_path: Path) -> None:
    """ImageNet as it is downloaded: the folder val is flat."""
    root = "ILSVRC/Data/CLS-LOC"
    tree(tmp_path, [f"{root}/train/n01", f"{root}/train/n02", f"{root}/val"])
    images = open_images(tmp_path, validation=0, test=0)
    target = images.targets["class"]
    assert target.names == ("n01", "n02")
    assert not target.known[images.rows("validation")].any()
    assert target.known[images.rows("train")].all()


def test_classes_that_are_only_in_test_have_codes_of_their_own(tmp_path: Path) -> None:
    tree(tmp_path, ["train/a", "train/b", "test/b", "test/c"])
    images = open_images(tmp_path, **PLAIN)
    target = images.targets["class"]
    assert target.names == ("a", "b", "c")
    assert set(target.values[images.rows("test")]) == {1, 2}


def test_modes_of_pictures_become_colour_or_grey(tmp_path: Path) -> None:
    colour = Image.fromarray(picture(0))
    colour.convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    colour.convert("RGBA").save(tmp_path / "b.png")
    colour.convert("L").save(tmp_path / "c.png")
    colour.convert("1").save(tmp_path / "d.png")
    images = open_images(tmp_path, **PLAIN)
    assert images.pixels.shape == (4, 12, 12, 3)
    np.testing.assert_array_equal(images.pixels[1], picture(0))
    assert np.ptp(images.pixels[2].astype(int), axis=-1).max() == 0
    assert set(np.unique(images.pixels[3])) == {0, 255}


def test_a_web_page_saved_as_an_image_is_named(tmp_path: Path) -> None:
    for i in range(30):
        save(tmp_path / f"{i:02}.jpg", i)
    (tmp_path / "03.jpg").write_text("<html>404 not found</html>")
    images = open_images(tmp_path, **PLAIN)
    assert len(images) == 29
    note = next(note for note in images.notes if "unreadable" in note)
    assert note.names == ("03.jpg (not an image of a known format)",)


@pytest.mark.parametrize("names", [("Cat", "cat"), ("red fox", "red  fox ")])
def test_folders_that_differ_in_case_or_blanks_are_doubtful(
    tmp_path: Path, names: Sequence[str]
) -> None:
    tree(tmp_path, [*names, "dog"])
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system does not tell these names apart")
    notes = doubts(open_images(tmp_path, **PLAIN).notes)
    assert any("case or blanks" in note and names[0] in note for note in notes)


@pytest.mark.parametrize("name", ["labels.json", "_annotations.coco.json", "labels.xlsx"])
def test_labels_in_a_file_that_is_not_read_are_doubtful(tmp_path: Path, name: str) -> None:
    save(tmp_path / "a.png", 0)
    (tmp_path / name).write_text(json.dumps({"a.png": "cat"}))
    notes = doubts(open_images(tmp_path, **PLAIN).notes)
    assert any(name in note and "save them as CSV" in note for note in notes)


def test_addresses_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("url,label\nhttps://x.org/a.png,1\nhttps://x.org/b.png,0\n")
    with pytest.raises(ValueError, match="an address; download the images"):
        open_images(tmp_path / "t.csv")


@pytest.mark.parametrize("layout", ["a cell", "columns"])
def test_pixels_as_numbers_in_a_table_say_what_to_do(tmp_path: Path, layout: str) -> None:
    rows = [[str(v) for v in picture(i, channels=1).ravel()] for i in range(3)]
    if layout == "a cell":  # FER-2013
        lines = ["emotion,pixels", *(f"{i},{' '.join(row)}" for i, row in enumerate(rows))]
    else:  # MNIST as CSV
        head = ",".join(f"pixel{j}" for j in range(144))
        lines = [f"label,{head}", *(f"{i},{','.join(row)}" for i, row in enumerate(rows))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"pixels seem to stand as numbers .*np\.savez"):
        open_images(tmp_path / "t.csv")
