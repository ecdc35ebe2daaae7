"""Which precision: losses in full, whatever surrounds them; bf16 where the hardware has it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")

LOG2_E = 1.0 / math.log(2.0)
"""``exp(x) = 2 ** (x LOG2_E)``: `torch.exp` takes three times as long as exp2 on some CPUs."""


def fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def full_precision(loss: Callable[P, T]) -> Callable[P, T]:
    """A loss that leaves any autocast region, and takes bf16 and fp16 embeddings as fp32.

    A product of a batch's embeddings in bf16 keeps three digits; what a loss subtracts from such
    sums is often smaller than that. The ``backward`` of a loss that is an autograd function
    needs this as well: it may be called inside a region.
    """

    @wraps(loss)
    def run(*args: P.args, **options: P.kwargs) -> T:
        wide = [_widened(value) for value in args]
        more = {name: _widened(value) for name, value in options.items()}
        kind = _device(wide, more)
        if not torch.amp.is_autocast_available(kind):  # meta tensors have none
            return loss(*wide, **more)
        with torch.autocast(kind, enabled=False):
            return loss(*wide, **more)

    return run


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
    if isinstance(value, list | tuple):
        return [_widened(each) for each in value]
    return value


def _device(args: list[Any], options: dict[str, Any]) -> str:
    for value in (*args, *options.values()):
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, Tensor):
                return each.device.type
    return "cpu"
