"""Which column of a table holds the groups: strong names, weak names where plausible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfsight.data.imageset import ImageSet
from selfsight.data.request import open_images

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 8, 8)).astype(np.uint8)


def opened(folder: Path, *, joined: bool, options: dict[str, str] | None = None,
           **columns: list[object]) -> ImageSet:  # fmt: skip
    """Forty images with a table, as a manifest or joined by ``--labels``."""
    names = [f"{i:02}.png" for i in range(40)]
    for name, values in zip(names, PIXELS, strict=True):
        Image.fromarray(values).save(folder / name)
    lines = [",".join(["file", *columns])]
    lines += [",".join(map(str, row)) for row in zip(names, *columns.values(), strict=True)]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    if joined:
        return open_images(folder, labels=str(folder / "table.csv"), **(options or {}))
    return open_images(folder / "table.csv", **(options or {}))


GRADE: list[object] = ["low", "high"] * 20
PAIRS: list[object] = [f"u{i // 4}" for i in range(40)]


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(
    "name", ["coil", "board", "Patient_ID", "lot", "slide", "tile", "scene", "video", "coil_no"]
)
def test_strong_names_are_groups_at_any_number(name: str, joined: bool, tmp_path: Path) -> None:
    for count in (1, 2, 10, 40):
        values: list[object] = [f"u{i * count // 40}" for i in range(40)]
        images = opened(tmp_path, joined=joined, grade=GRADE, **{name: values})
        assert images.group_name == name and images.groups is not None
        assert len(np.unique(images.groups)) == count and set(images.targets) == {"grade"}
        assert any(f"Column {name} is taken as the group" in note for note in images.notes)


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("name", ["group", "Group", "scan_id", "session", "batch"])
def test_weak_names_are_groups_where_plausible(name: str, joined: bool, tmp_path: Path) -> None:
    images = opened(tmp_path, joined=joined, grade=GRADE, **{name: PAIRS})
    assert images.group_name == name and set(images.targets) == {"grade"}
    same: list[object] = ["A" if grade == "low" else "B" for grade in GRADE]
    for values in (same, ["x"] * 40, [f"n{i}" for i in range(40)]):
        images = opened(tmp_path, joined=joined, grade=GRADE, **{name: values})
        assert images.groups is None and "grade" in images.targets


def test_none_takes_no_group_and_other_units_are_no_targets(tmp_path: Path) -> None:
    two = {"patient": [f"p{i // 8}" for i in range(40)], "slide": PAIRS}
    images = opened(tmp_path, joined=False, grade=GRADE, **two)  # type: ignore[arg-type]
    assert images.group_name == "patient" and set(images.targets) == {"grade"}
    assert any("other groups are not read: slide" in note for note in images.notes)
    none = opened(tmp_path, joined=False, options={"group": "none"}, grade=GRADE, coil=PAIRS)
    assert none.groups is None


def test_persons_alone_are_a_target(tmp_path: Path) -> None:
    images = opened(tmp_path, joined=False, person=PAIRS)
    assert images.groups is None and set(images.targets) == {"person"}
