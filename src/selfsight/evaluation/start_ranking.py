"""Weights compared before any training: how well a probe on each predicts held-out train labels.

Labels are those of the train split, and each is predicted by a probe that was fitted without it:
test and validation are read by nothing here. Without labels the effective rank remains.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from selfsight.data.imageset import ImageSet
from selfsight.data.splits import at_most
from selfsight.data.statistics import Statistics
from selfsight.evaluation.intervals import Interval
from selfsight.evaluation.pooling import Pooling
from selfsight.evaluation.resampling import Resampling
from selfsight.evaluation.retrieval import retrieval_scores
from selfsight.evaluation.subject import mean_of_stages
from selfsight.evaluation.summary import difference_interval, score_interval
from selfsight.fitting.folds import groups_of
from selfsight.fitting.labelled import Rows, Subset
from selfsight.fitting.probes import PROBES
from selfsight.fitting.representation_choice import best_representation
from selfsight.fitting.representations import Representations, represent
from selfsight.fitting.scored import Floats, weighted_mean
from selfsight.fitting.scores import score
from selfsight.measures import effective_rank
from selfsight.networks.backbones import Backbone, measuring
from selfsight.networks.pooling import StagePooling
from selfsight.views.apply import whole_frame
from selfsight.vocabulary import headline, higher_is_better

PROBE = "linear"
_LEAST = 20  # labelled images from which on a comparison says anything


@dataclass(frozen=True)
class Represented:
    """A start's representations of the images that are compared on.

    Attributes:
        stages: weighted stages, standardised on these very images.
        mean: the standardised output of the network.
        images_per_second: resize and forward pass, on the device that was used.
    """

    stages: Representations
    mean: Representations
    images_per_second: float

    @property
    def rankme(self) -> float:
        """Effective rank of the standardised output (arXiv:2210.02885)."""
        return float(effective_rank(self.mean.values))


@dataclass(frozen=True)
class HeldOut:
    """How well labels were predicted that no fit had read.

    Attributes:
        metric: the headline metric of the target, or ``recall_at_1`` of identities.
        values: ``(1 + B,)`` on all images, and on each resampling of them.
        representation: which one the folds chose, in words; empty where there was no choice.
    """

    metric: str
    values: Floats
    representation: str = ""


def represent_start(
    backbone: Backbone,
    images: ImageSet,
    rows: Rows,
    statistics: Statistics,
    *,
    size: tuple[int, int] | None,
    device: torch.device,
) -> Represented:
    """Both representations of a start from one pass over the images; no label is read.

    Args:
        backbone: the start; its pooling is replaced.
        images: where the pixels are.
        rows: ``(M,)`` of `images`, ascending; the standardisation is fitted on them.
        statistics: that normalise the images.
        size: height and width that the images are brought to; None: they stay.
        device: where the backbone runs.
    """
    with measuring(backbone, device):
        first = np.ascontiguousarray(images.pixels[rows[:2]])
        frames = torch.from_numpy(first).permute(0, 3, 1, 2).to(device)
        widths = [p.shape[1] for p in backbone.poolings(whole_frame(frames, statistics, size))]
    # One that changes no number but for the weights of the stages; it is fitted below.
    backbone.pooling = StagePooling("stages", widths).to(device)
    began = time.perf_counter()
    values = represent(backbone, images, rows, statistics, device=device, size=size)
    passed = time.perf_counter() - began
    roots = torch.cat([torch.full((width,), width**0.5) for width in widths])
    stages = StagePooling.fitted("stages", widths, values * roots)(values * roots)
    return Represented(
        Representations.of(stages.to(device), rows, rows),
        Representations.of(mean_of_stages(stages, widths[0]).to(device), rows, rows),
        len(rows) / max(passed, 1e-9),
    )


def rows_to_compare(images: ImageSet, subset: Subset | None, most: int) -> Rows:
    """The rows that are represented: all tiles of the labelled images, else some of the pool."""
    if subset is not None:
        return Pooling.of(images).all_of(subset.rows, images.rows("train"))
    return at_most(images.pool, most, 0)


def comparable(subset: Subset) -> bool:
    """Whether there are labels enough to hold some out again and again."""
    if subset.kind == "identity":
        return len(np.unique(subset.values)) < len(subset)
    return len(subset) >= max(_LEAST, subset.least) and bool((subset.folds() >= 0).any())


def predict_held_out(
    start: Represented, subset: Subset, resampling: Resampling | None = None
) -> HeldOut:
    """Each labelled image by a linear probe that was fitted without it and its group.

    The probe chooses its regularisation, and stages or mean, by further folds inside the labels
    that it is fitted to. Identities are retrieved: nothing is fitted to them.

    Args:
        start: representations of the subset's images, all of their tiles.
        subset: the labelled images; of an image in tiles its first one.
        resampling: of `held_out_rows`; None: that of `resampling_of`.
    """
    resampling = resampling or resampling_of(subset)
    if subset.kind == "identity":
        return _retrieved(start, subset, resampling)
    images, fold = subset.images, subset.folds()
    pooling, train = Pooling.of(images), start.mean.rows
    output = np.zeros((len(subset), subset.outputs), np.float32)
    chosen = []
    for number in range(int(fold.max()) + 1):
        heads = subset.take(np.flatnonzero(fold != number))
        inside = replace(heads, rows=pooling.all_of(heads.rows, train))
        candidates = {"stages": start.stages, "mean": start.mean}
        if start.stages.values.shape == start.mean.values.shape:
            del candidates["stages"]
        kind, fitted = best_representation(PROBES[PROBE], inside, candidates)
        chosen.append(kind)
        outside = np.flatnonzero(fold == number)
        tiles = pooling.all_of(subset.rows[outside], train)
        predicted = fitted.output(candidates[kind].at(tiles))
        output[outside] = pooling.pooled(tiles, predicted, subset.kind)
    rows = held_out_rows(subset)
    metric = headline(subset.kind)
    values = score(subset.target, output[fold >= 0], rows, resampling.weights, None)
    counts = {kind: chosen.count(kind) for kind in dict.fromkeys(chosen)}
    words = ", ".join(f"{kind} {count} of {len(chosen)}" for kind, count in counts.items())
    return HeldOut(metric, np.asarray(values[metric, None]), words)


def _retrieved(start: Represented, subset: Subset, resampling: Resampling) -> HeldOut:
    labels = np.unique(subset.values, return_inverse=True)[1].astype(np.int64)
    represented = Pooling.of(subset.images).represented(start.mean)
    each, _ = retrieval_scores(represented.at(subset.rows), labels)
    return HeldOut("recall_at_1", weighted_mean(each["recall_at_1"], resampling.weights))


def held_out_rows(subset: Subset) -> Rows:
    """The rows that are predicted: those of a fold, or the identities that have a companion."""
    if subset.kind == "identity":
        labels = np.unique(subset.values, return_inverse=True)[1]
        return subset.rows[np.bincount(labels)[labels] > 1]
    return subset.rows[subset.folds() >= 0]


def resampling_of(subset: Subset) -> Resampling:
    """Of the predicted images, by their groups; of identities by the identity."""
    rows = held_out_rows(subset)
    if subset.kind == "identity":
        units = np.unique(subset.target.values[rows], return_inverse=True)[1].astype(np.int64)
    else:
        units = groups_of(subset.images.groups, rows)
    return Resampling.of(units, seed=subset.seed)


@dataclass(frozen=True)
class RankedStart:
    """A start in the ranking: its score, and its difference to the best one, with intervals."""

    index: int
    score: Interval
    behind: Interval | None


def ranked(results: Sequence[HeldOut], resampling: Resampling) -> list[RankedStart]:
    """The best first; the difference of each to it is paired by image.

    Args:
        results: of the same subset.
        resampling: of its predicted images.
    """
    metric = results[0].metric
    sign = 1.0 if higher_is_better(metric) else -1.0
    order = sorted(range(len(results)), key=lambda i: -sign * float(results[i].values[0]))
    best = results[order[0]].values[None, None]
    placed = []
    for place, index in enumerate(order):
        values = results[index].values[None, None]
        behind = difference_interval(metric, values, best, resampling) if place else None
        placed.append(RankedStart(index, score_interval(metric, values, resampling), behind))
    return placed


Size = tuple[int, int]


def brought_to(images: ImageSet, side: int) -> Size | None:
    """Height and width with this longer side; None where the images are no larger."""
    longer = max(images.height, images.width)
    if longer <= side:
        return None
    scale = side / longer
    return max(1, round(images.height * scale)), max(1, round(images.width * scale))


def megabytes(backbone: Backbone) -> float:
    """Of the weights and buffers."""
    state = backbone.network.state_dict().values()
    return sum(int(value.numel()) * int(value.element_size()) for value in state) / 1e6
