from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from selfsight.neighbours.index import Index


def _vectors(n: int = 600, width: int = 16, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(30, width)) * 2
    made = centres[random.integers(0, 30, n)] + random.normal(size=(n, width))
    return torch.from_numpy(made.astype(np.float32))


def _names(n: int) -> np.ndarray:
    return np.array([f"images/{i}.png" for i in range(n)])


def test_search_is_exact_and_ordered() -> None:
    vectors, queries = _vectors(), _vectors(20, seed=1)
    cosines, names = Index.build(vectors, _names(600)).search(queries, 5)
    every = torch.nn.functional.cosine_similarity(queries[:, None], vectors[None], dim=2).numpy()
    order = np.argsort(-every, 1)[:, :5]
    assert (names == _names(600)[order]).all()
    np.testing.assert_allclose(cosines, np.take_along_axis(every, order, 1), atol=1e-5)


def test_a_file_gives_the_same_answers(tmp_path: Path) -> None:
    index = Index.build(_vectors(), _names(600), weights="abc")
    index.save(tmp_path / "index.safetensors")
    again = Index.load(tmp_path / "index.safetensors")
    queries = _vectors(9, seed=2)
    assert (again.search(queries, 4)[1] == index.search(queries, 4)[1]).all()
    assert again.weights == "abc"


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    index = Index.build(_vectors(20), _names(20))
    with pytest.raises(ValueError, match="k: must be from 1 to 20"):
        index.search(_vectors(2), 21)
    with pytest.raises(ValueError, match=r"must be \(M, 16\)"):
        index.search(torch.zeros(2, 3), 1)
    with pytest.raises(ValueError, match="not finite"):
        Index.build(torch.full((2, 2), torch.nan), _names(2))
    with pytest.raises(ValueError, match="one of the 3 row ids"):
        Index.build(_vectors(20), _names(3))
    (tmp_path / "x").write_text("no")
    with pytest.raises(ValueError, match="not an index"):
        Index.load(tmp_path / "x")
    with pytest.raises(ValueError, match="no such file"):
        Index.load(tmp_path / "y")
