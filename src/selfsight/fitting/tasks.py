"""What each kind of target asks of a fit: its loss, its output, its thresholds."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def activated(raw: Tensor, kind: str) -> Tensor:
    """Logits ``(..., K)`` to probabilities: of a class, or of each label; numbers as they are."""
    if kind == "class":
        return raw.softmax(-1)
    return raw.sigmoid() if kind == "labels" else raw


def fit_loss(
    raw: Tensor,
    truth: Tensor,
    kind: str,
    weights: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """The loss of J networks side by side: the sum over them of the mean over known entries; 0-d.

    Cross entropy of a class (`torch.nn.functional.cross_entropy` with these arguments), binary
    cross entropy of each label, squared error of each number.

    Args:
        raw: ``(J, B, K)`` logits, or standardised numbers.
        truth: ``(J, B)`` classes; ``(J, B, K)`` labels 0 / 1 or numbers, NaN unknown.
        kind: of the target.
        weights: ``(J, K)`` of the classes, or of the positives of each label; None: 1.
        smoothing: share of the target that is spread over all classes; labels move towards a half.
    """
    if kind == "class":
        likely = raw.log_softmax(2)
        each = (1 - smoothing) * likely.gather(2, truth[..., None])[..., 0]
        if weights is None:
            return -(each + smoothing * likely.mean(2)).mean(1).sum()
        own = weights.gather(1, truth)
        each = own * each + smoothing * (likely * weights[:, None]).mean(2)
        return -(each.sum(1) / own.sum(1)).sum()
    known = torch.isfinite(truth)
    filled = torch.where(known, truth, 0.0)
    if kind == "labels":
        positive = None if weights is None else weights[:, None].expand_as(raw)
        each = F.binary_cross_entropy_with_logits(
            raw, filled * (1 - smoothing) + smoothing / 2, pos_weight=positive, reduction="none"
        )
    else:
        each = (raw - filled).square()
    return ((each * known).sum((1, 2)) / known.sum((1, 2)).clamp_min(1)).sum()


def best_thresholds(
    probabilities: NDArray[np.float32], values: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The threshold of each label with the best F1; 0.5 where a label has no positive.

    Args:
        probabilities: ``(n, K)``, of rows that were held out.
        values: ``(n, K)`` 0 / 1, NaN unknown.
    """
    thresholds = np.full(values.shape[1], 0.5)
    for label in range(values.shape[1]):
        known = ~np.isnan(values[:, label])
        score, true = probabilities[known, label], values[known, label] > 0.5
        if not true.any():
            continue
        order = np.argsort(-score, kind="stable")
        score, hits = score[order], np.cumsum(true[order])
        f1 = 2 * hits / (np.arange(1, len(hits) + 1) + true.sum())
        ends = np.append(score[1:] != score[:-1], True)  # a threshold cannot part equal scores
        best = int(np.argmax(np.where(ends, f1, -1.0)))
        below = score[best + 1] if best + 1 < len(score) else 0.0
        thresholds[label] = (float(score[best]) + float(below)) / 2
    return thresholds
