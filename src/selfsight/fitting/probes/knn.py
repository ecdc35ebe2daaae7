"""Weighted nearest neighbours by cosine (arXiv:1805.01978, section 3.4).

The number of neighbours is the one with the best accuracy when each labelled row is left out in
turn, together with its group.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from selfsight.fitting.head import Fitted
from selfsight.fitting.labelled import Subset
from selfsight.fitting.representations import Representations
from selfsight.measures import knn_predict, neighbours, vote

TITLE = "kNN"
PHRASE = "kNN"
ORDER = 20
KINDS = ("class",)

TEMPERATURE = 0.1
NEIGHBOURS = (1, 2, 5, 10, 20, 50, 100, 200)
_QUERIES = 5000  # a larger subset is asked at so many of its rows


def fit(subset: Subset, representations: Representations) -> Fitted:
    bank = representations.at(subset.rows)
    labels = subset.truth(bank.device)
    k, score, enough = 1, None, subset.enough
    if enough:
        groups = torch.from_numpy(subset.groups).to(bank.device)
        k, score = choose_neighbours(bank, labels, groups, subset.outputs, seed=subset.seed)
    predict = partial(
        knn_predict, bank, labels, num_classes=subset.outputs, k=k, temperature=TEMPERATURE
    )
    choice = {"chosen": enough, "k": k, "temperature": TEMPERATURE}
    return Fitted(predict, choice, held_out_score=score)


def choose_neighbours(
    bank: Tensor, labels: Tensor, groups: Tensor, classes: int, *, seed: int = 0
) -> tuple[int, tuple[float, float]]:
    """The number of neighbours with the best leave-one-group-out accuracy; the smallest of equals.

    Args:
        bank: ``(n, F)`` representations of the labelled subset.
        labels: ``(n,)`` int64.
        groups: ``(n,)`` int64.
        classes: how many there are.
        seed: of the draw of the rows that are asked, where there are more than 5,000.

    Returns:
        The number; its accuracy, and the mean share of the vote that the right class got.
    """
    largest = int(torch.bincount(groups).max())
    grid = tuple(k for k in NEIGHBOURS if k <= len(bank) - largest) or (1,)
    rows = torch.arange(len(bank))
    if len(bank) > _QUERIES:
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(bank), generator=generator)[:_QUERIES]
    rows = rows.to(bank.device)
    cosines, index = neighbours(
        bank[rows], bank, min(max(grid), len(bank)), query_groups=groups[rows], bank_groups=groups
    )
    near = labels[index]
    votes = [vote(cosines[:, :k], near[:, :k], classes, TEMPERATURE) for k in grid]
    right = [int((each.argmax(1) == labels[rows]).sum()) for each in votes]
    best = right.index(max(right))
    of_truth = votes[best].gather(1, labels[rows][:, None])
    return grid[best], (right[best] / len(rows), float(of_truth.mean()))
