from __future__ import annotations

import numpy as np
import pytest
import torch

from selfsight.evaluation.retrieval import retrieval_scores


def test_scores_equal_the_definition_written_out() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(60, 5))
    labels = np.concatenate([random.integers(0, 12, 59), [99]])
    scores, queries = retrieval_scores(torch.from_numpy(features), labels)
    assert 59 not in queries
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    for position, query in enumerate(queries):
        order = [i for i in np.argsort(-unit @ unit[query]) if i != query]
        right = labels[order] == labels[query]
        companions = (labels == labels[query]).sum() - 1
        at = [right[: i + 1].mean() * right[i] for i in range(companions)]
        assert scores["recall_at_1"][position] == right[0]
        assert scores["map_at_r"][position] == pytest.approx(sum(at) / companions)


def test_identities_without_companions() -> None:
    scores, queries = retrieval_scores(torch.randn(4, 3), np.arange(4))
    assert len(queries) == 0
    assert len(scores["recall_at_1"]) == 0
