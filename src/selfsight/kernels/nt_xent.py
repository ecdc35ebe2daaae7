"""NT-Xent over all similarities of a batch, tile by tile: memory grows with N, not its square."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.kernels.differentiable import again
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


def plain_nt_xent(first: Tensor, second: Tensor, temperature: float | Tensor) -> tuple[Tensor]:
    """The loss from all similarities at once."""
    z, lengths = _rows(first, second)
    z = z / lengths
    place = torch.arange(len(z), device=z.device)
    excluded = (place[:, None] - place) % len(first) == 0
    logits = (z @ z.T / temperature).masked_fill(excluded, float("-inf"))
    partner = torch.cat([(z[: len(first)] * z[len(first) :]).sum(1)] * 2) / temperature
    return (F.softplus(logits.logsumexp(1) - partner).mean(),)


class BoundedNTXent(torch.autograd.Function):
    """The loss from embeddings of any length, for t from 0.05 on: exp(1 / t) is at most 5e8.

    With S the sum of a row's exponentials without its partner's and p the partner's exponent the
    loss of a row is ``log1p(S exp(-p))``: no two large numbers are subtracted, and it is never
    negative. Its gradient has a weight for each other embedding and ``-S / (S + exp(p))`` for the
    partner.
    """

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, temperature: float, gradient: bool
    ) -> Tensor:
        sharpness = LOG2_E / temperature
        # Vectors of length sqrt(sharpness): their products are exponents of 2 as they come.
        z, lengths = _at_length(math.sqrt(sharpness), first, second)
        partner = _of_pairs(z)
        work = _Work(z, partner.exp2(), gradient=gradient)
        work.forward()
        ctx.save_for_backward(z, lengths, first, second)
        ctx.temperature, ctx.work = temperature, work
        return (work.sums * (-partner).exp2_()).log1p_().mean()

    @staticmethod
    @full_precision
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        z, lengths, first, second = ctx.saved_tensors
        if torch.is_grad_enabled():
            form = partial(plain_nt_xent, temperature=ctx.temperature)
            return *again(form, (first, second), (grad,)), None, None  # type: ignore[return-value]
        work, ctx.work = ctx.work, None
        if work is None:  # a second backward: the first has used it up
            work = _Work(z, _of_pairs(z).exp2(), gradient=True)
            work.forward()
        out = work.backward()
        sharpness = LOG2_E / ctx.temperature
        scale = grad / (len(z) * LOG2_E)
        return *_to_embeddings(out, z, lengths, work.pull, scale, sharpness), None, None


def _rows(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of both views with 1 as the largest number of each row, ``(N, D)``; their lengths.

    So no square leaves the range of the numbers. A row of zeros stays zero, and counts as
    infinitely long: its gradient is zero.
    """
    z = torch.cat([first, second])
    largest = z.detach().abs().amax(1, keepdim=True)
    z = z / torch.where(largest > 0, largest, 1.0)
    lengths = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    return z, torch.where(largest > 0, lengths, math.inf)


def _at_length(length: float, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of both views, ``(N, D)``, each of one length, and what they were divided by.

    A row of zeros stays zero, and counts as infinitely long: its gradient is zero.
    """
    z = torch.cat([first, second])
    # Divided by its largest number first, so that no square leaves the range of the numbers.
    largest = z.abs().amax(1, keepdim=True)
    largest = torch.where(largest > 0, largest, math.inf)
    z.div_(largest)
    lengths = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    lengths = torch.where(lengths > 0, lengths, 1.0).div_(length)
    return z.div_(lengths), lengths.mul_(largest)


def _of_pairs(z: Tensor) -> Tensor:
    """The product of each vector with its partner in the other view, ``(N,)``."""
    first, second = z.chunk(2)
    return (first * second).sum(1).repeat(2)


def _to_embeddings(
    out: Tensor, z: Tensor, lengths: Tensor, pull: Tensor, scale: Tensor, square: float
) -> tuple[Tensor, Tensor]:
    """From the gradient of the sums of logarithms to that of the loss by both views' embeddings.

    Args:
        out: ``(N, D)``, by the vectors ``z``, without what partners add; it is written over.
        z: ``(N, D)``, the embeddings divided by their ``lengths``.
        lengths: ``(N, 1)``.
        pull: ``(N,)``, how strongly each row is drawn to its partner.
        scale: what all is multiplied by.
        square: ``|z|^2``, of each row.
    """
    (first, second), (to_first, to_second) = z.chunk(2), out.chunk(2)
    both = pull.view(2, -1).sum(0)[:, None]
    to_first.addcmul_(second, both, value=-1.0)
    to_second.addcmul_(first, both, value=-1.0)
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
    the gradient lies. A row's own exponential and its partner's are zero in the tiles.

    Args:
        z: ``(N, D)`` vectors whose products are exponents of 2, partners N / 2 rows apart.
        partners: ``(N,)``, the exponential of each row with its partner.
        gradient: whether it is wanted.

    Attributes:
        sums: ``(N,)``, of each row, without its partner.
    """

    def __init__(self, z: Tensor, partners: Tensor, *, gradient: bool) -> None:
        self.z, self.partners, self.sums = z, partners, z.new_zeros(len(z))
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

    @property
    def pull(self) -> Tensor:
        """``(N,)``: how strongly a row is drawn to its partner, from 0 to 1."""
        return self.sums / (self.sums + self.partners)

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
        """``2 ** (z z')`` over a tile, 0 where a row meets itself or its partner.

        `torch.exp` takes three times as long on a CPU without Intel's vector mathematics.
        """
        a, b, c, d = tile
        out = _corner(self.rooms[depth], b - a, d - c)
        block = torch.mm(self.z[a:b], self.z[c:d].T, out=out).exp2_()
        # Partners lie N / 2 columns after their row, on the diagonal of the whole also before it.
        half = len(self.z) // 2
        for offset in (-half, 0, half) if a == c else (half + a - c,):
            if a - b < offset < d - c:
                block.diagonal(offset).zero_()
        return block

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
        rows = (self.sums[a:b, None] + self.partners[a:b, None]).reciprocal_()
        columns = (self.sums[c:d] + self.partners[c:d]).reciprocal_()
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
        others = torch.cat([_block(z, a, b, temperature).logsumexp(1) for a, b in rows])
        apart = others.sub_(_of_pairs(z).div_(temperature))
        ctx.save_for_backward(z, lengths, apart, first, second)
        ctx.temperature = temperature
        return F.softplus(apart).mean()

    @staticmethod
    @full_precision
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        z, lengths, apart, first, second = ctx.saved_tensors
        if torch.is_grad_enabled():
            form = partial(plain_nt_xent, temperature=ctx.temperature)
            return *again(form, (first, second), (grad,)), None  # type: ignore[return-value]
        out = torch.zeros_like(z)
        sums = F.softplus(apart) + _of_pairs(z) / ctx.temperature
        for a, b in _cut(0, len(z), ROWS):
            block = _block(z, a, b, ctx.temperature).sub_(sums[a:b, None]).exp_()
            out[a:b] += block @ z
            out += block.T @ z[a:b]
        scale = grad / (len(z) * ctx.temperature)
        return *_to_embeddings(out, z, lengths, apart.sigmoid(), scale, 1.0), None


def _block(z: Tensor, first: int, last: int, temperature: float) -> Tensor:
    """Some rows of all similarities over t, minus infinity at a row itself and its partner."""
    block = (z[first:last] @ z.T).div_(temperature)
    half = len(z) // 2
    for offset in (first - half, first, first + half):
        if first - last < offset < len(z):
            block.diagonal(offset).fill_(float("-inf"))
    return block
