"""Search in memory: exact, in order, and with sentences for what cannot be searched."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from selfsight.neighbours.index import Index

sys.path.insert(0, str(Path(__file__).parent))
from vectors import clustered, every_cosine, names


def test_search_is_exact_and_ordered() -> None:
    vectors, queries = clustered(600), clustered(20, seed=1)
    cosines, places = Index.of(vectors, names(600)).nearest(queries, 5)
    every = every_cosine(queries, vectors)
    order = np.argsort(-every, 1)[:, :5]
    assert (places == order).all()
    np.testing.assert_allclose(cosines, np.take_along_axis(every, order, 1), atol=1e-5)


def test_far_is_the_other_end() -> None:
    vectors, queries = clustered(600), clustered(20, seed=1)
    cosines, places = Index.of(vectors, names(600)).nearest(queries, 600, far=True)
    every = every_cosine(queries, vectors)
    assert (places == np.argsort(every, 1, kind="stable")).mean() > 0.999
    assert bool((cosines.diff(dim=1) >= 0).all())


def test_the_own_place_is_left_out_wherever_it_is() -> None:
    vectors = clustered(50)
    vectors[7] = vectors[3]  # a copy, which must stay
    index = Index.of(vectors, names(50))
    own = np.array([3, 7, -1])
    cosines, places = index.nearest(vectors[[3, 7, 3]], 4, without=own)
    assert 3 not in places[0] and places[0, 0] == 7
    assert 7 not in places[1] and places[1, 0] == 3
    assert {3, 7} == set(places[2, :2].tolist())
    _, far = index.nearest(vectors[[3]], 49, far=True, without=own[:1])
    assert sorted(far[0].tolist()) == [i for i in range(50) if i != 3]
    assert cosines.shape == (3, 4)


def test_a_tensor_asks_with_representations() -> None:
    index = Index.of(clustered(50), names(50))
    one, two = index.search(clustered(50)[4], 3), index.search(clustered(50)[[4, 9]], 3)
    assert one.row_ids[0, 0] == "images/4.png"
    assert (two.row_ids[:1] == one.row_ids).all()
    assert two.queries == ("0", "1")


def test_row_ids_ask_for_others() -> None:
    index = Index.of(clustered(50), names(50))
    found = index.search(["images/4.png", "images/9.png"], 3)
    assert found.queries == ("images/4.png", "images/9.png")
    assert "images/4.png" not in found.row_ids[0]


@pytest.mark.parametrize(
    ("queries", "k", "sentence"),
    [
        (torch.zeros(2, 16), 21, "k: must be from 1 to 20"),
        (torch.zeros(2, 16), 0, "k: must be from 1 to 20"),
        (torch.zeros(2, 3), 1, r"must be \(M, 16\)"),
        (torch.full((3, 16), torch.nan), 1, "3 of 3 have values that are not finite"),
        (torch.tensor([[torch.inf] * 16, [0.0] * 16]), 1, "1 of 2 have values"),
    ],
)
def test_what_cannot_be_searched(queries: torch.Tensor, k: int, sentence: str) -> None:
    index = Index.of(clustered(20), names(20))
    with pytest.raises(ValueError, match=sentence):
        index.nearest(queries, k)


def test_what_cannot_be_indexed() -> None:
    with pytest.raises(ValueError, match="not finite"):
        Index.of(torch.full((2, 2), torch.nan), names(2))
    with pytest.raises(ValueError, match="one of the 3 row ids"):
        Index.of(clustered(20), names(3))
    with pytest.raises(ValueError, match="row ids are the same"):
        Index.of(clustered(2), np.array(["a", "a"]))


def test_unknown_words_are_named() -> None:
    index = Index.of(clustered(20), names(20))
    with pytest.raises(ValueError, match=r"'nowhere.png': it is no file"):
        index.search("nowhere.png")
    with pytest.raises(ValueError, match="which run it was made with"):
        index.search(np.zeros((8, 8), np.uint8))
