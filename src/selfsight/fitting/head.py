"""The head of a predictor: representations to probabilities or numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from selfsight.data.imageset import TargetKind
from selfsight.fitting.probes import Fitted


class Head(nn.Module):
    """``(B, F)`` representations to ``(B, K)`` probabilities, or numbers in their unit.

    Probabilities are a softmax for a class and a sigmoid for each of several labels.

    Args:
        kind: of the target.
        features: F.
        outputs: K.
        hidden: width of the hidden layer (ReLU); None: a linear head.

    Attributes:
        mean, scale: ``(F,)`` and 0-d; what comes in is standardised with them.
        centre, spread: ``(K,)``; what the layers give is brought to its unit with them.
    """

    mean: Tensor
    scale: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(
        self, kind: TargetKind, features: int, outputs: int, hidden: int | None = None
    ) -> None:
        super().__init__()
        self.kind, self.hidden = kind, hidden
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("centre", torch.zeros(outputs))
        self.register_buffer("spread", torch.ones(outputs))
        if hidden is None:
            self.layers: nn.Module = nn.Linear(features, outputs)
        else:
            self.layers = nn.Sequential(
                nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
            )

    def raw(self, features: Tensor) -> Tensor:
        """``(B, K)`` logits, or numbers in their unit."""
        out: Tensor = self.layers((features - self.mean) / self.scale)
        return out * self.spread + self.centre

    def forward(self, features: Tensor) -> Tensor:
        raw = self.raw(features)
        if self.kind == "class":
            return raw.softmax(1)
        return raw.sigmoid() if self.kind == "labels" else raw

    def as_linear(self) -> tuple[Tensor, Tensor] | None:
        """Weight ``(K, F)`` and bias ``(K,)`` of the whole of `raw`; None with a hidden layer."""
        if not isinstance(self.layers, nn.Linear):
            return None
        with torch.no_grad():
            weight = self.layers.weight.double() / self.scale.double()
            bias = self.layers.bias.double() - weight @ self.mean.double()
            spread = self.spread.double()
            weight, bias = weight * spread[:, None], bias * spread + self.centre.double()
        return weight.float(), bias.float()


def head_of_probe(fitted: Fitted, kind: TargetKind, outputs: int) -> Head:
    """The linear or MLP probe as a head."""
    state = {name: value.cpu() for name, value in fitted.state.items()}
    hidden = len(state["0.bias"]) if "0.bias" in state else None
    head = Head(kind, len(state["mean"]), outputs, hidden)
    layers = {name: state[name] for name in head.layers.state_dict()}
    if hidden is None and len(layers["bias"]) < outputs:  # two classes are one sigmoid
        layers = {name: torch.cat([torch.zeros_like(v), v]) for name, v in layers.items()}
    head.layers.load_state_dict(layers)
    with torch.no_grad():
        head.mean.copy_(state["mean"])
        head.scale.copy_(state["scale"])
        if hidden is not None:
            head.centre.copy_(state["target_mean"])
            head.spread.copy_(state["target_scale"])
    return head.eval()


def head_of_layer(layer: nn.Linear, kind: TargetKind, centre: Tensor, spread: Tensor) -> Head:
    """The last layer of a fine-tuned network as a head."""
    head = Head(kind, layer.in_features, layer.out_features)
    head.layers.load_state_dict(layer.state_dict())
    with torch.no_grad():
        head.centre.copy_(centre)
        head.spread.copy_(spread)
    return head.eval()
