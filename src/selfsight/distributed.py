"""Differentiable collectives that are the identity in one process, and global batch statistics.

Convention: a method returns the loss of the *global* batch, the same number on each process. The
mean that DistributedDataParallel takes over the gradients is then the exact gradient.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(grad)  # type: ignore[no-untyped-call]
        return total


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x)
        ctx.share = x.shape[0]
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(grad.contiguous())  # type: ignore[no-untyped-call]
        first = dist.get_rank() * ctx.share
        return total[first : first + ctx.share]


def all_sum(x: Tensor) -> Tensor:
    """The sum of ``x`` over all processes, differentiable."""
    if world_size() == 1:
        return x
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total


def gather(x: Tensor) -> Tensor:
    """``(B, ...)`` of each process, concatenated in the order of ranks; differentiable.

    All processes must hold the same number of rows.
    """
    if world_size() == 1:
        return x
    rows: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]
    return rows


class GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation with the statistics of all processes, on any device.

    ``torch.nn.SyncBatchNorm`` refuses CPU tensors. Parameters, buffers and keys of the state are
    those of ``torch.nn.BatchNorm1d/2d``.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        assert input.dim() >= 2

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(input)
        x = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
        axes = [0, *range(2, x.dim())]
        count = x.numel() // x.shape[1] * world_size()
        mean = all_sum(x.sum(axes)) / count
        shape = [1, -1] + [1] * (x.dim() - 2)
        centred = x - mean.view(shape)
        variance = all_sum((centred * centred).sum(axes)) / count
        if self.track_running_stats and self.running_mean is not None:
            assert self.running_var is not None and self.num_batches_tracked is not None
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                momentum = 0.1 if self.momentum is None else self.momentum
                unbiased = variance * (count / max(count - 1, 1))
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight.to(scale.dtype)
        out = centred * scale.view(shape)
        if self.bias is not None:
            out = out + self.bias.to(out.dtype).view(shape)
        return out.to(input.dtype)


def with_global_statistics(module: nn.Module) -> nn.Module:
    """Turns every batch normalisation inside ``module`` into one over all processes, in place.

    Only exact types are swapped: a subclass may do more than normalise.
    """
    for part in module.modules():
        if type(part) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            part.__class__ = GlobalBatchNorm
    return module
