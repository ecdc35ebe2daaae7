"""Choosing rows to label: pure functions on representations, under constraints.

All of them work on unit vectors (see `unit_vectors`) and pick through a `Picker`, which keeps two
near-duplicates, and more than so many of a group, from being picked.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from selfsight.console import counted

NEIGHBOURS = 20
"""Neighbours of typicality, as in TypiClust's paper."""
MOST_CLUSTERS = 500
"""More clusters than this are not told apart well (TypiClust, appendix)."""
SMALL_CLUSTER = 5
"""Clusters with fewer rows are left for last: they are often outliers."""
CLUSTERED = 128
"""Principal components that are clustered where there are more features."""
SHORTLIST = 10
"""Uncertain rows, times what is wanted, among which coverage decides."""
CANDIDATES, REFERENCES = 2000, 10_000
"""Rows among which `representative` chooses, and rows that they stand for: a draw of each."""


def unit_vectors(representations: Tensor) -> Tensor:
    """``(N, F)`` float32 rows of length 1 after the mean is taken out.

    Representations after a ReLU all point the same way; around their mean cosines tell them apart.
    """
    x = representations.float()
    return F.normalize(x - x.mean(0), dim=1)


class Picker:
    """What has been picked, and what may still be.

    Args:
        unit: ``(N, F)`` unit vectors.
        labelled: ``(N,)`` bool, rows that have a label; never picked.
        groups: ``(N,)`` int64 from 0; a row in no group has one of its own.
        near: cosine above which two rows are near-duplicates.
        per_group: rows of one group at most; None: no limit.
    """

    def __init__(
        self,
        unit: Tensor,
        labelled: NDArray[np.bool_],
        groups: NDArray[np.int64],
        *,
        near: float = 0.95,
        per_group: int | None = None,
    ) -> None:
        self.unit, self.near, self.per_group = unit, near, per_group
        self.labelled = torch.from_numpy(labelled)
        self.groups = torch.from_numpy(groups)
        self.taken = torch.zeros(int(self.groups.max()) + 1, dtype=torch.int64)
        self.closest = torch.full((len(unit),), -1.0)
        self.allowed = ~self.labelled
        self.chosen: list[int] = []
        known = unit[self.labelled]
        for block in torch.split(known, 1024) if len(known) else ():
            self.closest = torch.maximum(self.closest, (unit @ block.T).amax(1))
        self.allowed &= self.closest <= near

    def pick(self, row: int) -> None:
        """Picks an allowed row; what is near it, or of a full group, is allowed no more."""
        assert self.allowed[row]
        self.chosen.append(row)
        self.closest = torch.maximum(self.closest, self.unit @ self.unit[row])
        self.allowed &= self.closest <= self.near
        self.allowed[row] = False
        group = self.groups[row]
        self.taken[group] += 1
        if self.per_group is not None and self.taken[group] >= self.per_group:
            self.allowed &= self.groups != group

    def left(self) -> bool:
        return bool(self.allowed.any())


def typical(picker: Picker, count: int, *, seed: int) -> list[str]:
    """TypiClust (arXiv:2202.02794, algorithm 1): the most typical row of each uncovered cluster.

    As many clusters as there are labels and wishes together (500 at most); those with the fewest
    labelled rows come first, large before small; of each the row of highest typicality, ``1 / mean
    distance to its 20 nearest neighbours in the cluster`` (eq. 4).

    Args:
        picker: picks.
        count: rows wanted.
        seed: of k-means.

    Returns:
        A reason for each row that was picked.
    """
    unit = picker.unit
    clusters = min(int(picker.labelled.sum()) + count, MOST_CLUSTERS, len(unit))
    cluster = torch.from_numpy(kmeans(unit, clusters, seed))
    sizes = torch.bincount(cluster, minlength=clusters)
    covered = torch.bincount(cluster[picker.labelled], minlength=clusters)
    ranked: dict[int, list[int]] = {}
    reasons: list[str] = []
    while len(reasons) < count and picker.left():
        open_now = torch.bincount(cluster[picker.allowed], minlength=clusters) > 0
        worth = open_now & (sizes >= SMALL_CLUSTER)
        here = (worth if bool(worth.any()) else open_now).nonzero().flatten().tolist()
        best = min(here, key=lambda c: (int(covered[c]), -int(sizes[c])))
        if best not in ranked:
            rows = (cluster == best).nonzero().flatten()
            ranked[best] = rows[typicality(unit[rows]).argsort(descending=True)].tolist()
        picker.pick(next(row for row in ranked[best] if picker.allowed[row]))
        covered[best] += 1
        reasons.append(f"most typical of a cluster of {counted(int(sizes[best]), 'image')}")
    return reasons


def typicality(unit: Tensor, neighbours: int = NEIGHBOURS) -> Tensor:
    """``1 / mean distance`` to the nearest neighbours among ``(M, F)`` unit vectors: ``(M,)``."""
    k = min(neighbours, len(unit) - 1)
    if k < 1:
        return torch.zeros(len(unit))
    means = []
    for first in range(0, len(unit), 1024):
        block = unit[first : first + 1024]
        cosines = block @ unit.T
        own = torch.arange(first, first + len(block))
        cosines[torch.arange(len(block)), own] = -1.0
        nearest = cosines.topk(k, 1, sorted=False).values
        means.append((2.0 - 2.0 * nearest).clamp_min(0.0).sqrt().mean(1))
    return 1.0 / torch.cat(means).clamp_min(1e-6)


def kmeans(unit: Tensor, clusters: int, seed: int) -> NDArray[np.int64]:
    """Clusters ``(N,)``: k-means up to 50 of them, in mini-batches above, as in TypiClust."""
    from sklearn.cluster import KMeans, MiniBatchKMeans

    x = unit
    if unit.shape[1] > CLUSTERED:
        x = unit @ torch.linalg.eigh(unit.T @ unit).eigenvectors[:, -CLUSTERED:]
    if clusters <= 50:
        model = KMeans(clusters, n_init=1, max_iter=50, random_state=seed)
    else:
        model = MiniBatchKMeans(clusters, n_init=1, batch_size=4096, random_state=seed)
    with warnings.catch_warnings():
        # Equal images make fewer clusters than were asked for, which does no harm.
        warnings.filterwarnings("ignore", ".*distinct clusters.*")
        found: NDArray[np.int64] = model.fit_predict(x.numpy()).astype(np.int64)
    return found


def representative(picker: Picker, count: int, *, seed: int) -> list[str]:
    """Greedy facility location (Wei, Iyer and Bilmes, ICML 2015, eq. 1): rows that stand for all.

    Maximises ``sum_i max_{j in S} cos(i, j)`` over the picked and labelled rows S. A row's gain
    only falls while S grows, so that most need no second look (Minoux, 1978).

    Args:
        picker: picks.
        count: rows wanted.
        seed: of the draws of candidates and references from large sets.

    Returns:
        A reason for each row that was picked.
    """
    unit = picker.unit
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(unit)))
    references = order[:REFERENCES]
    best = picker.closest[references]
    reasons: list[str] = []
    while len(reasons) < count and picker.left():
        candidates = order[picker.allowed[order]][: max(CANDIDATES, SHORTLIST * count)]
        cosines = unit[candidates] @ unit[references].T
        gains = (cosines - best).clamp_min_(0.0).sum(1)
        while len(reasons) < count and bool((here := picker.allowed[candidates]).any()):
            gains.masked_fill_(~here, -1.0)
            looked_at = torch.zeros_like(here)
            while not looked_at[top := int(gains.argmax())]:
                gains[top] = (cosines[top] - best).clamp_min(0.0).sum()
                looked_at[top] = True
            nearest = int((cosines[top] > best).sum()) / len(references)
            picker.pick(int(candidates[top]))
            best = picker.closest[references]
            reasons.append(f"stands for {nearest:.1%} of the images")
    return reasons


def k_centre(picker: Picker, count: int) -> list[str]:
    """Greedy k-centre (arXiv:1708.00489, algorithm 1): always the row farthest from all picked.

    Without any label it begins with the row nearest to the mean direction.
    """
    reasons: list[str] = []
    if not bool(picker.labelled.any()) and not picker.chosen and picker.left():
        middle = picker.unit @ picker.unit.mean(0)
        picker.pick(int(middle.masked_fill(~picker.allowed, -torch.inf).argmax()))
        reasons.append("nearest to the mean")
    while len(reasons) < count and picker.left():
        row = int(picker.closest.masked_fill(~picker.allowed, torch.inf).argmin())
        reasons.append(f"farthest from all others (cosine {float(picker.closest[row]):.2f})")
        picker.pick(row)
    return reasons


def uncertain(picker: Picker, count: int, uncertainty: Tensor) -> list[str]:
    """Of the most uncertain rows, ten times as many as wanted, those that cover them best.

    Args:
        picker: picks.
        count: rows wanted.
        uncertainty: ``(N,)`` in [0, 1], see `margin`.
    """
    reasons: list[str] = []
    order = uncertainty.masked_fill(~picker.allowed, -1.0).argsort(descending=True)
    listed = torch.zeros_like(picker.allowed)
    listed[order[: SHORTLIST * count]] = True
    while len(reasons) < count and picker.left():
        here = picker.allowed & listed
        if not bool(here.any()):
            here = picker.allowed
        row = int(picker.closest.masked_fill(~here, torch.inf).argmin())
        reasons.append(f"uncertain ({float(uncertainty[row]):.2f})")
        picker.pick(row)
    return reasons


def at_random(picker: Picker, count: int, *, seed: int) -> list[str]:
    """A draw without preference, under the same constraints."""
    chosen = 0
    for row in np.random.default_rng(seed).permutation(len(picker.unit)).tolist():
        if chosen == count:
            break
        if picker.allowed[row]:
            picker.pick(row)
            chosen += 1
    return ["drawn at random"] * chosen


def margin(probabilities: Tensor, *, several: bool) -> Tensor:
    """Uncertainty ``(N,)`` in [0, 1] of ``(N, K)`` probabilities.

    Of classes: 1 less the distance between the two most probable. Of several labels: the mean
    over labels of ``1 - |2 p - 1|``.
    """
    if several:
        return (1.0 - (2.0 * probabilities - 1.0).abs()).mean(1)
    top = probabilities.topk(2, 1).values
    return 1.0 - (top[:, 0] - top[:, 1])
