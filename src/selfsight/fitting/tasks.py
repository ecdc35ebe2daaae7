"""What is measured for each kind of target: its probes, its metrics, the one shown first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import Target, TargetKind
from selfsight.fitting.metrics import (
    LOWER_IS_BETTER,
    Floats,
    Values,
    class_metrics,
    labels_metrics,
    number_metrics,
)


@dataclass(frozen=True)
class Task:
    """A kind of target as evaluation sees it.

    Attributes:
        kind: of the target.
        headline: the metric that tables show.
        probes: those that can be fitted to it.
        metrics: names of all of its metrics.
    """

    kind: TargetKind
    headline: str
    probes: tuple[str, ...]
    metrics: tuple[str, ...]


TASKS: dict[str, Task] = {
    "class": Task(
        "class",
        "accuracy",
        ("knn", "linear", "mlp"),
        ("accuracy", "balanced_accuracy", "macro_f1", "calibration_error"),
    ),
    "labels": Task("labels", "mAP", ("linear", "mlp"), ("mAP", "micro_f1", "macro_f1", "hamming")),
    "number": Task("number", "r2", ("linear", "mlp"), ("r2", "mae", "rmse")),
    "identity": Task("identity", "recall_at_1", (), ("recall_at_1", "map_at_r")),
}
SHARES = frozenset(
    {
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "micro_f1",
        "f1",
        "calibration_error",
        "mAP",
        "average_precision",
        "hamming",
        "recall_at_1",
        "map_at_r",
        "nmi",
        "purity",
        "cluster_accuracy",
    }
)
"""Metrics between 0 and 1 that people read in percent."""


def higher_is_better(metric: str) -> bool:
    return metric not in LOWER_IS_BETTER


def score(
    target: Target,
    output: NDArray[np.float32],
    rows: NDArray[np.int64],
    weights: Floats,
    thresholds: Floats | None,
) -> Values:
    """Every metric of the target's kind on some rows.

    Args:
        target: of the whole image set.
        output: ``(M, K)`` of a probe on `rows`.
        rows: ``(M,)``.
        weights: ``(B, M)``, one weighting a row.
        thresholds: ``(K,)`` for several labels.
    """
    truth = target.values[rows]
    if target.kind == "class":
        return class_metrics(output, truth, weights)
    if target.kind == "labels":
        assert thresholds is not None
        return labels_metrics(output, truth, weights, thresholds=thresholds, names=target.names)
    return number_metrics(output, truth, weights, names=target.names)
