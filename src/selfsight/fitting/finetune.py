"""Fine-tuning of backbone and head on a labelled subset, and the same from fresh weights.

The protocol of the SimCLR and VICReg papers (a share of the labels, every weight trained) without
their look at test: the two learning rates and the number of steps are chosen on a validation part
cut from the labelled subset by group, with early stopping there; then the training is repeated on
the whole subset. Training from scratch is the same search from the weights of a seed.

The head starts from the linear probe of the starting weights, fitted to the same rows
(arXiv:2202.10054: a random head's first gradients damage a trained backbone).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selfsight.data.imageset import ImageSet
from selfsight.data.statistics import Statistics
from selfsight.fitting.folds import groups_of, held_out
from selfsight.fitting.labelled import FineTuning, Labelled
from selfsight.fitting.probes import PROBES, Subset, best_thresholds
from selfsight.fitting.representations import represent
from selfsight.fitting.weight_training import (
    Trained,
    in_training,
    layered_optimizer,
    number_scale,
    seconds_of_a_step,
    share_of_peak,
    standardised_targets,
    train_on,
)
from selfsight.networks.backbones import Backbone

__all__ = [
    "FineTuned",
    "FineTuning",
    "Labelled",
    "fine_tune",
    "first_head",
    "in_training",
    "layered_optimizer",
    "number_scale",
    "seconds_of_a_step",
    "share_of_peak",
    "standardised_targets",
]


@dataclass
class FineTuned:
    """A backbone and its head after their training.

    Attributes:
        backbone: in eval mode.
        head: ``F -> K``.
        kind: of the target.
        centre, scale: ``(K,)`` of standardised numbers; zeros and ones otherwise.
        thresholds: ``(K,)`` for several labels.
        choice: rates and steps, and whether they could be chosen.
    """

    backbone: Backbone
    head: nn.Linear
    kind: str
    centre: Tensor
    scale: Tensor
    thresholds: NDArray[np.float64] | None
    choice: dict[str, Any]

    def predict(self, images: ImageSet, rows: NDArray[np.int64], statistics: Statistics) -> Tensor:
        """``(len(rows), K)`` probabilities or numbers, on the CPU."""
        device = self.head.weight.device
        features = represent(self.backbone, images, rows, statistics, device=device)
        with torch.no_grad():
            raw = self.head(features.to(device))
        output: Tensor = raw * self.scale + self.centre
        if self.kind != "number":
            output = raw.softmax(1) if self.kind == "class" else torch.sigmoid(raw)
        return output.cpu()


def fine_tune(start: Backbone, labelled: Labelled, settings: FineTuning) -> FineTuned:
    """Chooses rates and steps inside the labelled subset, then trains on all of it.

    Args:
        start: weights to begin with; left as they are.
        labelled: what may be read.
        settings: the search.

    Returns:
        The trained pair. Below two labels a class (ten images for other targets) nothing can be
        chosen: the middle rates and the fewest steps are used, and ``choice`` says so.

    Raises:
        ValueError: there is one labelled image.
    """
    kind, rows = labelled.target.kind, labelled.rows
    if len(rows) < 2:
        raise ValueError(
            f"fine-tuning on {labelled.target.name!r}: there is one labelled image; it takes two."
        )
    groups = groups_of(labelled.images.groups, rows)
    values = labelled.target.values[rows]
    least = 2 * len(labelled.target.names) if kind == "class" else 10
    fold = held_out(values, groups, folds=5, seed=labelled.seed)
    features = represent(start, labelled.images, rows, labelled.statistics, device=labelled.device)
    chosen = len(rows) >= least and int(fold.max()) > 0
    rates, steps = settings.rates[len(settings.rates) // 2], settings.min_steps
    thresholds = np.full(len(labelled.target.names), 0.5) if kind == "labels" else None
    if chosen:
        inside, outside = np.flatnonzero(fold != 0), np.flatnonzero(fold == 0)
        head = first_head(features, labelled, inside, groups)
        tried = [
            train_on(start, head, labelled, settings, pair, inside, outside)
            for pair in settings.rates
        ]
        best = max(range(len(tried)), key=lambda i: tried[i].value)
        rates, steps = settings.rates[best], tried[best].steps
        if kind == "labels":
            found = _finished(start, tried[best], labelled, {})
            likely = found.predict(labelled.images, rows[outside], labelled.statistics)
            thresholds = best_thresholds(likely.numpy(), values[outside])
    everything = np.arange(len(rows))
    head = first_head(features, labelled, everything, groups)
    trained = train_on(
        start, head, labelled, settings, rates, everything, everything[:0], stop_at=steps
    )
    choice = {
        "chosen": chosen,
        "backbone_lr": rates[0],
        "head_lr": rates[1],
        "steps": steps,
    }
    found = _finished(start, trained, labelled, choice)
    found.thresholds = thresholds
    return found


def _finished(
    start: Backbone, trained: Trained, labelled: Labelled, choice: dict[str, Any]
) -> FineTuned:
    backbone = copy.deepcopy(start)
    backbone.load_state_dict(trained.backbone)
    centre, scale = number_scale(labelled)
    head = trained.head
    return FineTuned(
        backbone.eval(),
        head,
        labelled.target.kind,
        centre.to(head.weight.device),
        scale.to(head.weight.device),
        None,
        choice,
    )


def first_head(
    features: Tensor, labelled: Labelled, inside: NDArray[np.int64], groups: NDArray[np.int64]
) -> nn.Linear:
    """The linear probe of the starting weights as a layer on their representations."""
    target = labelled.target
    part = features[torch.from_numpy(inside)]
    mean = part.mean(0)
    scale = part.var(0, correction=0).mean().sqrt().clamp_min(1e-12)
    subset = Subset(
        kind=target.kind,
        features=part,
        mean=mean,
        scale=scale,
        values=target.values[labelled.rows[inside]],
        groups=np.unique(groups[inside], return_inverse=True)[1].astype(np.int64),
        outputs=len(target.names),
        seed=labelled.seed,
    )
    state = PROBES["linear"](subset).state
    weight, bias = state["weight"] / scale, state["bias"]
    bias = bias - weight @ mean
    if len(bias) < len(target.names):  # two classes are one sigmoid
        weight = torch.cat([torch.zeros_like(weight), weight])
        bias = torch.cat([torch.zeros_like(bias), bias])
    if target.kind == "number":
        centre, spread = number_scale(labelled)
        weight, bias = weight / spread[:, None], (bias - centre) / spread
    head = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return head.to(labelled.device)
