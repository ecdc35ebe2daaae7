"""Weights that cannot fit are refused before they are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from selfsight.data.pixels.store import machine_memory

_MAKERS = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full}


@contextmanager
def bounded_weights() -> Iterator[None]:
    """Stops the making of a network at the tensor that takes more than this machine's memory.

    The system promises memory that it does not have, and kills the process that uses it.

    Raises:
        ValueError: names the shape.
    """
    with _Bounded(machine_memory()):
        yield


class _Bounded(TorchFunctionMode):
    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in _MAKERS and args:
            sizes = args[0] if isinstance(args[0], tuple | list | torch.Size) else args
            shape = [size for size in sizes if isinstance(size, int)]
            if (needed := 4 * math.prod(shape)) > self.most:
                raise ValueError(
                    f"The network has a tensor of shape {tuple(shape)}, which takes "
                    f"{needed / 1e9:,.0f} GB; this machine has {self.most / 1e9:,.0f} GB. Choose "
                    "smaller widths (--method.projector, --network.widths) or smaller images."
                )
        return func(*args, **(kwargs or {}))
