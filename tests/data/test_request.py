"""Leaks stop, are dropped, or are allowed and said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfsight.data.imageset import ImageSet
from selfsight.data.request import Data, apart, checked


@pytest.fixture
def leaking() -> ImageSet:
    """Twelve images; a test image is in train too, and group 7 stands on two sides."""
    pixels = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3)).astype(np.uint8)
    pixels[10] = pixels[2]
    splits = np.array(["train"] * 6 + ["validation"] * 3 + ["test"] * 3)
    groups = np.arange(12)
    groups[[4, 7]] = 77
    ids = np.array([f"{i}.png" for i in range(12)])
    return ImageSet("made", pixels, ids, splits, groups=groups, group_name="coil")


def test_a_leak_stops(leaking: ImageSet) -> None:
    with pytest.raises(ValueError, match=r"made leaks across its splits.*--drop-leaks") as caught:
        checked(leaking, Data(data="made"))
    assert "2.png" in str(caught.value)
    assert "coil" in str(caught.value)


def test_dropping_takes_the_train_copies(leaking: ImageSet) -> None:
    kept, said = checked(leaking, Data(data="made", drop_leaks=True))
    assert said == ()
    assert sorted(set(leaking.row_ids) - set(kept.row_ids)) == ["2.png", "4.png"]
    assert checked(kept, Data(data="made"))[0] is kept


def test_allowing_says_each(leaking: ImageSet) -> None:
    kept, said = checked(leaking, Data(data="made", allow_leaks=True))
    assert len(kept) == 12
    assert len(said) == 2


def test_a_pool_holds_no_test_images(leaking: ImageSet) -> None:
    images, _ = checked(leaking, Data(data="made", drop_leaks=True))
    splits = np.full(12, "unlabelled")
    pool = replace(leaking, name="pool", splits=splits, groups=None, group_name=None)
    with pytest.raises(ValueError, match="pool pool: 7 of its images"):
        apart(pool, images, Data(data="made"))
    rows, dropped = apart(pool, images, Data(data="made", drop_leaks=True))
    assert dropped == 7
    assert rows.tolist() == [0, 1, 3, 4, 5]
    assert len(apart(pool, images, Data(data="made", allow_leaks=True))[0]) == 12
