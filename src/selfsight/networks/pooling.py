"""From the pooled stages of a backbone to its representation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

PoolingKind = Literal["mean", "stages"]
KINDS: tuple[PoolingKind, ...] = ("mean", "stages")


class StagePooling(nn.Module):
    """Pooled stages ``(B, S)``, each feature standardised, to a representation ``(B, R)``.

    ``mean`` takes the first pooling alone, which is the network's own output: R is its width.
    ``stages`` takes all of them, each divided by the root of its width, so that a wide one does
    not outweigh the others: R is S.

    Args:
        kind: which poolings it takes.
        widths: of the poolings that the network gives, ``(F_1, ...)``, S in all.

    Attributes:
        centre, scale: ``(R,)`` of each feature that is taken over the rows that it was fitted on.

    Raises:
        ValueError: no such kind, or no widths.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, kind: PoolingKind, widths: Sequence[int]) -> None:
        super().__init__()
        if kind not in KINDS or not widths:
            raise ValueError(f"a pooling {kind!r} of the widths {tuple(widths)} does not exist")
        self.kind, self.widths = kind, tuple(widths)
        self.register_buffer("centre", torch.zeros(self.features))
        self.register_buffer("scale", torch.ones(self.features))

    @classmethod
    def fitted(cls, kind: PoolingKind, widths: Sequence[int], pooled: Tensor) -> StagePooling:
        """Standardisation by the mean and deviation of ``pooled``, ``(N, S)``; no label is read.

        A feature that never changes is left as it is, less its mean. Rows that are not finite do
        not count.
        """
        pooling = cls(kind, widths)
        pooled = pooled[:, : pooling.features]
        finite = pooled[torch.isfinite(pooled).all(1)].double()
        deviation, mean = torch.std_mean(finite, dim=0, correction=0)
        # A small constant, so that a feature that hardly ever changes is not blown up.
        scale = torch.where(deviation > 1e-6, deviation + 1e-3, torch.ones_like(deviation))
        pooling.centre.copy_(mean)
        pooling.scale.copy_(scale)
        return pooling.to(pooled.device)

    @property
    def features(self) -> int:
        """R."""
        return self.widths[0] if self.kind == "mean" else sum(self.widths)

    def forward(self, pooled: Tensor) -> Tensor:
        """``(B, S)``, or the first pooling ``(B, F_1)`` where that is all it takes."""
        scaled = (pooled[:, : self.features] - self.centre) / self.scale
        if self.kind == "mean":
            return scaled
        parts = torch.split(scaled, list(self.widths), 1)
        return torch.cat([part / part.shape[1] ** 0.5 for part in parts], 1)
