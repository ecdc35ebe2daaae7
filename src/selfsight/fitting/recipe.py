"""Settings of fine-tuning: one value each for a training, and the learning rates to try."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field

from selfsight.settings import Settings

Rate = Annotated[float, Field(gt=0.0)]
Rates = Annotated[
    tuple[Rate, ...],
    Field(min_length=1),
    BeforeValidator(lambda value: (value,) if isinstance(value, int | float) else value),
]


PUBLISHED: Mapping[str, Any] = {"frozen": 0.1, "layer_decay": 0.75, "batch_norm": "held"}
"""What a training that begins with published weights takes where nothing is given."""
RANDOM: Mapping[str, Any] = {"frozen": 0.0, "layer_decay": 1.0, "batch_norm": "trained"}
"""The same, for any other weights."""


class Recipe(Settings):
    """One training of backbone and head: a value for each setting."""

    backbone_lr: Rate = 1e-3
    """Peak learning rate of the backbone (AdamW, warm-up and cosine)."""
    head_lr: Rate = 1e-2
    """Peak learning rate of the head, which starts from the linear probe."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.05
    """Weight decay; never on biases and normalisation."""
    frozen: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    """Share of the training, at its beginning, in which the head alone is trained; None: 0.1 for
    published weights, else 0."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Learning rate of each layer of the backbone as a share of the next one's; None: 0.75 for
    published weights (arXiv:2111.06377, table 9), else 1."""
    batch_norm: Literal["auto", "trained", "held"] = "auto"
    """Statistics of batch normalisation: of the batches, or held at those of the start; auto: held
    for published weights."""
    anchor: Annotated[float, Field(ge=0.0)] = 0.0
    """Strength of a pull of the backbone's weights towards those it started from: the penalty
    anchor / 2 |w - w0|^2 (L2-SP, arXiv:1802.01483)."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the representation that is dropped before the head."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the target that is spread over all classes; labels move towards a half."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Images of a step; all of them where they are fewer."""
    epochs: Annotated[int, Field(ge=1)] = 30
    """Passes over the labelled images at most, or min_steps where these are more."""
    min_steps: Annotated[int, Field(ge=1)] = 500
    """Steps of the longest training on few images; all of them where nothing can be chosen."""

    def steps(self, images: int) -> int:
        """The longest training on so many images."""
        batch = min(self.batch_size, images)
        return max(self.epochs * math.ceil(images / batch), self.min_steps)

    def resolved(self, *, published: bool) -> Self:
        """With what was left open decided.

        Args:
            published: whether the weights to begin with go back to published ones.
        """
        usual = PUBLISHED if published else RANDOM
        batch_norm = None if self.batch_norm == "auto" else self.batch_norm
        own = {
            "frozen": self.frozen,
            "layer_decay": self.layer_decay,
            "batch_norm": batch_norm,
        }
        return self.updated({n: usual[n] if v is None else v for n, v in own.items()})


class FineTuning(Recipe):
    """How backbone and head are trained on labels, with the learning rates to try."""

    backbone_lr: Rates = (1e-4, 1e-3, 4e-3)  # type: ignore[assignment]
    """Learning rates of the backbone to try (AdamW, warm-up and cosine)."""
    head_lr: Rates = (1e-3, 1e-2)  # type: ignore[assignment]
    """Learning rates of the head to try, each with each of the backbone's."""

    @property
    def recipes(self) -> list[Recipe]:
        """One for each pair of rates."""
        pairs = itertools.product(self.backbone_lr, self.head_lr)
        same = {name: getattr(self, name) for name in Recipe.model_fields}
        return [Recipe(**same | {"backbone_lr": b, "head_lr": h}) for b, h in pairs]
