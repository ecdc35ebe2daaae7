"""The classifier that `tune probe` searches, and its training: all folds side by side."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from selfsight.settings import Settings


class Classifier(Settings):
    """A small network on frozen representations, and how it is trained."""

    depth: Annotated[int, Field(ge=0, le=8)] = 1
    """Hidden layers; 0 is a linear classifier."""
    width: Annotated[int, Field(ge=1)] = 256
    """Width of the first hidden layer."""
    narrowing: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Width of each further hidden layer as a share of the one before."""
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """Between the layers."""
    normalisation: Literal["layer", "batch"] | None = None
    """In front of each activation."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the inputs of each hidden layer and of the last one that is dropped."""
    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    """Update rule; sgd has a momentum of 0.9. The weight decay of adamw is decoupled."""
    lr: Annotated[float, Field(gt=0.0)] = 3e-3
    """Learning rate, constant."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.1
    """Weight decay; never on biases and normalisation."""
    batch_size: Annotated[int, Field(ge=1)] = 256
    """Images of a step."""
    class_weights: Literal["balanced", "root"] | None = None
    """Weight of rare classes (of the positives of rare labels): inverse frequency, or its root."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the target that is spread over all classes."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the hidden layers."""
        return tuple(max(1, round(self.width * self.narrowing**i)) for i in range(self.depth))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


class Stack(nn.Module):
    """K networks of one shape side by side: ``(K, B, F) -> (K, B, O)``.

    Each of them is what it would be alone: they share no number but the settings.

    Args:
        settings: of the classifier.
        features: F.
        outputs: O.
        count: K.
        generator: of the weights.
    """

    def __init__(
        self,
        settings: Classifier,
        features: int,
        outputs: int,
        count: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.settings = settings
        widths = (features, *settings.widths, outputs)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.gains, self.shifts = nn.ParameterList(), nn.ParameterList()
        for inputs, width in itertools.pairwise(widths):
            bound = inputs**-0.5
            drawn = torch.rand(count, inputs + 1, width, generator=generator) * 2 * bound - bound
            self.weights.append(nn.Parameter(drawn[:, :-1].clone()))
            self.biases.append(nn.Parameter(drawn[:, -1:].clone()))
        for index, width in enumerate(settings.widths if settings.normalisation else ()):
            self.gains.append(nn.Parameter(torch.ones(count, 1, width)))
            self.shifts.append(nn.Parameter(torch.zeros(count, 1, width)))
            self.register_buffer(f"mean_{index}", torch.zeros(count, 1, width))
            self.register_buffer(f"variance_{index}", torch.ones(count, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = F.dropout(x, self.settings.dropout, self.training)
            x = torch.baddbmm(bias, x, weight)
            if index < last:
                x = ACTIVATIONS[self.settings.activation](self._normalised(x, index))
        return x

    def _normalised(self, x: Tensor, index: int) -> Tensor:
        if self.settings.normalisation is None:
            return x
        if self.settings.normalisation == "layer":
            x = F.layer_norm(x, x.shape[-1:])
        else:
            mean, variance = self.get_buffer(f"mean_{index}"), self.get_buffer(f"variance_{index}")
            if self.training and x.shape[1] > 1:
                now, centre = torch.var_mean(x, dim=1, keepdim=True, correction=0)
                with torch.no_grad():
                    mean.lerp_(centre, 0.1)
                    variance.lerp_(now, 0.1)
                mean, variance = centre, now
            x = (x - mean) * torch.rsqrt(variance + 1e-5)
        scaled: Tensor = x * self.gains[index] + self.shifts[index]
        return scaled

    def build_optimizer(self) -> torch.optim.Optimizer:
        settings = self.settings
        groups = [
            {"params": [*self.weights], "weight_decay": settings.weight_decay},
            {"params": [*self.biases, *self.gains, *self.shifts], "weight_decay": 0.0},
        ]
        if settings.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=settings.lr, momentum=0.9, nesterov=True)
        kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
        return kind(groups, lr=settings.lr, fused=True)


def class_loss(raw: Tensor, truth: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    """Sum over the K networks of their cross entropy, as `torch.nn.functional` has it.

    Args:
        raw: ``(K, B, C)`` logits.
        truth: ``(K, B)`` classes.
        weights: ``(K, C)`` of the classes; None: all alike.
        smoothing: share of the target that is spread over all classes.
    """
    likely = raw.log_softmax(2)
    here = likely.gather(2, truth[..., None])[..., 0]
    if weights is None:
        each = (1 - smoothing) * here + smoothing * likely.mean(2)
        return -each.mean(1).sum()
    own = weights.gather(1, truth)
    spread = (likely * weights[:, None]).mean(2)
    each = (1 - smoothing) * own * here + smoothing * spread
    return -(each.sum(1) / own.sum(1)).sum()


def labels_loss(raw: Tensor, truth: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    """Sum over the K networks of the binary cross entropy; unknown (NaN) entries count nowhere.

    Args:
        raw: ``(K, B, L)`` logits.
        truth: ``(K, B, L)`` 0 / 1, NaN unknown.
        weights: ``(K, L)`` of the positives of each label; None: 1.
        smoothing: targets are moved towards a half by this share.
    """
    known = torch.isfinite(truth)
    target = torch.where(known, truth, 0.0) * (1 - smoothing) + smoothing / 2
    positive = None if weights is None else weights[:, None].expand_as(raw)
    each = F.binary_cross_entropy_with_logits(raw, target, pos_weight=positive, reduction="none")
    return ((each * known).sum((1, 2)) / known.sum((1, 2)).clamp_min(1)).sum()


def number_loss(raw: Tensor, truth: Tensor) -> Tensor:
    """Sum over the K networks of the mean squared error; unknown (NaN) entries count nowhere."""
    known = torch.isfinite(truth)
    each = (raw - torch.where(known, truth, 0.0)).square()
    return ((each * known).sum((1, 2)) / known.sum((1, 2)).clamp_min(1)).sum()
