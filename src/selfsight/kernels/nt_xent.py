"""NT-Xent over all similarities of a batch, tile by tile: memory grows with N, not its square."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from selfsight.kernels.precision import LOG2_E, full_precision

GAP = 16
"""Numbers between one row of a block and the next."""

Tile = tuple[int, int, int, int]
"""First row, end of rows, first column, end of columns."""


class Tiling(NamedTuple):
    """How the similarity matrix of all embeddings with each other is cut.

    Attributes:
        block: rows and columns of a block off the diagonal, at most.
        least: rows of a block on the diagonal that is not cut further, at most.
        strip: rows of a block whose factors are made at once, at most.
    """

    block: int
    least: int
    strip: int


ON_CPU = Tiling(block=512, least=256, strip=128)
"""A block is 1 MB in fp32, which stays in a core's cache."""
ELSEWHERE = Tiling(block=2048, least=2048, strip=2048)
"""A GPU waits for each launch and has room: batches up to 1,024 are one block."""
ROWS = 512
"""Whole rows that `SpreadNTXent` makes at once."""


def _cut(first: int, last: int, size: int) -> list[tuple[int, int]]:
    return [(a, min(a + size, last)) for a in range(first, last, size)]


class BoundedNTXent(torch.autograd.Function):
    """The loss from embeddings of any length, for t from 0.05 on: exp(1 / t) is at most 5e8."""

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, temperature: float, gradient: bool
    ) -> Tensor:
        sharpness = LOG2_E / temperature
        # Vectors of length sqrt(sharpness): their products are exponents of 2 as they come.
        z, lengths = _at_length(math.sqrt(sharpness), first, second)
        work = _Work(z, gradient=gradient)
        work.forward()
        ctx.save_for_backward(z, lengths)
        ctx.sharpness, ctx.work = sharpness, work
        return (work.sums.log().sum() - _of_pairs(z) * (2.0 / LOG2_E)) / len(z)

    @staticmethod
    @once_differentiable
    @full_precision
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        z, lengths = ctx.saved_tensors
        work, ctx.work = ctx.work, None
        if work is None:  # a second backward: the first has used it up
            work = _Work(z, gradient=True)
            work.forward()
        out = work.backward()
        scale = grad / (len(z) * LOG2_E)
        return *_to_embeddings(out, z, lengths, scale, ctx.sharpness), None, None


def _at_length(length: float, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of both views, ``(N, D)``, each of one length, and what they were divided by."""
    z = torch.cat([first, second])
    lengths = torch.linalg.vector_norm(z, dim=1, keepdim=True).clamp_min_(1e-12).div_(length)
    return z.div_(lengths), lengths


def _of_pairs(z: Tensor) -> Tensor:
    """The sum of the products of each vector of one view with its partner."""
    first, second = z.chunk(2)
    return torch.dot(first.flatten(), second.flatten())


def _to_embeddings(
    out: Tensor, z: Tensor, lengths: Tensor, scale: Tensor, square: float
) -> tuple[Tensor, Tensor]:
    """From the gradient of the sums of logarithms to that of the loss by both views' embeddings.

    Args:
        out: ``(N, D)``, by the vectors ``z``; it is written over.
        z: ``(N, D)``, the embeddings divided by their ``lengths``.
        lengths: ``(N, 1)``.
        scale: what all is multiplied by.
        square: ``|z|^2``, of each row.
    """
    (first, second), (to_first, to_second) = z.chunk(2), out.chunk(2)
    to_first.sub_(second, alpha=2.0)
    to_second.sub_(first, alpha=2.0)
    # What lies along a vector does not turn it.
    along = torch.bmm(out[:, None], z[:, :, None])[:, 0].div_(-square)
    out.addcmul_(z, along).mul_(scale / lengths)
    return to_first, to_second


class _Work:
    """Sums over rows of the exponentials, and the gradient of the sums' logarithms, by tiles.

    The triangle is cut into groups of rows: what lies between two groups is made in forward for its
    sums, and again in backward. What lies within one is made once: with it the sums of its rows are
    complete, and its part of the gradient is added while it is in memory. All memory is taken once:
    fresh pages for each tile would cost as much as the exponentials in it. Products are added where
    the gradient lies.

    Args:
        z: ``(N, D)`` vectors whose products are exponents of 2.
        gradient: whether it is wanted.

    Attributes:
        sums: ``(N,)``, of each row.
    """

    def __init__(self, z: Tensor, *, gradient: bool) -> None:
        self.z, self.sums = z, z.new_zeros(len(z))
        self.tiling = ON_CPU if z.device.type == "cpu" else ELSEWHERE
        self.gradient = torch.zeros_like(z) if gradient else None
        block, least, strip = self.tiling
        self.groups = _cut(0, len(z), 2 * block)
        self.between = [
            (a, b, c, d)
            for i, group in enumerate(self.groups)
            for c, d in _cut(*group, block)
            for before in self.groups[:i]
            for a, b in _cut(*before, block)
        ]
        (_, size), sizes = self.groups[0], []
        while size > least:
            size = (size + 1) // 2
            sizes.append(size)
        sizes.append(size)
        self.rooms = [_room(z, size, size) for size in sizes]
        self.factors = _room(z, min(strip, sizes[0]), sizes[0]) if gradient else None

    def forward(self) -> None:
        """The sums, and the part of the gradient that comes from within the groups."""
        for tile in self.between:
            self._add_sums(self._exponentials(tile, 0), tile)
        for a, b in self.groups:
            self._within(a, b, 0)
        # Only what backward needs is kept until then.
        self.rooms = self.rooms[:1] if self.between else []
        self.factors = self.factors if self.between else None

    def backward(self) -> Tensor:
        """The gradient, ``(N, D)``: only once."""
        for tile in reversed(self.between):
            self._add_gradient(self._exponentials(tile, 0), tile)
        assert self.gradient is not None
        return self.gradient

    def _within(self, a: int, b: int, depth: int) -> None:
        """The square of rows a to b on the diagonal, when all else in these rows is summed."""
        half, whole = (a + b) // 2, b - a <= self.tiling.least
        tile = (a, b, a, b) if whole else (a, half, half, b)
        block = self._exponentials(tile, depth)
        self._add_sums(block, tile)
        if not whole:
            self._within(a, half, depth + 1)
            self._within(half, b, depth + 1)
        self._add_gradient(block, tile)

    def _exponentials(self, tile: Tile, depth: int) -> Tensor:
        """``2 ** (z z')`` over a tile, 0 on the diagonal of the whole.

        `torch.exp` takes three times as long on a CPU without Intel's vector mathematics.
        """
        a, b, c, d = tile
        out = _corner(self.rooms[depth], b - a, d - c)
        block = torch.mm(self.z[a:b], self.z[c:d].T, out=out).exp2_()
        return block.fill_diagonal_(0.0) if a == c else block

    def _add_sums(self, block: Tensor, tile: Tile) -> None:
        a, b, c, d = tile
        self.sums[a:b] += block.sum(1)
        if a != c:
            self.sums[c:d] += block.sum(0)

    def _add_gradient(self, block: Tensor, tile: Tile) -> None:
        """Writes over the block."""
        if self.gradient is None:
            return
        a, b, c, d = tile
        rows, columns = self.sums[a:b, None].reciprocal(), self.sums[c:d].reciprocal()
        strip = self.tiling.strip
        for part, scale in zip(torch.split(block, strip), torch.split(rows, strip), strict=True):
            room = _corner(self.factors, len(part), d - c)
            part.mul_(torch.add(scale, columns, out=room))
        self.gradient[a:b].addmm_(block, self.z[c:d])
        if a != c:
            self.gradient[c:d].addmm_(block.T, self.z[a:b])


def _room(z: Tensor, rows: int, columns: int) -> Tensor | None:
    """Memory for a block; a compiler finds its own.

    Rows lie a little further apart than they are long: those a power of two apart share a few lines
    of the cache, and the product with the transposed block takes an eighth longer.
    """
    return None if torch.compiler.is_compiling() else z.new_empty(rows, columns + GAP)


def _corner(room: Tensor | None, rows: int, columns: int) -> Tensor | None:
    return None if room is None else room[:rows, :columns]


class SpreadNTXent(torch.autograd.Function):
    """The loss for any t, over blocks of whole rows, each row shifted by its own maximum."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        z, lengths = _at_length(1.0, first, second)
        rows = _cut(0, len(z), ROWS)
        sums = torch.cat([_logits(z, a, b, temperature).logsumexp(1) for a, b in rows])
        ctx.save_for_backward(z, lengths, sums)
        ctx.temperature = temperature
        return (sums.sum() - _of_pairs(z) * (2.0 / temperature)) / len(z)

    @staticmethod
    @once_differentiable
    @full_precision
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        z, lengths, sums = ctx.saved_tensors
        out = torch.zeros_like(z)
        for a, b in _cut(0, len(z), ROWS):
            block = (_logits(z, a, b, ctx.temperature) - sums[a:b, None]).exp()
            out[a:b] += block @ z
            out += block.T @ z[a:b]
        scale = grad / (len(z) * ctx.temperature)
        return *_to_embeddings(out, z, lengths, scale, 1.0), None


def _logits(z: Tensor, first: int, last: int, temperature: float) -> Tensor:
    block = z[first:last] @ z.T / temperature
    own = torch.arange(first, last, device=z.device)[:, None]
    return block.masked_fill(own == torch.arange(len(z), device=z.device), float("-inf"))
