"""The moving-average copy of a module."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Teacher(nn.Module):
    """A copy of ``module`` that follows it as an exponential moving average.

    Its parameters have no gradient and its forward records none. Like DINO's own code it is left in
    train mode with the rest of the method, and then normalises with the statistics of its own
    batches; the running statistics are then its own too.

    Attributes:
        module: the copy; the state dict holds it.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = deepcopy(module).requires_grad_(False)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        with torch.no_grad():
            return self.module(*inputs, **options)

    @torch.no_grad()
    def update(self, source: nn.Module, momentum: Tensor) -> None:
        """``teacher = momentum * teacher + (1 - momentum) * source``; never waits for the device.

        Floating buffers are averaged as parameters are, except batch statistics that the teacher
        keeps itself (train mode); integer buffers are copied.

        Args:
            source: the module that is followed, of the same make.
            momentum: 0-d, in [0, 1], on the parameters' device.
        """
        mine: list[Tensor] = list(self.module.parameters())
        theirs: list[Tensor] = list(source.parameters())
        counts: list[Tensor] = []
        their_counts: list[Tensor] = []
        for own, other in zip(self.module.modules(), source.modules(), strict=True):
            if isinstance(own, _BatchNorm) and own.training:
                continue
            pairs = zip(own.buffers(recurse=False), other.buffers(recurse=False), strict=True)
            for a, b in pairs:
                floating = a.is_floating_point()
                (mine if floating else counts).append(a)
                (theirs if floating else their_counts).append(b)
        # lerp would be one call less, but it reads a 0-d weight on the host.
        torch._foreach_mul_(mine, momentum)
        torch._foreach_add_(mine, list(torch._foreach_mul(theirs, 1.0 - momentum)))
        if counts:
            torch._foreach_copy_(counts, their_counts)
