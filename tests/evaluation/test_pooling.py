"""Tiles to images: means, maxima, and nothing where there are no tiles."""

from __future__ import annotations

import numpy as np
import torch

from selfsight.data.imageset import ImageSet
from selfsight.evaluation.pooling import Pooling, by_image
from selfsight.fitting.representations import Representations


def image_set(names: list[str] | None) -> ImageSet:
    count = 7
    return ImageSet(
        "made",
        np.zeros((count, 4, 4, 1), np.uint8),
        np.array([f"tile {i}" for i in range(count)]),
        np.full(count, "train"),
        tile_of=None if names is None else np.array(names),
    )


TILES = ["b", "b", "b", "a", "a", "c", "c"]


def test_heads_and_their_tiles() -> None:
    pooling = Pooling.of(image_set(TILES))
    rows = np.array([1, 2, 3, 4, 6])
    assert pooling.heads(rows).tolist() == [1, 3, 6]
    assert pooling.all_of(np.array([3]), rows).tolist() == [3, 4]
    assert by_image(image_set(TILES)).row_ids.tolist() == TILES


def test_means_and_maxima_are_in_the_order_of_the_heads() -> None:
    pooling = Pooling.of(image_set(TILES))
    rows = np.array([0, 2, 3, 4, 5])
    output = np.array([[0.2, 0.8], [0.4, 0.6], [1, 0], [0, 1], [0.3, 0.7]], np.float32)
    assert np.allclose(pooling.pooled(rows, output, "class"), [[0.3, 0.7], [0.5, 0.5], [0.3, 0.7]])
    assert np.allclose(pooling.pooled(rows, output, "labels"), [[0.4, 0.8], [1, 1], [0.3, 0.7]])
    values = torch.arange(14.0).view(7, 2)
    every = np.arange(7)
    found = pooling.represented(Representations.of(values, every, every))
    assert found.rows.tolist() == [0, 3, 5]
    assert found.at(np.array([3])).tolist() == [[7.0, 8.0]]


def test_whole_images_stay() -> None:
    pooling = Pooling.of(image_set(None))
    rows, output = np.array([2, 5]), np.ones((2, 3), np.float32)
    assert pooling.heads(rows).tolist() == [2, 5]
    assert pooling.pooled(rows, output, "class") is output
    assert pooling.all_of(np.array([5]), rows).tolist() == [5]
