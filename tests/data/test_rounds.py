"""Images that are opened again keep their sides, and new ones are placed for good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfsight.data import request
from selfsight.data.imageset import ImageSet
from selfsight.data.options import DataOptions
from selfsight.data.rounds import placed, side_of
from selfsight.data.sides import Sides, group_of, read_sides

PIXELS = np.random.default_rng(3).integers(0, 255, (300, 8, 8)).astype(np.uint8)


def folder(path: Path, images: dict[str, int]) -> Path:
    """File name -> number of the image."""
    path.mkdir(exist_ok=True)
    for name, number in images.items():
        Image.fromarray(PIXELS[number]).save(path / name)
    return path


def numbered(numbers: Sequence[int], form: str = "{:03}.png") -> dict[str, int]:
    return {form.format(number): number for number in numbers}


def record_of(images: ImageSet) -> Sides:
    return Sides(
        "runs/a",
        images.row_ids,
        images.splits,
        images.groups,
        images.group_name,
        images.group_names,
        images.fingerprint(),
        images.content.digests,
        images.scale,
    )


def sides_by_id(images: ImageSet) -> dict[str, str]:
    return dict(zip(images.row_ids.tolist(), images.splits.tolist(), strict=True))


def table(path: Path, names: Sequence[str], **columns: Sequence[object]) -> str:
    rows = zip(names, *columns.values(), strict=True)
    lines = [",".join(["file", *columns]), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_known_images_keep_their_sides_and_new_ones_fall_by_a_hash(tmp_path: Path) -> None:
    first = request.open(DataOptions(), folder(tmp_path / "a", numbered(range(100))))
    record = record_of(first)
    again = request.open(
        DataOptions(seed=7), folder(tmp_path / "a", numbered(range(300))), records=[record]
    )
    sides = sides_by_id(again)
    assert all(sides[name] == split for name, split in sides_by_id(first).items())
    new = [name for name in sides if name not in sides_by_id(first)]
    assert len(new) == 200 and 20 <= sum(sides[name] == "test" for name in new) <= 60
    for name in new:
        side = side_of(name, validation=0.1, test=0.2)
        assert sides[name] == {"train": "unlabelled"}.get(side, side)
    assert any("200 new ones are placed by group, or by a hash" in note for note in again.notes)
    none = request.open(DataOptions(test=0.0), tmp_path / "a", records=[record])
    assert sum(sides_by_id(none)[name] == "test" for name in new) == 0


def test_a_renamed_image_keeps_its_side_and_another_one_of_its_name_does_not(
    tmp_path: Path,
) -> None:
    first = request.open(DataOptions(), folder(tmp_path / "a", numbered(range(100))))
    moved = folder(tmp_path / "b", numbered(range(100), "x{:03}.png"))
    again = request.open(DataOptions(), moved, records=[record_of(first)])
    was = sides_by_id(first)
    assert {name[1:]: split for name, split in sides_by_id(again).items()} == was
    other = folder(tmp_path / "c", {f"{i:03}.png": 200 + i for i in range(100)})
    fresh = request.open(DataOptions(), other, records=[record_of(first)])
    assert fresh.splits.tolist() == request.open(DataOptions(), other).splits.tolist()
    assert not any("recorded" in note for note in fresh.notes)


def test_another_size_finds_the_same_images(tmp_path: Path) -> None:
    first = request.open(DataOptions(), folder(tmp_path / "a", numbered(range(100))))
    moved = folder(tmp_path / "b", numbered(range(100), "x{:03}.png"))
    again = request.open(DataOptions(image_size=12), moved, records=[record_of(first)])
    assert again.height == 12
    was = sides_by_id(first)
    assert {name[1:]: split for name, split in sides_by_id(again).items()} == was


def test_a_new_copy_of_an_image_on_another_side_is_left_out_and_named(tmp_path: Path) -> None:
    first = request.open(DataOptions(), folder(tmp_path / "a", numbered(range(100))))
    test = int(first.row_ids[first.rows("test")[0]][:3])
    by_side: dict[str, str] = {}
    for i in range(100):
        by_side.setdefault(side_of(f"new{i}.png", validation=0.1, test=0.2), f"new{i}.png")
    names = {by_side["train"]: test, by_side["test"]: test}
    twice = {"z1.png": 250, by_side["validation"]: 250}  # two new images of the same pixels
    assert side_of("z1.png", validation=0.1, test=0.2) != "validation"
    folder(tmp_path / "a", {**names, **twice})
    again = request.open(DataOptions(), tmp_path / "a", records=[record_of(first)])
    sides = sides_by_id(again)
    assert by_side["train"] not in sides and sides[by_side["test"]] == "test"
    assert ("z1.png" in sides) != (by_side["validation"] in sides)
    (note,) = [note for note in again.notes if "left out" in note]
    assert note.startswith("2 new images are left out") and by_side["train"] in note


def test_a_new_image_of_a_known_group_joins_it(tmp_path: Path) -> None:
    names = [f"{i:03}.png" for i in range(100)]
    folder(tmp_path / "a", numbered(range(100)))
    coils = [f"c{i // 5}" for i in range(100)]
    labels = table(tmp_path / "1.csv", names, grade=["a", "b"] * 50, coil=coils)
    wish = DataOptions(labels=labels, group="coil")
    first = request.open(wish, tmp_path / "a")
    side = {coil: split for coil, split in zip(coils, first.splits.tolist(), strict=True)}
    assert {"train", "test"} <= set(side.values())
    folder(tmp_path / "b", numbered(range(100, 220)))  # none of the old images is there
    names = [f"{i:03}.png" for i in range(100, 220)]
    coils = [f"c{i // 3}" for i in range(120)]  # c0 to c19 are known, c20 to c39 are not
    labels = table(tmp_path / "2.csv", names, grade=["a", "b"] * 60, coil=coils)
    record = record_of(first)
    places = placed(np.array(names), coils, [record], [None], validation=0.1, test=0.2)
    for coil, split in zip(coils, places.splits.tolist(), strict=True):
        assert split == side.get(coil) or coil not in side
        if coil not in side:
            assert split == side_of(coil, validation=0.1, test=0.2)
    assert not places.known.any()


def test_a_grown_set_with_groups(tmp_path: Path) -> None:
    def opened(count: int, records: Sequence[Sides] = ()) -> ImageSet:
        folder(tmp_path / "a", numbered(range(count)))
        coils = [f"c{i % 25}" if i < 100 else f"c{i % 50}" for i in range(count)]
        names = [f"{i:03}.png" for i in range(count)]
        labels = table(tmp_path / "l.csv", names, grade=["a", "b"] * (count // 2), coil=coils)
        return request.open(
            DataOptions(labels=labels, group="coil"), tmp_path / "a", records=records
        )

    first = opened(100)
    again = opened(240, [record_of(first)])
    was = sides_by_id(first)
    assert {name: split for name, split in sides_by_id(again).items() if name in was} == was
    assert again.leaks == ()  # the door would have refused a group on two sides


def test_declared_splits_stay_as_declared(tmp_path: Path) -> None:
    x = PIXELS[:100, :, :, None]
    np.savez(tmp_path / "a.npz", images=x)
    record = record_of(request.open(DataOptions(), tmp_path / "a.npz"))
    y = np.arange(100) % 2
    np.savez(
        tmp_path / "b.npz",
        train_images=x[:50],
        test_images=x[50:],
        train_labels=y[:50],
        test_labels=y[50:],
    )
    plain = request.open(DataOptions(), tmp_path / "b.npz")
    assert (plain.splits[50:] == "test").all()
    with_record = request.open(DataOptions(), tmp_path / "b.npz", records=[record])
    assert with_record.splits.tolist() == plain.splits.tolist()


def test_labels_that_come_later_move_no_image(tmp_path: Path) -> None:
    first = request.open(DataOptions(), folder(tmp_path / "a", numbered(range(100))))
    assert len(first.rows("test")) == 20 and len(first.rows("unlabelled")) > 0
    names = [f"{i:03}.png" for i in range(40)]
    labels = table(tmp_path / "l.csv", names, grade=["a", "b"] * 20)
    again = request.open(DataOptions(labels=labels), tmp_path / "a", records=[record_of(first)])
    assert np.isin(again.rows("test"), first.rows("test")).all()
    assert np.array_equal(again.rows("train"), first.rows("unlabelled"))


def test_a_table_of_splits(tmp_path: Path) -> None:
    folder(tmp_path / "a", numbered(range(60)))
    lines = ["row_id,split", *(f"{i:03}.png,{'test' if i < 20 else 'train'}" for i in range(50))]
    path = tmp_path / "splits.csv"
    path.write_text("\n".join(lines))
    images = request.open(DataOptions(splits=str(path)), tmp_path / "a")
    sides = sides_by_id(images)
    assert all(sides[f"{i:03}.png"] == "test" for i in range(20))
    assert all(sides[f"{i:03}.png"] == "unlabelled" for i in range(20, 50))
    assert all(sides[f"{i:03}.png"] in ("test", "validation", "unlabelled") for i in range(50, 60))
    limited = request.open(DataOptions(splits=str(path), limit=12), tmp_path / "a")
    assert len(limited.pool) == 12 and set(limited.row_ids[limited.rows("test")]) >= {
        f"{i:03}.png" for i in range(20)
    }


def test_a_table_of_splits_that_cannot_be_used(tmp_path: Path) -> None:
    folder(tmp_path / "a", numbered(range(10)))
    path = tmp_path / "splits.csv"
    path.write_text("row_id,split\nother.png,test\n")
    with pytest.raises(ValueError, match=r"^splits \S+splits\.csv: it names no image of a;"):
        request.open(DataOptions(splits=str(path)), tmp_path / "a")
    path.write_text("name,side\n000.png,test\n")
    with pytest.raises(
        ValueError, match="it needs the columns row_id and split; it has name, side"
    ):
        read_sides(str(path))


def test_groups_that_were_recorded_hold_where_images_come_without(tmp_path: Path) -> None:
    """Without them intervals and folds would take the images of one coil as independent."""
    names = list(numbered(range(60)))
    images = folder(tmp_path / "a", numbered(range(60)))
    labels = table(
        tmp_path / "l.csv", names, coil=[f"c{i // 6}" for i in range(60)], ok=[0, 1] * 30
    )
    first = request.open(DataOptions(labels=labels, group="coil"), images)
    record = record_of(first)
    folder(tmp_path / "a", numbered([100]))
    again = request.open(DataOptions(), images, records=[record])
    was = dict(zip(first.row_ids.tolist(), group_of(first), strict=True))
    now = dict(zip(again.row_ids.tolist(), group_of(again), strict=True))
    assert now == {**was, "100.png": None} and again.group_name == "coil"
    assert any(
        "10 of coil, as runs/a recorded them; 1 image stands" in note for note in again.notes
    )
    moved = folder(tmp_path / "b", numbered(range(60), "x{:03}.png"))
    renamed = request.open(DataOptions(), moved, records=[record])
    assert {name[1:]: g for name, g in zip(renamed.row_ids, group_of(renamed), strict=True)} == was
    assert request.open(DataOptions(group="none"), images, records=[record]).groups is None
    other = table(tmp_path / "o.csv", names, lot=["a", "b"] * 30, ok=[0, 1] * 30)
    own = request.open(
        DataOptions(labels=other, group="lot", allow_leaks=True), images, records=[record]
    )
    assert own.group_name == "lot"


def test_a_recorded_separator_that_no_cell_holds_is_not_the_separator(tmp_path: Path) -> None:
    """A run that read `pit;stain` does not make classes of `pit|stain`."""
    images = folder(tmp_path / "a", numbered(range(40)))
    cells = ["pit|stain", "pit", "stain", "pit|stain"] * 10
    labels = table(tmp_path / "l.csv", list(numbered(range(40))), defects=cells)
    held = request.open(DataOptions(labels=labels, separator=";"), images)
    assert held.targets["defects"].names == ("pit", "stain")
    mixed = ["pit|stain", "pit", "stain", "pit;stain"] * 10
    labels = table(tmp_path / "m.csv", list(numbered(range(40))), defects=mixed)
    doubts = request.open(DataOptions(labels=labels), images).notes
    assert any("write one separator everywhere" in note for note in doubts)
