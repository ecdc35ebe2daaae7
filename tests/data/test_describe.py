"""The sentences that say what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfsight.data.audit import AuditData, audit_data
from selfsight.data.describe import beyond, describe
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.options import DataOptions
from selfsight.data.pixels.values import fill_nodata
from selfsight.data.reading import ReadOptions
from selfsight.data.request import open_images


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.finfo(np.float32).min])
def test_values_that_are_not_finite(value: float, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((40, 20, 20, 3)).astype(np.float32)
    pixels[3, 2, 2] = pixels[5] = value
    images = open_images(pixels)
    said = " ".join(describe(images))
    if np.isfinite(value):
        assert "hold the value -3.40282e+38" in said and "--nodata -3.40282347e+38" in said
    else:
        assert "from 2.28649e-05" in said and "e+38" not in said
        assert "2 images hold values that are not finite" in said and "#3" in said
    found = audit_data(AuditData(data="images", out=str(tmp_path)), images).audit
    assert np.isfinite(found.values).all()
    filled = open_images(pixels, nodata="nan" if not np.isfinite(value) else "-3.40282347e+38")
    assert np.isfinite(filled.pixels).all() and filled.pixels.max() <= 1
    assert filled.pixels.min() >= 0
    mean = np.delete(pixels[3].reshape(-1, 3), 42, axis=0).mean(0)
    np.testing.assert_allclose(filled.pixels[3, 2, 2], mean, rtol=1e-5)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_value_without_data_beside_an_infinite_one(tmp_path: Path) -> None:
    values = np.full((4, 4, 1), 2.0, np.float32)
    values[0, 0], values[1, 1] = -9999.0, np.inf
    filled = fill_nodata(values, "-9999")
    assert filled[0, 0, 0] == 2.0 and np.isinf(filled[1, 1, 0])
    nothing = ImageSet(
        "x", np.full((2, 4, 4, 1), np.nan, np.float32), np.array(["a", "b"]), np.array(["test"] * 2)
    )
    assert describe(nothing)[0].endswith("1 channel of float32 without a finite value.")


def test_everything_is_said() -> None:
    numbers = np.array([[1.5], [np.nan], [3.0], [2.0]], np.float32)
    images = ImageSet(
        name="coils",
        pixels=np.array([0, 9, 5, 7], np.uint16)[:, None, None, None] * np.ones((1, 6, 8, 2), "u2"),
        row_ids=np.array(list("abcd")),
        splits=np.array(["train", "train", "unlabelled", "test"]),
        targets={
            "kind": Target("kind", "class", np.array([0, 1, -1, 0]), ("a", "b")),
            "mass": Target("mass", "number", numbers, ("mass",)),
            "marks": Target("marks", "labels", np.ones((4, 3), np.float32), tuple("xyz")),
            "who": Target("who", "identity", np.arange(4), tuple("abcd")),
        },
        groups=np.array([0, 0, 1, -1]),
        group_name="coil",
        notes=("A note.",),
    )
    assert describe(images) == (
        "coils: 4 images of 6x8 pixels, 2 channels of uint16 from 0 to 9.",
        "Splits: 2 train, 1 test, 1 unlabelled.",
        "Target kind: class of 2 classes; 1 unknown.",
        "Target mass: number from 1.5 to 3; 1 unknown.",
        "Target marks: 3 labels, several at once.",
        "Target who: 4 identities.",
        "Groups: 2 (coil); 1 image is in none.",
        "A note.",
    )


@pytest.mark.parametrize(
    ("dtype", "top", "options", "said"),
    [
        ("uint8", 255, {"bits": 4}, "uint8 have 8 bits, and --bits 4 changes nothing"),
        ("uint8", 255, {"bits": 8}, ""),
        ("uint8", 255, {"value_range": (0, 100)}, "--value-range 0 100 changes nothing"),
        ("uint16", 5000, {"bits": 12}, "40 images hold values outside of --bits 12 (they go from"),
        ("uint16", 4096, {"bits": 12}, ""),
        ("uint16", 5000, {"value_range": (0, 1000)}, "outside of --value-range 0 1000 (they go"),
        ("float32", 2, {"bits": 4}, "float32 have no bits, and --bits 4 changes nothing"),
        ("float32", 2, {"value_range": (0, 1)}, "outside of --value-range 0 1 (they go from"),
        ("float32", 2, {"value_range": (0, 2)}, ""),
    ],
)
def test_what_declared_values_do_not_hold(
    dtype: str, top: int, options: dict[str, object], said: str
) -> None:
    pixels = (np.random.default_rng(0).random((40, 20, 20)) * top).astype(dtype)
    images = open_images(pixels, **options)
    notes = beyond(images, ReadOptions(**options))
    assert [said in note for note in notes] == [True] * bool(said)
    assert set(map(str, notes)) <= set(describe(images, ReadOptions(**options)))


@pytest.mark.parametrize("name", ["labels", "splits"])
def test_a_folder_is_no_table(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{name}\\n.*it is a folder; name the table in it"):
        DataOptions(**{name: str(tmp_path)})
