"""Identical images are found, and splits of our own making do not part them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from selfsight.data.duplicates import copies_together, look
from selfsight.data.imageset import ImageSet


def image_set(pixels: np.ndarray, splits: list[str], groups: np.ndarray | None = None) -> ImageSet:
    ids = np.array([f"made#{i}" for i in range(len(pixels))])
    return ImageSet("made", pixels, ids, np.array(splits), groups=groups)


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


def test_look() -> None:
    pixels = noise(6)
    pixels[4] = pixels[1]
    pixels[0] = 9
    pixels[5] = 9
    looked = look(image_set(pixels, ["train"] * 6))
    assert looked.blank.tolist() == [True, False, False, False, False, True]
    assert looked.codes[4] == looked.codes[1]
    assert len(np.unique(looked.codes)) == 5
    assert looked.values == (float(pixels.min()), float(pixels.max()))


def test_values_that_are_not_numbers_do_not_reach_the_range() -> None:
    pixels = np.arange(4 * 64, dtype=np.float32).reshape(4, 8, 8, 1)
    pixels[1, 2, 3] = np.nan
    pixels[2] = np.nan
    assert look(image_set(pixels, ["train"] * 4)).values == (0.0, 255.0)


def test_copies_go_back_to_train_with_their_group() -> None:
    pixels = noise(8)
    pixels[2] = pixels[0]  # train and test
    pixels[7] = pixels[3]  # a group mate of 2 has a copy in validation
    groups = np.array([0, 1, 2, 2, 3, 4, 5, 6])
    splits = ["train", "train", "test", "test", "test", "validation", "train", "validation"]
    images = image_set(pixels, splits, groups)
    repaired = copies_together(images, np.full(8, "train"))
    assert repaired.splits.tolist() == [
        "train", "train", "train", "train", "test", "validation", "train", "train",
    ]  # fmt: skip
    assert "3 images that were cut from train went back" in repaired.notes[0]


def test_given_splits_and_blanks_stay() -> None:
    pixels = noise(4)
    pixels[2] = pixels[0]
    images = image_set(pixels, ["train", "train", "test", "test"])
    assert copies_together(images, images.splits) is images
    pixels[:] = 0
    blank = image_set(pixels, ["train", "train", "test", "validation"])
    assert copies_together(blank, np.full(4, "train")).splits.tolist() == blank.splits.tolist()


def test_unlabelled_rows_go_back_to_the_pool() -> None:
    pixels = noise(3)
    pixels[2] = pixels[0]
    images = image_set(pixels, ["unlabelled", "unlabelled", "validation"])
    assert copies_together(images, np.full(3, "train")).splits.tolist() == ["unlabelled"] * 3
    given = replace(images, splits=np.array(["train", "train", "validation"]))
    assert copies_together(given, given.splits) is given
