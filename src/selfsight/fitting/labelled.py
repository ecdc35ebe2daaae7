"""A labelled subset: the rows whose labels a fit may read, and the rules that every fit shares.

Probes, fine-tuning, tuning and heads take a `Subset`. The share of the labels, whether they are
enough to choose by, the folds, the weights of rare classes and the scale of numbers are decided
here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.data.imageset import ImageSet, Target, TargetKind, choose_target
from selfsight.data.splits import few_labels
from selfsight.draws import permutation
from selfsight.fitting.folds import groups_of, held_out
from selfsight.fitting.tasks import best_thresholds

Rows = NDArray[np.int64]
MANY = 2000
"""Labelled images above which one held-out fifth is enough to choose by."""


@dataclass(frozen=True)
class Subset:
    """Labelled rows of an image set.

    Attributes:
        images: the whole set.
        target: of the whole set.
        rows: ``(n,)`` rows that may be read, ascending; places below are indices into them.
        seed: of folds, order and everything random.
        balanced: whether rare classes and labels count more.
    """

    images: ImageSet
    target: Target
    rows: Rows
    seed: int = 0
    balanced: bool = False

    @classmethod
    def drawn(
        cls, images: ImageSet, target: Target, candidates: Rows, fraction: float, seed: int
    ) -> Subset:
        """A share of the known labels of some rows; see `selfsight.data.splits.few_labels`.

        Raises:
            ValueError: none of the candidates has a known value.
        """
        rows = few_labels(target, candidates, fraction, seed, images.groups)
        return cls(images, target, rows, seed)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def kind(self) -> TargetKind:
        return self.target.kind

    @property
    def outputs(self) -> int:
        """Classes, labels or numbers."""
        return len(self.target.names)

    @cached_property
    def values(self) -> NDArray[Any]:
        """Classes ``(n,)`` int64; labels or numbers ``(n, K)`` float32, NaN unknown."""
        return np.asarray(self.target.values[self.rows])

    @cached_property
    def groups(self) -> Rows:
        """``(n,)`` from 0; a fold never cuts a group."""
        return groups_of(self.images.groups, self.rows)

    def take(self, places: Rows) -> Subset:
        return replace(self, rows=self.rows[places])

    def truth(self, device: torch.device | str = "cpu") -> Tensor:
        """`values` as a tensor."""
        return torch.from_numpy(self.values).to(device)

    def check(self) -> None:
        """Refuses labels that nothing can be fitted to.

        Raises:
            ValueError: fewer than two labels, one class alone, a number that is unknown in all
                rows, or identities.
        """
        name = f"target {self.target.name!r}"
        if self.kind == "identity":
            raise ValueError(f"{name}: identities are retrieved, not predicted; use `embed`.")
        if len(self) < 2:
            raise ValueError(f"{name}: there is one labelled image; a fit needs two.")
        if self.kind == "class" and len(np.unique(self.values)) < 2:
            raise ValueError(f"{name}: the labelled images are all of one class.")
        if self.kind == "number" and np.isnan(self.values).all(0).any():
            number = self.target.names[int(np.isnan(self.values).all(0).argmax())]
            raise ValueError(f"{name}: {number} is unknown in all labelled images.")

    @property
    def least(self) -> int:
        """Labels from which on something can be chosen: two a class, ten for other targets."""
        return 2 * self.outputs if self.kind == "class" else 10

    @property
    def many(self) -> bool:
        """Whether one held-out fifth is enough to choose by."""
        return len(self) > MANY

    @property
    def enough(self) -> bool:
        """Whether there are labels enough, in two groups or more, to choose by."""
        return len(self) >= self.least and len(np.unique(self.groups)) >= 2

    def folds(self, count: int | None = None) -> Rows:
        """``(n,)`` which fold holds each row out, from 0; -1: none does.

        Args:
            count: how many folds at most; 1: a fifth of the rows is held out, once; None: 5 up to
                `MANY` rows, else 1.

        Returns:
            All -1 where nothing can be held out: too few labels, or a single group.
        """
        count = count or (1 if self.many else 5)
        nothing = np.full(len(self), -1, np.int64)
        if not self.enough:
            return nothing
        fold = held_out(self.values, self.groups, folds=5 if count == 1 else count, seed=self.seed)
        if not fold.any():
            return nothing
        return fold if count > 1 else np.where(fold == 0, 0, -1).astype(np.int64)

    def thresholds(
        self, output: NDArray[np.float32] | None, held: NDArray[np.bool_]
    ) -> NDArray[np.float64] | None:
        """``(K,)`` thresholds of several labels, chosen on rows held out; None for other targets.

        Args:
            output: ``(m, K)`` probabilities of the rows held out; None: there are none, and each
                threshold is 0.5.
            held: ``(n,)`` which rows these are.
        """
        if self.kind != "labels":
            return None
        if output is None:
            return np.full(self.outputs, 0.5)
        return best_thresholds(output, self.values[held])

    def class_weights(self) -> NDArray[np.float32]:
        """``(K,)`` weights of classes, or of the positives of labels, by inverse frequency.

        Images over (classes present x images of the class), scikit-learn's "balanced"; negatives
        over positives of a label, from 0.01 to 100.
        """
        if self.kind == "class":
            counts = np.bincount(self.values, minlength=self.outputs)
            weights = len(self) / (max((counts > 0).sum(), 1) * np.maximum(counts, 1))
        else:
            positive, negative = (self.values > 0.5).sum(0), (self.values < 0.5).sum(0)
            weights = np.clip(negative / np.maximum(positive, 1), 0.01, 100.0)
        return np.asarray(weights, np.float32)

    def weights(self, device: torch.device | str = "cpu") -> Tensor | None:
        """The weight of each row ``(n,)`` or entry ``(n, K)`` in a loss; None: all 1."""
        if not self.balanced or self.kind not in ("class", "labels"):
            return None
        weights = self.class_weights()
        if self.kind == "class":
            weights = weights[self.values]
        else:
            weights = np.where(self.values > 0.5, weights, np.float32(1.0))
        return torch.from_numpy(weights).to(device)

    def number_scale(self) -> tuple[Tensor, Tensor]:
        """``(K,)`` mean and standard deviation of the known numbers; 0 and 1 for other targets."""
        centre, spread = torch.zeros(self.outputs), torch.ones(self.outputs)
        for number in range(self.outputs if self.kind == "number" else 0):
            known = self.values[:, number]
            known = known[np.isfinite(known)].astype(np.float64)
            if len(known):
                centre[number], spread[number] = float(known.mean()), float(known.std()) or 1.0
        return centre, spread


def target_of(images: ImageSet, wanted: str | None, usual: str | None) -> Target:
    """The target to learn: the wanted one, else the usual one if it is there, else the only one.

    Raises:
        ValueError: there is no such target, there are several, or none.
    """
    if wanted is None and usual in images.targets:
        wanted = usual
    target = choose_target(images, wanted)
    if target is None:
        raise ValueError(
            f"{images.name} has no labels; join some with --labels TABLE, or name labelled data."
        )
    return target


def batches(places: Rows, size: int, seed: int) -> Iterator[Rows]:
    """Batches of places without end, in another order each pass; all of them if they are fewer."""
    if size >= len(places):
        while True:
            yield places
    for epoch in range(2**62):
        order = places[permutation(seed, epoch, len(places)).numpy()]
        for first in range(0, len(order) - size + 1, size):
            yield order[first : first + size]
