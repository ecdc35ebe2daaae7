"""SimCLR: views of one image attract, all other images of the batch repel."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable

from selfsight.data.imageset import TargetSpec
from selfsight.distributed import gather
from selfsight.method import Batch, Method, MethodSettings, Optimizer, Output
from selfsight.networks.backbones import Backbone, each_view
from selfsight.networks.heads import mlp
from selfsight.precision import full_precision
from selfsight.views.settings import View

LOG2_E = 1.0 / math.log(2.0)
BLOCK = 512
"""Rows of one block of the similarity matrix: 1 MB in fp32, which stays in a core's cache."""
STRIP = 128
"""Rows of a block whose factors are made at once."""
GAP = 16
"""Numbers between one row of a block and the next."""


@full_precision
def nt_xent_loss(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent (arXiv:2002.05709, eq. 1), averaged over both directions of all pairs.

    ``l(i, j) = -log exp(s_ij / t) / sum_{k != i} exp(s_ik / t)`` with cosines ``s`` over the 2N
    embeddings of the batch. The log-sum-exp is streamed over blocks and recomputed in backward:
    memory grows with N, not with its square.

    Args:
        first: ``(N, D)`` embeddings of one view.
        second: ``(N, D)`` embeddings of the other view of the same images.
        temperature: t.

    Returns:
        The loss, a 0-d tensor.
    """
    # Cosines are bounded, so exp(s / t) needs no shift down to 0.05: it is at most 5e8.
    if temperature >= 0.05:
        loss: Tensor = _NTXent.apply(first, second, temperature)  # type: ignore[no-untyped-call]
        return loss
    z = F.normalize(torch.cat([first, second]), dim=1)
    a, b = z.chunk(2)
    total: Tensor = _RowSpread.apply(z, temperature)  # type: ignore[no-untyped-call]
    return (total - (a * b).sum() * (2.0 / temperature)) / z.shape[0]


def _blocks(rows: int) -> list[tuple[int, int]]:
    return [(first, min(first + BLOCK, rows)) for first in range(0, rows, BLOCK)]


def _triangle(rows: int) -> list[tuple[int, int, int, int]]:
    """Rows and columns of the blocks on and above the diagonal of a square matrix.

    A block on the diagonal is symmetric itself: it is cut in four, and one of them is left out. One
    that is all there is stays whole: backward finds it as forward left it.
    """
    if rows <= BLOCK:
        return [(0, rows, 0, rows)]
    blocks, tiles = _blocks(rows), []
    for i, (c, d) in enumerate(blocks):
        half = (c + d) // 2
        if c < half:
            tiles += [(c, half, c, half), (c, half, half, d)]
        tiles.append((half, d, half, d))
        tiles += [(a, b, c, d) for a, b in blocks[:i]]
    return tiles


class _NTXent(torch.autograd.Function):
    """The loss over the upper triangle of blocks, from embeddings of any length.

    One block, with a strip for its factors, is all the memory that is taken beyond the normalised
    vectors and their gradient, and it is taken once: fresh pages for each block would cost as much
    as the exponentials in it. Products are added to the gradient where it lies. Backward goes the
    other way round: the last block of forward is its first, and is still there.
    """

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        z = torch.cat([first, second])
        sharpness = LOG2_E / temperature
        # Vectors of length sqrt(sharpness): their products are exponents of 2 as they come.
        lengths = torch.linalg.vector_norm(z, dim=1, keepdim=True).clamp_min_(1e-12)
        lengths.div_(math.sqrt(sharpness))
        z.div_(lengths)
        sums, room = z.new_zeros(len(z)), _room(z, BLOCK)
        for a, b, c, d in _triangle(len(z)):
            block = _exponentials(z, (a, b, c, d), room)
            sums[a:b] += block.sum(1)
            if a != c:
                sums[c:d] += block.sum(0)
        ctx.save_for_backward(z, lengths, sums)
        ctx.sharpness, ctx.room = sharpness, room
        positive = torch.dot(*(half.flatten() for half in z.chunk(2)))
        return (sums.log().sum() - positive * (2.0 / LOG2_E)) / len(z)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        z, lengths, sums = ctx.saved_tensors
        grad = grad / (len(z) * LOG2_E)
        scale, out = grad / sums, torch.zeros_like(z)
        room, ctx.room = ctx.room, None  # a second backward finds no block there
        made = room is not None
        room, factors = room if made else _room(z, BLOCK), _room(z, STRIP)
        for a, b, c, d in reversed(_triangle(len(z))):
            block = _exponentials(z, (a, b, c, d), room, made=made)
            made = False
            for top in range(a, b, STRIP):
                part = block[top - a : top - a + STRIP]
                factor = _corner(factors, len(part), d - c)
                part.mul_(torch.add(scale[top : top + len(part), None], scale[c:d], out=factor))
            out[a:b].addmm_(block, z[c:d])
            if a != c:
                out[c:d].addmm_(block.T, z[a:b])
        (first, second), (to_first, to_second) = z.chunk(2), out.chunk(2)
        to_first.addcmul_(second, -2.0 * grad)
        to_second.addcmul_(first, -2.0 * grad)
        # What lies along a unit vector does not turn it.
        along = torch.bmm(out[:, None], z[:, :, None])[:, 0].div_(-ctx.sharpness)
        out.addcmul_(z, along).div_(lengths)
        return to_first, to_second, None


def _room(z: Tensor, rows: int) -> Tensor | None:
    """Memory for so many rows of a block; a compiler finds its own.

    Rows lie a little more than `BLOCK` apart: those a power of two apart share a few lines of the
    cache, and the product with the transposed block takes an eighth longer.
    """
    if torch.compiler.is_compiling():
        return None
    return z.new_empty(min(rows, len(z)), min(BLOCK, len(z)) + GAP)


def _corner(room: Tensor | None, rows: int, columns: int) -> Tensor | None:
    return None if room is None else room[:rows, :columns]


def _exponentials(
    z: Tensor, tile: tuple[int, int, int, int], room: Tensor | None, *, made: bool = False
) -> Tensor:
    """``2 ** (z z')`` over a tile, 0 on the diagonal of the whole.

    `torch.exp` takes three times as long on a CPU without Intel's vector mathematics.

    Args:
        z: ``(N, D)``.
        tile: its rows and columns.
        room: where they are written.
        made: they are there already.
    """
    a, b, c, d = tile
    out = _corner(room, b - a, d - c)
    if made and out is not None:
        return out
    block = torch.mm(z[a:b], z[c:d].T, out=out).exp2_()
    return block.fill_diagonal_(0.0) if a == c else block


class _RowSpread(torch.autograd.Function):
    """The same sum over blocks of rows, each row shifted by its own maximum."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, temperature: float) -> Tensor:
        sums = torch.cat([_logits(z, a, b, temperature).logsumexp(1) for a, b in _blocks(len(z))])
        ctx.save_for_backward(z, sums)
        ctx.temperature = temperature
        return sums.sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        z, sums = ctx.saved_tensors
        out = torch.zeros_like(z)
        for a, b in _blocks(len(z)):
            block = (_logits(z, a, b, ctx.temperature) - sums[a:b, None]).exp()
            block = block * (grad / ctx.temperature)
            out[a:b] += block @ z
            out += block.T @ z[a:b]
        return out, None


def _logits(z: Tensor, first: int, last: int, temperature: float) -> Tensor:
    block = z[first:last] @ z.T / temperature
    own = torch.arange(first, last, device=z.device)[:, None]
    return block.masked_fill(own == torch.arange(len(z), device=z.device), float("-inf"))


class SimCLR(Method):
    """SimCLR: contrast two views of an image with all other images of the batch."""

    paper: ClassVar[str] = "arXiv:2002.05709"
    views: ClassVar[tuple[View, ...]] = (
        View(
            crop_scale=(0.08, 1.0),
            brightness=0.8,
            contrast=0.8,
            saturation=0.8,
            hue=0.2,
            blur=0.5,
        ),
    ) * 2
    optimizer: ClassVar[Optimizer] = Optimizer(name="lars", lr=0.3, weight_decay=1e-6)
    small: ClassVar[dict[str, Any]] = {
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "lr_batch_size": None},
        "method": {"temperature": 0.2, "projector": (512, 128)},
    }
    # Of a few pixels many images are alike: a softer contrast costs them less.
    tiny: ClassVar[dict[str, Any]] = {"method": {"temperature": 0.5}}
    search: ClassVar[dict[str, str]] = {
        "temperature": "log(0.05,0.5)",
        "projector": "[256,64],[512,128],[1024,128],[2048,128]",
    }

    class Settings(MethodSettings):
        """NT-Xent and its projector."""

        temperature: Annotated[float, Field(gt=0.0)] = 0.1
        """Temperature t of the softmax over cosines."""
        projector: tuple[int, ...] = (2048, 128)
        """Widths of the projector; the last one is the embedding."""

    def __init__(
        self, settings: Settings, backbone: Backbone, target: TargetSpec | None = None
    ) -> None:
        super().__init__(settings, backbone, target)
        self.settings = settings
        self.projector = mlp((backbone.features, *settings.projector), last_norm=True)

    def forward(self, batch: Batch) -> Output:
        representations = each_view(self.backbone, batch.views)
        first, second = each_view(self.projector, representations)
        loss = nt_xent_loss(gather(first), gather(second), self.settings.temperature)
        return Output({"loss": loss}, representations)
