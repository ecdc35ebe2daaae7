"""The training images that a model keeps, so that `predict` can tell what is unlike all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.data.imageset import ImageSet
from selfsight.evaluation.pooling import Pooling
from selfsight.fitting.novelty import (
    ASKED,
    SHARE,
    distances_to,
    drawn,
    lengths_of,
    novelty_of,
    novelty_within,
    unit,
)
from selfsight.models.predictor import Predictor

MOST = 5000
"""Training images whose representations a model keeps: a seeded draw of more."""

Features = Callable[[NDArray[np.int64]], Tensor]


def with_training_images(
    predictor: Predictor, images: ImageSet, features: Features, *, seed: int = 0
) -> Predictor:
    """A predictor that knows its training images and from where on an image is novel.

    The thresholds come from the validation images where there are enough of them for its share: no
    training saw them, and a backbone that was fitted to labels brings the training images closer
    together than any others. Otherwise each training image is compared with those of other groups.

    Args:
        predictor: fitted on ``images``.
        images: with splits; train and unlabelled images are the training images.
        features: rows ``(M,)`` to representations ``(M, F)`` by the predictor's backbone.
        seed: of the draw.
    """
    pooling = Pooling.of(images)

    def values_of(candidates: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], Tensor]:
        """Some images among the rows, and their representations; of tiles the image's mean."""
        heads = pooling.heads(candidates)
        heads = heads[drawn(len(heads), most, seed)]
        rows = pooling.all_of(heads, candidates)
        return heads, pooling.means(rows, features(rows))

    rows, values = values_of(images.pool, MOST)
    usable = torch.isfinite(values).all(1) & (values != 0).any(1)
    rows, values = rows[usable.numpy()], values[usable]
    vectors = unit(values).half().float()  # as the file gives them back
    if not len(rows):
        return predictor
    validation = images.rows("validation")
    if len(pooling.heads(validation)) >= 1 / SHARE - 1:
        others = values_of(validation, ASKED)[1]
        distances = distances_to(unit(others), vectors)
        novelty = novelty_of(distances, lengths_of(others), taken_from="validation")
    else:
        groups = None if images.groups is None else images.groups[rows]
        novelty = novelty_within(vectors, lengths_of(values), groups, seed=seed)
    card = predictor.card.updated({"novelty": novelty})
    return replace(predictor, card=card, training=vectors)
