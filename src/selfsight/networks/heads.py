"""Heads on representations: projectors, predictors, prototypes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "gelu"]


def mlp(
    widths: Sequence[int],
    *,
    norm: bool = True,
    last_norm: bool = False,
    last_norm_affine: bool = True,
    last_shift: bool = True,
    bias: bool | None = None,
    last_bias: bool | None = None,
    activation: Activation = "relu",
) -> nn.Sequential:
    """Linear layers; batch normalisation and activation between them.

    SimCLR: ``mlp((F, F, F, 128), last_norm=True, last_shift=False)``. Barlow Twins:
    ``mlp((F, 8192, 8192, 8192), last_bias=False)``. VICReg: the same with ``bias=True``.

    Args:
        widths: inputs, hidden widths, outputs; at least two.
        norm: batch normalisation after each hidden layer.
        last_norm: batch normalisation after the last layer.
        last_norm_affine: whether that one learns a scale and a shift.
        last_shift: whether it learns a shift, where it learns a scale.
        bias: of the hidden layers; None: where no normalisation follows (it would undo a bias).
        last_bias: of the last layer; None: where no normalisation follows.
        activation: after each hidden layer.

    Raises:
        ValueError: fewer than two widths, or one below 1.
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(
            f"widths {tuple(widths)} of a head: give inputs and outputs, 1 or more each."
        )
    layers: list[nn.Module] = []
    *hidden, last = pairwise(widths)
    for inputs, outputs in hidden:
        layers.append(nn.Linear(inputs, outputs, bias=not norm if bias is None else bias))
        if norm:
            layers.append(nn.BatchNorm1d(outputs))
        layers.append(nn.ReLU(inplace=True) if activation == "relu" else nn.GELU())
    layers.append(nn.Linear(*last, bias=not last_norm if last_bias is None else last_bias))
    if last_norm:
        last_layer = nn.BatchNorm1d(last[1], affine=last_norm_affine)
        if not last_shift:
            last_layer.register_parameter("bias", None)
        layers.append(last_layer)
    return nn.Sequential(*layers)


class PrototypeHead(nn.Module):
    """``(B, F)`` to cosines with K prototypes ``(B, K)``, the head of DINO (arXiv:2104.14294).

    A GELU network (weights from a truncated normal of deviation 0.02), L2 normalisation of its
    output, then a linear layer whose rows have length 1: a weight-normed layer with its gain fixed
    at 1.

    Args:
        features: F.
        prototypes: K.
        hidden: width of the hidden layers.
        bottleneck: width that is normalised.
        layers: linear layers before the prototypes.
        norm: batch normalisation after each hidden layer. DINO's ViTs do without; on a small
            convolutional network images start out too alike for the targets to tell them apart.
    """

    def __init__(
        self,
        features: int,
        prototypes: int,
        *,
        hidden: int = 2048,
        bottleneck: int = 256,
        layers: int = 3,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.mlp = mlp(
            (features, *[hidden] * (layers - 1), bottleneck), norm=norm, activation="gelu"
        )
        for part in self.mlp:
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        self.prototypes = nn.Linear(bottleneck, prototypes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, F)`` to cosines ``(B, K)``."""
        rows = F.normalize(self.prototypes.weight, dim=1)
        return F.linear(F.normalize(self.mlp(x), dim=1), rows)
