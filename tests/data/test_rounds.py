"""Images that are opened again keep their sides, and new ones are placed for good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfsight.data import request
from selfsight.data.imageset import ImageSet
from selfsight.data.notes import doubts
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
        "60 images are in groups of coil that runs/a recorded; 1 image stands" in note
        for note in again.notes
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
    guessed = DataOptions(labels=other, allow_leaks=True)
    own = request.open(guessed, images, records=[record])
    assert own.group_name == "lot" and set(group_of(own)) == {"a", "b", None}
    assert any(
        "Groups are those of lot; the groups of coil that runs/a recorded are not used." in note
        for note in own.notes
    )


def test_images_without_a_group_beside_others_are_in_the_recorded_one(tmp_path: Path) -> None:
    """A table that names the coil of some images leaves the others in the one they were in."""
    names = list(numbered(range(60)))
    images = folder(tmp_path / "a", numbered(range(60)))
    coils = [f"c{i // 6}" for i in range(60)]
    ok = [0, 1] * 30
    labels = table(tmp_path / "l.csv", names, coil=coils, ok=ok)
    first = request.open(DataOptions(labels=labels), images)
    record = record_of(first)
    some = table(tmp_path / "s.csv", names[:20], coil=coils[:20], ok=ok[:20])
    gaps = [coil if i % 3 else "" for i, coil in enumerate(coils)]
    empty = table(tmp_path / "e.csv", names, coil=gaps, ok=ok)
    for second in (some, empty):
        again = request.open(DataOptions(labels=second), images, records=[record])
        assert dict(zip(again.row_ids.tolist(), group_of(again), strict=True)) == dict(
            zip(names, coils, strict=True)
        )
        assert len(np.unique(again.groups)) == 10 and again.leaks == ()


def test_a_declared_test_split_keeps_the_recorded_groups(tmp_path: Path) -> None:
    """They are what the leak check and the interval need, also where the sides are declared."""
    names = list(numbered(range(60)))
    images = folder(tmp_path / "a", numbered(range(60)))
    coils = [f"c{i // 6}" for i in range(60)]
    labels = table(tmp_path / "l.csv", names, coil=coils, ok=[0, 1] * 30)
    record = record_of(request.open(DataOptions(labels=labels), images))
    whole = ["test" if i // 6 in (2, 5) else "train" for i in range(60)]
    declared = table(tmp_path / "d.csv", names, split=whole, ok=[0, 1] * 30)
    again = request.open(DataOptions(labels=declared), images, records=[record])
    assert group_of(again) == coils
    assert (again.splits == "test").sum() == 12
    cut = ["test" if i % 6 == 0 else "train" for i in range(60)]
    declared = table(tmp_path / "x.csv", names, split=cut, ok=[0, 1] * 30)
    with pytest.raises(ValueError, match="coil"):
        request.open(DataOptions(labels=declared), images, records=[record])
    none = request.open(DataOptions(labels=declared, group="none"), images, records=[record])
    assert none.groups is None


def test_groups_of_two_columns_are_not_mixed(tmp_path: Path) -> None:
    names = list(numbered(range(60)))
    images = folder(tmp_path / "a", numbered(range(60)))
    coils, lots = [f"c{i // 6}" for i in range(60)], [f"l{i % 5}" for i in range(60)]
    coil = table(tmp_path / "c.csv", names, coil=coils, ok=[0, 1] * 30)
    lot = table(tmp_path / "l.csv", names[:30], lot=lots[:30], ok=[0, 1] * 15)
    far = record_of(request.open(DataOptions(labels=coil), images))
    near = record_of(request.open(DataOptions(labels=lot), images))
    again = request.open(DataOptions(), images, records=[near, far])
    assert again.group_name == "lot" and group_of(again) == [*lots[:30], *[None] * 30]
    wish = DataOptions(group="coil", labels=coil, allow_leaks=True)  # sides are those of the lots
    named = request.open(wish, images, records=[near, far])
    assert named.group_name == "coil" and group_of(named) == coils
    gaps = table(tmp_path / "g.csv", names[:9], coil=coils[:9], ok=[0, 1, 0] * 3)
    wish = DataOptions(labels=gaps, allow_leaks=True)
    filled = request.open(wish, images, records=[near, far])
    assert filled.group_name == "coil" and group_of(filled) == coils


def test_the_recorded_column_is_the_group_again(tmp_path: Path) -> None:
    """`wafer` is no name that says group; once the user said so, a later table needs no word."""
    names = list(numbered(range(60)))
    images = folder(tmp_path / "a", numbered(range(60)))
    wafers = [f"w{i // 6}" for i in range(60)]
    labels = table(tmp_path / "l.csv", names, wafer=wafers, ok=[0, 1] * 30)
    record = record_of(request.open(DataOptions(labels=labels, group="wafer"), images))
    more = folder(tmp_path / "b", numbered(range(60, 120)))
    second = table(
        tmp_path / "m.csv",
        list(numbered(range(60, 120))),
        wafer=[f"w{10 + i // 6}" for i in range(60)],
        ok=[0, 1] * 30,
    )
    again = request.open(DataOptions(labels=second), more, records=[record])
    assert again.group_name == "wafer" and set(again.targets) == {"ok"}
    asked = request.open(DataOptions(labels=second, target="wafer"), more, records=[record])
    assert "wafer" in asked.targets and asked.groups is None


def test_a_recorded_separator_that_no_cell_holds_is_not_the_separator(tmp_path: Path) -> None:
    """A run that read `pit;stain` does not make classes of `pit|stain`."""
    images = folder(tmp_path / "a", numbered(range(40)))
    cells = ["pit|stain", "pit", "stain", "pit|stain"] * 10
    labels = table(tmp_path / "l.csv", list(numbered(range(40))), defects=cells)
    held = request.open(DataOptions(labels=labels), images, reading={"separator": (";",)})
    assert held.targets["defects"].names == ("pit", "stain")
    mixed = ["pit|stain", "pit", "stain", "pit;stain"] * 10
    labels = table(tmp_path / "m.csv", list(numbered(range(40))), defects=mixed)
    doubts = request.open(DataOptions(labels=labels), images).notes
    assert any("write one separator everywhere" in note for note in doubts)


def in_coils(path: Path) -> Path:
    """A folder of six images for each of ten coils."""
    for i in range(60):
        coil = path / f"coil_{i // 6}"
        coil.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[i]).save(coil / f"{i:03}.png")
    return path


def test_folders_that_are_the_groups_are_no_target(tmp_path: Path) -> None:
    """A class that is the group is in one split alone: nothing can be learnt of it."""
    images = in_coils(tmp_path / "a")
    plain = request.open(DataOptions(), images)
    assert set(plain.targets) == {"class"} and plain.groups is None
    assert any("(--group FOLDER to change it)" in note for note in doubts(plain.notes))
    none = request.open(DataOptions(group="none"), images)
    assert not doubts(none.notes)
    grouped = request.open(DataOptions(group="FOLDER"), images)
    assert not grouped.targets and len(np.unique(grouped.groups)) == 10
    assert any("are the groups, and no target" in note for note in grouped.notes)
    asked = request.open(DataOptions(group="FOLDER", target="FOLDER"), images)
    assert set(asked.targets) == {"FOLDER"} and len(np.unique(asked.groups)) == 10
    kind = request.open(DataOptions(group="FOLDER", kinds=("class:identity",)), images)
    assert kind.targets["class"].kind == "identity"
    again = request.open(DataOptions(), images, records=[record_of(grouped)])
    assert again.group_name == "FOLDER" and not again.targets


def test_a_table_of_labels_beside_folders_that_are_the_groups(tmp_path: Path) -> None:
    images = in_coils(tmp_path / "a")
    names = [f"coil_{i // 6}/{i:03}.png" for i in range(60)]
    labels = table(tmp_path / "l.csv", names, defect=[0, 1] * 30)
    given = request.open(DataOptions(labels=labels, group="FOLDER"), images)
    assert set(given.targets) == {"defect"}
    assert group_of(given) == [f"coil_{i // 6}" for i in range(60)]
    units = table(tmp_path / "u.csv", names, defect=[0, 1] * 30, coil=["a", "b", "c"] * 20)
    given = request.open(DataOptions(labels=units, group="FOLDER"), images)
    assert set(given.targets) == {"defect"} and given.group_name == "FOLDER"
    (images / "labels.csv").write_text((tmp_path / "l.csv").read_text())
    inside = request.open(DataOptions(group="FOLDER"), images)
    assert set(inside.targets) == {"defect"} and len(np.unique(inside.groups)) == 10


def test_a_column_of_units_is_no_target_where_there_is_another(tmp_path: Path) -> None:
    names = list(numbered(range(60)))
    images = folder(tmp_path / "a", numbered(range(60)))
    coils, wafers = [f"c{i // 6}" for i in range(60)], [f"w{i // 12}" for i in range(60)]
    labels = table(tmp_path / "l.csv", names, coil=coils, wafer=wafers, ok=[0, 1] * 30)
    none = request.open(DataOptions(labels=labels, group="none"), images)
    assert set(none.targets) == {"ok", "wafer"} and none.groups is None
    assert any("other groups are not read: coil" in note for note in none.notes)
    named = request.open(DataOptions(labels=labels, group="wafer"), images)
    assert set(named.targets) == {"ok"} and named.group_name == "wafer"
    asked = request.open(DataOptions(labels=labels, group="none", target="coil"), images)
    assert "coil" in asked.targets
    alone = table(tmp_path / "p.csv", names, person=coils, session=wafers)
    person = request.open(DataOptions(labels=alone, group="session"), images)
    assert set(person.targets) == {"person"}
