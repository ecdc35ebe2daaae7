"""What is measured for each kind of target: its probes, its metrics, the one shown first."""

from __future__ import annotations

from dataclasses import dataclass

from selfsight import vocabulary
from selfsight.data.imageset import TargetKind

_PROBES: dict[TargetKind, tuple[str, ...]] = {
    "class": ("knn", "linear", "mlp"),
    "labels": ("linear", "mlp"),
    "number": ("linear", "mlp"),
    "identity": (),
}


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
    kind: Task(kind, vocabulary.headline(kind), probes, tuple(vocabulary.metrics_of(kind)))
    for kind, probes in _PROBES.items()
}
