"""The rows of a bank that are most similar to each query by cosine; exact, in fp32.

On a CPU that multiplies bf16 in hardware the products are made in bf16, which says within a bound
what each cosine is; only the few columns that may lie among the largest are computed in fp32.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.kernels.precision import fast_bf16

BLOCK = 64
"""Rows of a bank are made a multiple of it, for maxima over blocks."""
_STRIP = 1024  # rows of a bank that are rounded at once: they stay in the cache


@torch.no_grad()
def nearest(
    queries: Tensor, bank: Tensor, k: int, chunk: int | None = None, *, unit: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """The k most similar rows of the bank, some queries at a time; never an M x N matrix.

    Args:
        queries: ``(M, F)`` of any length.
        bank: ``(N, F)`` of any length.
        k: at most N.
        chunk: queries at a time; None: so many that their cosines fill 64 MiB, half of it in bf16.
        unit: the rows of the bank have length 1 already. For a single query, bringing them to
            that length takes ten times as long as the search.

    Yields:
        Cosines ``(m, k)`` and rows of the bank ``(m, k)`` of the next m queries, in no order.

    Raises:
        ValueError: k is not from 1 to N.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k: must be from 1 to {len(bank)}, the rows of the bank (got {k}).")
    if not len(queries):
        yield queries.new_zeros(0, k), torch.zeros(0, k, dtype=torch.int64, device=queries.device)
        return
    queries = F.normalize(queries, dim=1)
    bank = bank if unit else F.normalize(bank, dim=1)
    rounded = _rounded(queries, bank, k)
    rows = chunk or max(16, (1 << 24) // len(bank))
    plain = _Plain(bank, min(rows, len(queries)))
    for part in torch.split(queries, rows):
        found = None if rounded is None else _by_bound(part, bank, rounded, k)
        yield plain(part, k) if found is None else found


class _Plain:
    """All cosines in the precision of the bank, and the largest of them."""

    def __init__(self, bank: Tensor, rows: int) -> None:
        self.bank = bank
        # One buffer: fresh memory of this size costs as much as sorting it.
        self.buffer = bank.new_empty(rows, len(bank) + -len(bank) % BLOCK)

    def __call__(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Cosines ``(m, k)`` and rows of the bank ``(m, k)`` of queries ``(m, F)``."""
        cosines = self.buffer[: len(queries)]
        torch.mm(queries, self.bank.T, out=cosines[:, : len(self.bank)])
        cosines[:, len(self.bank) :] = -math.inf  # whole blocks for `largest`
        return largest(cosines, k)


def largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row of a contiguous tensor and their columns, unsorted; exact.

    They lie in the k blocks of columns with the largest maxima. A maximum over blocks is much
    faster than a sort, and leaves few columns to sort, or to thin out again in the same way.
    """
    rows, columns = values.shape
    block = 32
    while block > 2 and (columns % block or columns // block < 4 * k):
        block //= 2
    if block == 2:
        top = values.topk(k, 1, sorted=False)
        return top.values, top.indices
    blocks = values.view(-1, block)
    maxima = blocks.amax(1).view(rows, -1)
    best = maxima.topk(k, 1, sorted=False).indices
    first = torch.arange(rows, device=values.device)[:, None] * maxima.shape[1]
    kept = blocks.index_select(0, (best + first).flatten()).view(rows, -1)
    found, place = largest(kept, k)
    return found, best.gather(1, place // block) * block + place % block


def _rounded(queries: Tensor, bank: Tensor, k: int) -> _Rounded | None:
    """The bank in bf16 where that is faster; not for representations that it cannot tell apart."""
    if not _pays(queries, bank, k):
        return None
    rounded = _Rounded(bank)
    few = queries[:: -(-len(queries) // 32)]
    return rounded if _by_bound(few, bank, rounded, k) is not None else None


def _pays(queries: Tensor, bank: Tensor, k: int) -> bool:
    """Whether bf16 is faster: in hardware, and for sizes at which the products cost the most."""
    if bank.device.type != "cpu" or bank.dtype != torch.float32 or queries.dtype != bank.dtype:
        return False
    if torch.compiler.is_compiling() or not torch.backends.mkldnn.enabled:
        return False
    # To round the bank costs as much as some 200 queries.
    large = len(queries) >= 1024 and bank.shape[1] >= 128 and len(bank) >= max(2048, 64 * k)
    return large and fast_bf16(bank.device) and _can_sample()


class _Rounded:
    """A bank in bf16, about its mean where that is far from 0, and how far it is from the bank.

    With the mean m, a row r and a query q, ``q r = (q - m)(r - m) + m (r - m) + q m``. The last
    term does not change the order of a query's cosines. The first is of small numbers, from which
    rounding takes little even where all cosines are near 1. The second, one number a row, is
    carried by two more columns, rounded and what that took from it; those of the queries are ones.

    Attributes:
        mean: ``(F,)``; zeros where it is short: then there is no second term.
        rows: ``(N', F')`` bf16, with rows of zeros up to a multiple of `BLOCK`.
        norm: 0-d, largest length of a row about the mean.
        lost: 0-d, largest length of what rounding took from a row.
        more: columns for the second term.
    """

    def __init__(self, bank: Tensor) -> None:
        count, width = bank.shape
        self.mean = bank.mean(0)
        self.more = 2 if float(self.mean.norm()) > 0.2 else 0
        if not self.more:
            self.mean.zero_()
        # An even number of columns: bf16 is multiplied in pairs.
        shape = (count + -count % BLOCK, width + self.more + width % 2)
        self.rows = bank.new_zeros(shape, dtype=torch.bfloat16)
        self.buffer = self.rows.new_empty(0)
        self.norm = self.lost = bank.new_zeros(())
        strips = torch.split(bank, _STRIP), torch.split(self.rows[:count], _STRIP)
        for rows, out in zip(*strips, strict=True):
            rows = rows - self.mean
            out[:, :width] = rows
            if self.more:
                about = rows @ self.mean
                out[:, width] = about
                out[:, width + 1] = about - out[:, width]
            self.norm = torch.maximum(self.norm, rows.norm(dim=1).amax())
            lost = rows.sub_(out[:, :width]).norm(dim=1)
            self.lost = torch.maximum(self.lost, lost.amax())

    def products(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Products ``(N', m)`` bf16 of the rows with queries ``(m, F)``, and a bound ``(m,)``.

        The bound is on how far a product, before it is rounded to bf16 itself, may lie from the
        cosine in fp32 less ``q m``: by what rounding took from the query and from the row (Cauchy
        and Schwarz); by 2^-16 of the second term, of length `norm` at most; and by the sums in
        fp32, of terms whose lengths are 1 for the cosine, at most 2 `norm` for the first and `norm`
        for the second term, which is summed twice. These sums have twice the room that they need,
        for the few roundings that are not named here.
        """
        size = len(self.rows) * len(queries)
        if len(self.buffer) < size:
            self.buffer = self.rows.new_empty(size)
        width = queries.shape[1]
        queries = queries - self.mean
        rounded = queries.new_zeros(len(queries), self.rows.shape[1], dtype=torch.bfloat16)
        rounded[:, :width] = queries
        rounded[:, width : width + self.more] = 1.0
        kept = rounded[:, :width].float()
        bound = (queries - kept).norm(dim=1) * self.norm + kept.norm(dim=1) * self.lost
        bound += 2.0**-16 * self.norm + rounded.shape[1] * 2.0**-23 * (1.0 + 4.0 * self.norm)
        # A query a column: then what is looked for comes out in the order of the bank.
        products = self.buffer[:size].view(len(self.rows), len(queries))
        return torch.mm(self.rows, rounded.T, out=products), bound


def _by_bound(
    queries: Tensor, bank: Tensor, rounded: _Rounded, k: int
) -> tuple[Tensor, Tensor] | None:
    """As `_Plain`, computing few cosines in fp32; None where bf16 leaves too many in question."""
    products, bound = rounded.products(queries)
    eighths = _maxima(products, 3)
    cut = _cut(eighths, bound, k)
    # Above 0 no row of zeros is counted, and bf16 is in the order of its bits; NaN is not above 0.
    if not bool((cut > 0).all()):
        return None
    # One cosine by itself costs as much as 32 of the products.
    places = _reaching(products, eighths, cut, products.numel() // 32)
    if places is None:
        return None
    row, query = places // len(queries), places % len(queries)
    cosines = _sampled(queries, bank, row, query)
    order = query.argsort(stable=True)
    query, row = query[order], row[order]
    counts = torch.bincount(query, minlength=len(queries))
    starts = counts.cumsum(0) - counts
    table = queries.new_full((len(queries), int(counts.amax())), -math.inf)
    table[query, torch.arange(len(query)) - starts[query]] = cosines[order]
    found, place = table.topk(k, 1, sorted=False)
    return found, row[starts[:, None] + place]


def _maxima(values: Tensor, times: int) -> Tensor:
    """``(N / 2^times, m)`` maxima of rows of ``(N, m)``.

    Of rows far apart, by halves: several times faster than of rows side by side.
    """
    for _ in range(times):
        values = torch.maximum(*values.view(2, -1, values.shape[1]))
    return values


def _cut(maxima: Tensor, bound: Tensor, k: int) -> Tensor:
    """``(m,)`` bf16 at or above which the products of the k largest cosines lie.

    At least k products reach the k-th largest of their maxima: so the k-th largest cosine is no
    smaller than that, less the bound; the product of a larger one, less the bound once more.
    Rounding to bf16 takes half of a last place, 2^-8, and keeps the order.

    Args:
        maxima: ``(B, m)`` bf16 of the products, over blocks; at least k.
        bound: ``(m,)``.
        k: how many cosines.
    """
    while len(maxima) % 2 == 0 and len(maxima) // 2 >= 3 * k:
        maxima = _maxima(maxima, 1)
    reached = maxima.T.topk(k, 1, sorted=False).values.amin(1).float()
    return (reached - 2.0**-8 * reached.abs() - 2.0 * bound).bfloat16()


def _reaching(products: Tensor, eighths: Tensor, cut: Tensor, most: int) -> Tensor | None:
    """Flat places, rising, where products ``(N', m)`` reach the cut ``(m,)``, which is above 0.

    Looked for where the maxima of eight do. None where they are more than `most`.
    """
    bits = cut.view(torch.int16)
    some = _true(eighths.view(torch.int16) >= bits, most)
    if some is None:
        return None
    values = products.view(torch.int16).view(8, -1)[:, some]
    eighth, place = (values >= bits[some % len(cut)]).nonzero(as_tuple=True)
    return eighth * eighths.numel() + some[place] if len(place) <= most else None


def _true(mask: Tensor, most: int) -> Tensor | None:
    """Flat places where a mask is true, rising; None where they are more than `most`.

    Args:
        mask: contiguous, of a multiple of eight entries; eight are looked at at once.
        most: of them.
    """
    words = mask.view(-1).view(torch.int64)
    some = words.nonzero()[:, 0]
    if len(some) > most:
        return None
    inside = words[some].view(torch.bool).view(-1, 8).nonzero()
    return some[inside[:, 0]] * 8 + inside[:, 1] if len(inside) <= most else None


def _sampled(queries: Tensor, bank: Tensor, row: Tensor, query: Tensor) -> Tensor:
    """Products of some rows of the bank, rising, with one query each."""
    starts = F.pad(torch.bincount(row, minlength=len(bank)).cumsum(0), (1, 0))
    wanted = torch.sparse_csr_tensor(
        starts,
        query,
        queries.new_zeros(len(query)),
        (len(bank), len(queries)),
        check_invariants=False,
    )
    # The bank is read once, in its order, and the queries stay in the cache.
    found: Tensor = torch.sparse.sampled_addmm(wanted, bank, queries.T, beta=0.0).values()
    return found


@cache
def _can_sample() -> bool:
    """Whether this build of torch has the product; takes the note that it is in beta, said once."""
    one = torch.ones(1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _sampled(one, one, torch.tensor([0]), torch.tensor([0]))
        except (AttributeError, RuntimeError):
            return False
    return True
