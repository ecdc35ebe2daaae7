from __future__ import annotations

import numpy as np
import pytest

from selfsight.fitting.chance import retrieval_by_chance


def test_retrieval_by_chance_against_shuffled_orders() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3])
    expected = retrieval_by_chance(labels)
    rng = np.random.default_rng(0)
    queries = [i for i in range(10) if (labels == labels[i]).sum() > 1]
    firsts, maps = np.zeros(len(queries)), np.zeros(len(queries))
    for _ in range(20_000):
        for place, query in enumerate(queries):
            others = rng.permutation(np.delete(labels, query))
            relevant = int((others == labels[query]).sum())
            hits = others[:relevant] == labels[query]
            firsts[place] += hits[0]
            precision = np.cumsum(hits) / np.arange(1, relevant + 1)
            maps[place] += (hits * precision).sum() / relevant
    assert expected["recall_at_1"] == pytest.approx(firsts / 20_000, abs=0.015)
    assert expected["map_at_r"] == pytest.approx(maps / 20_000, abs=0.015)
