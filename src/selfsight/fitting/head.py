"""The head of a predictor, and what a probe gives: a head or another function, with its choices."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from numpy import float32, float64
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from selfsight.data.imageset import TargetKind
from selfsight.fitting.tasks import activated
from selfsight.settings import Settings

Activation = Literal["relu", "gelu", "silu", "tanh"]
Normalisation = Literal["layer", "batch"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class Shape(Settings):
    """The hidden layers of a head."""

    widths: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = ()
    """Of the hidden layers; none: a linear head."""
    activation: Activation = "relu"
    """After each hidden layer."""
    normalisation: Normalisation | None = None
    """Before each activation."""


class Head(nn.Module):
    """``(B, F)`` representations to ``(B, K)`` probabilities, or numbers in their unit.

    Probabilities are a softmax for a class and a sigmoid for each of several labels.

    Args:
        kind: of the target.
        features: F.
        outputs: K.
        shape: of the hidden layers; by default a linear head.

    Attributes:
        mean, scale: ``(F,)`` and 0-d; the input is standardised with them.
        layers: linear layers, normalisations and activations.
        centre, spread: ``(K,)``; they bring the output of the layers to its unit.
    """

    mean: Tensor
    scale: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(
        self, kind: TargetKind, features: int, outputs: int, shape: Shape | None = None
    ) -> None:
        super().__init__()
        self.kind, self.shape = kind, shape or Shape()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("centre", torch.zeros(outputs))
        self.register_buffer("spread", torch.ones(outputs))
        with torch.random.fork_rng(devices=[]):  # each weight is set by its fit or its file
            self.layers = self._layers(features, outputs)

    def _layers(self, features: int, outputs: int) -> nn.Sequential:
        widths, normalisation = self.shape.widths, self.shape.normalisation
        layers: list[nn.Module] = []
        for inputs, width in itertools.pairwise((features, *widths)):
            layers.append(nn.Linear(inputs, width))
            if normalisation is not None:
                layers.append((nn.LayerNorm if normalisation == "layer" else nn.BatchNorm1d)(width))
            layers.append(ACTIVATIONS[self.shape.activation]())
        return nn.Sequential(*layers, nn.Linear([features, *widths][-1], outputs))

    def raw(self, features: Tensor) -> Tensor:
        """``(B, K)`` logits, or numbers in their unit."""
        out: Tensor = self.layers((features - self.mean) / self.scale)
        return out * self.spread + self.centre

    def forward(self, features: Tensor) -> Tensor:
        return activated(self.raw(features), self.kind)

    def finished(self) -> Head:
        """Itself, to predict with: in eval mode, without gradients."""
        return self.eval().requires_grad_(False)

    def as_linear(self) -> tuple[Tensor, Tensor] | None:
        """Weight ``(K, F)`` and bias ``(K,)`` of the whole of `raw`; None with a hidden layer."""
        if len(self.layers) > 1:
            return None
        layer = self.layers[0]
        assert isinstance(layer, nn.Linear)
        with torch.no_grad():
            weight = layer.weight.double() / self.scale.double()
            bias = layer.bias.double() - weight @ self.mean.double()
            spread = self.spread.double()
            weight, bias = weight * spread[:, None], bias * spread + self.centre.double()
        return weight.float(), bias.float()

    @classmethod
    def of_linear(
        cls, kind: TargetKind, weight: Tensor, bias: Tensor, mean: Tensor, scale: Tensor
    ) -> Head:
        """The linear head with weight ``(K, F)`` and bias ``(K,)`` on standardised features."""
        head = cls(kind, weight.shape[1], weight.shape[0]).to(weight.device)
        state = {"0.weight": weight.float(), "0.bias": bias.float()}
        head.layers.load_state_dict(state)
        head.mean.copy_(mean)
        head.scale.copy_(scale)
        return head.finished()


@dataclass(frozen=True)
class Fitted:
    """A probe after its fit.

    Attributes:
        predict: ``(M, F)`` representations to ``(M, K)`` probabilities or numbers: a `Head`, where
            the probe is one.
        choice: each choice by name; ``"chosen": False`` where the fixed default was used.
        thresholds: ``(K,)`` of the probabilities, for several labels.
        held_out_score: of the choice, on labelled rows that its fits held out: the headline metric
            and, between equals, a second measure; higher is better. None: nothing was held out.
    """

    predict: Callable[[Tensor], Tensor]
    choice: dict[str, Any]
    thresholds: NDArray[float64] | None = None
    held_out_score: tuple[float, float] | None = None

    def output(self, features: Tensor) -> NDArray[float32]:
        """``(M, K)`` as `predict`, in memory."""
        output: NDArray[float32] = self.predict(features).float().cpu().numpy()
        return output

    @property
    def head(self) -> Head:
        assert isinstance(self.predict, Head)
        return self.predict
