"""Predictions beside the truth, under many weightings of the rows, as metrics read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Predictions of some rows, the truth, and weightings of the rows.

    Attributes:
        kind: of the target.
        output: ``(M, K)`` probabilities or numbers.
        truth: ``(M,)`` classes; ``(M, K)`` labels 0 / 1 or numbers, NaN where unknown: such an
            entry counts nowhere.
        weights: ``(B, M)``.
        thresholds: ``(K,)`` from which a label is predicted; of several labels only.
    """

    kind: str
    output: NDArray[Any]
    truth: NDArray[Any]
    weights: Floats
    thresholds: Floats | None = None

    @cached_property
    def guess(self) -> NDArray[np.int64]:
        """``(M,)`` the likeliest class."""
        return np.asarray(self.output.argmax(1))

    @cached_property
    def right(self) -> Floats:
        """``(M,)`` whether the likeliest class is the true one."""
        return np.asarray(self.guess == self.truth, np.float64)

    def columns(self) -> Iterator[tuple[int, NDArray[Any], NDArray[Any], Floats]]:
        """For each label or number: its index, outputs, truth and weights where it is known.

        One that is known nowhere has one row of weight 0, so that its metric is undefined.
        """
        for label in range(self.output.shape[1]):
            known = ~np.isnan(self.truth[:, label])
            if not known.any():
                weights = np.zeros((len(self.weights), 1))
                yield label, self.output[:1, label], np.zeros(1, self.truth.dtype), weights
                continue
            part = self.weights if known.all() else self.weights[:, known]
            yield label, self.output[known, label], self.truth[known, label], part

    @cached_property
    def counts(self) -> tuple[Floats, Floats, Floats]:
        """``(B, K)`` each: true ones, predicted ones, and hits, of each class or label."""
        if self.kind == "class":
            seen = np.unique(np.concatenate([self.truth, self.guess]))
            is_true = (self.truth[:, None] == seen).astype(np.float64)
            is_guess = (self.guess[:, None] == seen).astype(np.float64)
            hits = self.weights @ (is_true * self.right[:, None])
            return self.weights @ is_true, self.weights @ is_guess, hits
        assert self.thresholds is not None
        each: list[list[Floats]] = [[], [], []]
        for label, output, truth, weights in self.columns():
            true, predicted = truth > 0.5, output >= self.thresholds[label]
            for sums, flags in zip(each, (true, predicted, true & predicted), strict=True):
                sums.append(weights @ flags.astype(np.float64))
        true_ones, predicted_ones, hits = (np.stack(sums, 1) for sums in each)
        return true_ones, predicted_ones, hits


def ratio(top: Floats, bottom: Floats) -> Floats:
    """``top / bottom``, NaN where the bottom is not positive."""
    fine = bottom > 0
    return np.where(fine, top / np.where(fine, bottom, 1.0), np.nan)


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """``(B,)`` means of ``(M,)`` values under weightings ``(B, M)``; 0 where all weights are 0."""
    total = weights.sum(1)
    return np.asarray(weights @ values / np.where(total > 0, total, 1.0))


def mean_of_known(values: Floats) -> Floats:
    """``(B, K)`` to ``(B,)``: the mean of the defined values; NaN where there is none."""
    fine = ~np.isnan(values)
    return ratio(np.where(fine, values, 0.0).sum(1), fine.sum(1).astype(np.float64))
