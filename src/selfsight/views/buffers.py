"""Memory for results that are thrown away: on a CPU, new pages cost more than the sums in them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import torch
from torch import Tensor

New = Callable[..., Tensor | None]
"""Takes a shape and gives a float32 tensor to be written, or None: the operation makes its own."""

ALIGNED = 16
"""Numbers that a tensor starts at a multiple of: 64 bytes."""


def fresh(*shape: int) -> None:
    """Lets every operation make its own result."""


class Scratch(threading.local):
    """One buffer a thread, handed out as a stack: what is taken inside `level` is free after it."""

    def __init__(self) -> None:
        self.buffer = torch.empty(0)
        self.size = 0
        self.used = 0
        self.levels: list[int] = []
        self.wanted = 0

    def new(self, *shape: int) -> Tensor:
        """A float32 tensor with any content."""
        numbers = math.prod(shape)
        start, self.used = self.used, self.used + -(-numbers // ALIGNED) * ALIGNED
        self.wanted = max(self.wanted, self.used)
        if self.used > self.size:
            return torch.empty(shape)
        return self.buffer[start : start + numbers].view(shape)

    def level(self) -> Scratch:
        """``with scratch.level():`` frees on leaving what was taken inside."""
        self.levels.append(self.used)
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        """The outermost level lets the buffer grow to what was wanted."""
        self.used = self.levels.pop()
        if not self.levels and self.wanted > self.size:
            self.size = self.wanted
            self.buffer = torch.empty(self.size)


scratch = Scratch()
