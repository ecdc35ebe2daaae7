"""From labelled images to a predictor: a head on frozen representations, or all weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import selfsight
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.statistics import Statistics
from selfsight.fitting.finetune import FineTuning, Labelled, fine_tune
from selfsight.fitting.head import Head, head_of_layer, head_of_probe
from selfsight.fitting.metrics import score
from selfsight.fitting.probes import PROBES, Subset
from selfsight.fitting.representations import Representations
from selfsight.models.predictor import Card, Predictor, hashed
from selfsight.networks.backbones import Backbone
from selfsight.runs.frame import Frame

HeadOnly = Literal["linear", "mlp"]


@dataclass(frozen=True)
class Task:
    """What is fitted.

    Attributes:
        images: all images.
        target: of all images.
        rows: ``(n,)`` labelled rows that may be read, ascending.
        statistics: of the channels, those of the backbone.
        device: where it runs.
        seed: of folds, order and views.
        about: ``run`` and ``data`` of the card.
    """

    images: ImageSet
    target: Target
    rows: NDArray[np.int64]
    statistics: Statistics
    device: torch.device
    seed: int
    about: dict[str, str] = field(default_factory=dict)


def check_target(target: Target, rows: NDArray[np.int64]) -> None:
    """Raises ``ValueError`` for labels that no predictor can be fitted to."""
    name = repr(target.name)
    if target.kind == "identity":
        raise ValueError(
            f"target {name}: identities are told apart by their representations; use `embed`."
        )
    known = target.values[rows]
    if len(rows) < 2:
        raise ValueError(f"target {name}: there is one labelled image; it takes two.")
    if target.kind == "class" and len(np.unique(known)) < 2:
        raise ValueError(f"target {name}: the labelled images are all of one class.")
    if target.kind == "number":
        for k, number in enumerate(target.names):
            if np.isnan(known[:, k]).all():
                raise ValueError(f"target {name}: {number} is unknown in all labelled images.")


def fit_head(
    task: Task, backbone: Backbone, representations: Representations, probe: HeadOnly
) -> Predictor:
    """The probe of `evaluate` on frozen representations, as a predictor.

    Args:
        task: what is fitted.
        backbone: what made the representations.
        representations: of the labelled rows at least.
        probe: ``linear`` (logistic regression; ridge for numbers) or ``mlp``.
    """
    target = task.target
    subset = Subset.of(representations, task.images, target, task.rows, task.seed)
    fitted = PROBES[probe](subset)
    head = head_of_probe(fitted, target.kind, len(target.names))
    return _predictor(task, backbone, head, fitted.thresholds, {"probe": probe, **fitted.choice})


def fit_all(task: Task, start: Backbone, settings: FineTuning) -> Predictor:
    """Backbone and head fine-tuned, as `evaluate --finetune` does it, as a predictor."""
    labelled = Labelled(
        task.images, task.target, task.rows, task.statistics, task.device, task.seed
    )
    found = fine_tune(start, labelled, settings)
    # In memory as a file gives it back, so that a model and its saved copy give the same bits.
    backbone = found.backbone.cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    backbone.bf16 = False
    head = head_of_layer(found.head.cpu(), task.target.kind, found.centre.cpu(), found.scale.cpu())
    return _predictor(task, backbone, head, found.thresholds, {"probe": "finetune", **found.choice})


def _predictor(
    task: Task,
    backbone: Backbone,
    head: Head,
    thresholds: NDArray[np.float64] | None,
    choice: dict[str, Any],
) -> Predictor:
    target = task.target
    card = Card.model_validate(
        {
            "target": target.name,
            "kind": target.kind,
            "names": target.names,
            "thresholds": None if thresholds is None else thresholds.tolist(),
            "hidden": head.hidden,
            "frame": Frame.of(task.images),
            "weights": hashed(backbone, head),
            "num_labels": len(task.rows),
            "choice": choice,
            "selfsight": selfsight.__version__,
            **task.about,
        }
    )
    return Predictor(backbone.eval(), head, task.statistics, card)


def scored(
    predictor: Predictor, images: ImageSet, target: Target, rows: Sequence[int], device: Any
) -> dict[str, float]:
    """Metrics over all labels of the rows whose target is known; none where there are too few."""
    known = np.asarray(rows, np.int64)
    known = known[target.known[known]]
    if not len(known):
        return {}
    output = predictor.output(images, known, device=device)
    thresholds = predictor.card.thresholds
    values = score(
        target,
        output,
        known,
        np.ones((1, len(known))),
        None if thresholds is None else np.array(thresholds),
    )
    return {
        metric: float(value[0])
        for (metric, label), value in values.items()
        if label is None and np.isfinite(value[0])
    }
