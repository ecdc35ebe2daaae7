"""Classifiers of one shape side by side, each with weights of its own: one product trains all."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from selfsight.fitting.head import ACTIVATIONS, Activation, Head, Normalisation, Shape
from selfsight.settings import Settings


class Classifier(Settings):
    """A small network on frozen representations, and how it is trained."""

    depth: Annotated[int, Field(ge=0, le=8)] = 1
    """Hidden layers; 0 is a linear classifier."""
    width: Annotated[int, Field(ge=1, le=65536)] = 256
    """Width of the first hidden layer."""
    narrowing: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Width of each further hidden layer as a share of the one before."""
    activation: Activation = "relu"
    """Between the layers."""
    normalisation: Normalisation | None = None
    """Before each activation."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the inputs of each hidden layer and of the last one that is dropped."""
    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    """Update rule; sgd has a momentum of 0.9. The weight decay of adamw is decoupled."""
    lr: Annotated[float, Field(gt=0.0)] = 3e-3
    """Learning rate, constant."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.1
    """Weight decay; never on biases and normalisation."""
    batch_size: Annotated[int, Field(ge=1)] = 256
    """Images of a step; all of them where they are fewer."""
    class_weights: Literal["balanced", "root"] | None = None
    """Weight of rare classes (of the positives of rare labels): inverse frequency, or its root."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the target that is spread over all classes; labels move towards a half."""
    epochs: Annotated[int, Field(ge=1)] = 100
    """Passes over the labelled images at most, or min_steps where these are more."""
    min_steps: Annotated[int, Field(ge=1)] = 100
    """Steps of the longest training on few images; all of them where nothing can be chosen."""

    @property
    def shape(self) -> Shape:
        """Of the hidden layers."""
        widths = [max(1, round(self.width * self.narrowing**i)) for i in range(self.depth)]
        return Shape(
            widths=tuple(widths), activation=self.activation, normalisation=self.normalisation
        )

    def steps(self, images: int) -> int:
        """The longest training on so many images."""
        return max(self.epochs * math.ceil(images / self.batch_size), self.min_steps)


class Stack(nn.Module):
    """J networks of one shape side by side: ``(J, B, F) -> (J, B, K)``.

    Each of them is what it would be alone: they share no number but the settings.

    Args:
        settings: of the classifier.
        features: F.
        outputs: K.
        count: J.
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
        self.activation = ACTIVATIONS[settings.activation]()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.gains, self.shifts = nn.ParameterList(), nn.ParameterList()
        for inputs, width in itertools.pairwise((features, *settings.shape.widths, outputs)):
            bound = inputs**-0.5
            drawn = torch.rand(count, inputs + 1, width, generator=generator) * 2 * bound - bound
            self.weights.append(nn.Parameter(drawn[:, :-1].clone()))
            self.biases.append(nn.Parameter(drawn[:, -1:].clone()))
        for index, width in enumerate(settings.shape.widths if settings.normalisation else ()):
            self.gains.append(nn.Parameter(torch.ones(count, 1, width)))
            self.shifts.append(nn.Parameter(torch.zeros(count, 1, width)))
            self.register_buffer(f"mean_{index}", torch.zeros(count, 1, width))
            self.register_buffer(f"var_{index}", torch.ones(count, 1, width))

    def forward(self, x: Tensor, part: slice = slice(None)) -> Tensor:
        """``(J, B, F)``, or ``(B, F)`` for all; with `part` by some of the networks alone."""
        last = len(self.weights) - 1
        x = x.expand(len(self.weights[0][part]), *x.shape[-2:])
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = F.dropout(x, self.settings.dropout, self.training)
            x = torch.baddbmm(bias[part], x, weight[part])
            if index < last:
                x = self.activation(self._normalised(x, index, part))
        return x

    def _normalised(self, x: Tensor, index: int, part: slice) -> Tensor:
        if self.settings.normalisation is None:
            return x
        if self.settings.normalisation == "layer":
            x = F.layer_norm(x, x.shape[-1:])
        else:
            mean, variance = self.get_buffer(f"mean_{index}"), self.get_buffer(f"var_{index}")
            if self.training and x.shape[1] > 1:
                now, centre = torch.var_mean(x, dim=1, keepdim=True, correction=0)
                with torch.no_grad():
                    mean.lerp_(centre, 0.1)
                    variance.lerp_(now, 0.1)
                mean, variance = centre, now
            else:
                mean, variance = mean[part], variance[part]
            x = (x - mean) * torch.rsqrt(variance + 1e-5)
        scaled: Tensor = x * self.gains[index][part] + self.shifts[index][part]
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

    def head(self, kind: Any, number: int = 0) -> Head:
        """One of the networks as a head on standardised representations."""
        first, last, settings = self.weights[0], self.weights[-1], self.settings
        head = Head(kind, first.shape[1], last.shape[2], settings.shape)
        linear = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
        normal = [m for m in head.layers if isinstance(m, nn.LayerNorm | nn.BatchNorm1d)]
        with torch.no_grad():
            for index, layer in enumerate(linear):
                layer.weight.copy_(self.weights[index][number].T)
                layer.bias.copy_(self.biases[index][number, 0])
            for index, norm in enumerate(normal):
                norm.weight.copy_(self.gains[index][number, 0])
                norm.bias.copy_(self.shifts[index][number, 0])
                for name in ("mean", "var") if isinstance(norm, nn.BatchNorm1d) else ():
                    own = self.get_buffer(f"{name}_{index}")[number, 0]
                    norm.get_buffer(f"running_{name}").copy_(own)
        return head.to(self.weights[0].device).finished()
