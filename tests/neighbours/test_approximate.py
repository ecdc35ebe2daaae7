"""Inverted lists of faiss: the recall that is stored is the recall that a user gets."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from selfsight.neighbours.approximate import build_lists, has_faiss
from selfsight.neighbours.build import IndexImages, index
from selfsight.neighbours.exact import ExactVectors
from selfsight.neighbours.folder import open_vectors
from selfsight.neighbours.index import Index

sys.path.insert(0, str(Path(__file__).parent))
from vectors import clustered, names

needs_faiss = pytest.mark.skipif(not has_faiss(), reason="faiss is not installed")


@needs_faiss
@pytest.mark.parametrize("kind", ["ivf_flat", "ivf_sq8"])
def test_the_measured_recall_is_that_of_a_search(kind: str, tmp_path: Path) -> None:
    vectors = clustered(4000, 24)
    exact = Index.of(vectors, names(4000))
    assert isinstance(exact.vectors, ExactVectors)
    card = build_lists(tmp_path, exact.vectors, exact.card, kind, 0.9, seed=0)
    assert card.recall is not None and card.recall.value >= 0.9
    assert 1 <= card.visited < card.lists
    lists = Index(open_vectors(tmp_path, card), exact.rows, card)
    own = np.arange(0, 4000, 9)
    truth = exact.nearest(vectors[own], 10, without=own)[1]
    found, places = lists.nearest(vectors[own], 10, without=own)
    hits = [len(set(a) & set(b)) / 10 for a, b in zip(places.tolist(), truth.tolist(), strict=True)]
    assert abs(np.mean(hits) - card.recall.value) < 0.05
    assert bool((found[:, :-1] >= found[:, 1:]).all())
    close = 1e-5 if kind == "ivf_flat" else 0.02
    unit = torch.nn.functional.normalize(vectors, dim=1)
    assert float((lists.vectors.at(own) - unit[own]).abs().max()) < close
    far = lists.nearest(vectors[own[:5]], 10, far=True)[0]
    assert float((far - exact.nearest(vectors[own[:5]], 10, far=True)[0]).abs().max()) < close


@needs_faiss
def test_a_folder_of_lists(digits_run: Path, tmp_path: Path) -> None:
    found = index(
        IndexImages(run=str(digits_run), out=str(tmp_path / "lists"), kind="ivf_flat", device="cpu")
    )
    folder = tmp_path / "lists"
    assert sorted(p.name for p in folder.iterdir()) == [
        "index.faiss",
        "index.json",
        "pictures.parquet",
        "rows.parquet",
    ]
    assert "lists" in str(found) and "recall@10" in str(found)
    result = found.search(found.row_ids[:4].tolist(), 5)
    assert (result.cosines > 0).all()
    content = bytearray((folder / "index.faiss").read_bytes())
    content[100] ^= 1
    (folder / "index.faiss").write_bytes(content)
    with pytest.raises(ValueError, match=r"its index\.faiss is damaged"):
        Index.load(folder)


@needs_faiss
def test_few_lists_leave_places_empty() -> None:
    import faiss

    from selfsight.neighbours.approximate import InvertedLists

    vectors = torch.nn.functional.normalize(clustered(400), dim=1)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(16), 16, 40, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    index.train(vectors.numpy())
    index.add(vectors.numpy())
    cosines, places = InvertedLists(index, 1).search(vectors[:5].numpy(), 100)
    assert (places == -1).any()
    assert np.isinf(cosines[places == -1]).all()


@pytest.mark.skipif(has_faiss(), reason="faiss is installed")
def test_without_faiss_a_sentence(digits_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pip install 'selfsight"):
        index(IndexImages(run=str(digits_run), out=str(tmp_path / "x"), kind="ivf_sq8"))
    assert not list(tmp_path.iterdir())
