"""Rows of a memory map stay on disk and read like an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfsight.data.imageset import ImageSet
from selfsight.data.pixels.memmap import AT_ONCE, Picked, picked, read_ahead, rows_at_once


@pytest.fixture
def mapped(tmp_path: Path) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 5, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    return np.load(tmp_path / "a.npy", mmap_mode="r")


def test_picked_rows_read_like_an_array(mapped: np.ndarray) -> None:
    rows = np.array([7, 3, 3, 19])
    found = picked(mapped, rows)
    assert isinstance(found, Picked)
    assert found.shape == (4, 4, 5, 3)
    assert found.nbytes == mapped[rows].nbytes
    for key in (0, slice(1, 3), [3, 0], np.array([2, 2]), (slice(None), 1, 2)):
        assert (found[key] == mapped[rows][key]).all()
    assert (np.take(found, np.array([1, 0]), axis=0) == mapped[[3, 7]]).all()
    assert (np.asarray(found.subset(found.rows > 5)) == mapped[[7, 19]]).all()
    assert isinstance(picked(np.asarray(mapped).copy(), rows), np.ndarray)


def test_a_set_taken_from_a_memory_map_keeps_its_pixels_there(mapped: np.ndarray) -> None:
    ids = np.array([f"made#{i}" for i in range(20)])
    images = ImageSet("made", mapped, ids, np.full(20, "train"))
    rows = np.array([5, 2, 11])
    part = images.take(rows)
    within = ImageSet("made", np.array(mapped), ids, np.full(20, "train")).take(rows)
    assert isinstance(part.pixels, Picked)
    assert part.fingerprint() == within.fingerprint()
    assert part.take(np.array([2])).fingerprint() == within.take(np.array([2])).fingerprint()


def test_rows_at_once_are_bounded() -> None:
    large = np.empty((1, 3000, 3000, 13), np.uint16)
    assert rows_at_once(large) == 1
    assert rows_at_once(np.empty((1, 256, 256, 3), np.uint8)) == AT_ONCE // (3 << 16)


def test_reading_ahead_changes_nothing(mapped: np.ndarray) -> None:
    before = np.array(mapped)
    for pixels in (mapped, mapped[:7], picked(mapped, np.array([9, 4, 6])), before):
        read_ahead(pixels, np.array([0, 2, 1]))
    read_ahead(mapped, np.array([19]))
    assert (mapped == before).all()
