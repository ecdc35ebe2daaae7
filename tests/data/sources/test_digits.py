"""The digits that everyone has."""

from __future__ import annotations

import numpy as np

from selfsight.data.request import open_images


def test_digits() -> None:
    images = open_images("digits")
    assert images.pixels.shape == (1797, 8, 8, 1)
    assert images.pixels.dtype == np.uint8
    assert images.pixels.max() == 255
    assert not images.mirrored
    target = images.targets["digit"]
    assert target.kind == "class"
    assert target.names == tuple("0123456789")
    assert [len(images.rows(s)) for s in ("test", "validation", "train")] == [359, 144, 1294]
    other = open_images("digits", seed=7)
    assert (other.rows("test") == images.rows("test")).all()


def test_digits_from_python_go_through_again() -> None:
    images = open_images("digits")
    again = open_images(images, limit=100, image_size=12)
    assert again.pixels.shape[1:] == (12, 12, 1)
    assert len(again.pool) == 100
    assert (again.row_ids[again.rows("test")] == images.row_ids[images.rows("test")]).all()
