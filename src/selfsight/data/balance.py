"""Subsets in which every label has its share: of groups that stay whole, or of single images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import Target

BINS = 10
MAX_LABELS = 1000

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


def balanced_cut(
    columns: NDArray[np.float64],
    strata: Rows,
    groups: NDArray[np.int64] | None,
    share: float,
    seed: int,
) -> Mask:
    """Rows ``(N,)`` that go to a side of about ``share``, no group cut, labels balanced.

    Single images of the same labels are interchangeable: their share is drawn at random. Groups,
    and what remains of a fraction, are chosen by a local search (flips and swaps, several random
    starts) that makes the squared deviations of the label counts, each over its expected count,
    and of the size as small as it can.

    Args:
        columns: ``(N, K)`` counts to balance (one-hot classes, labels, bins).
        strata: ``(N,)`` the same number for rows of the same columns.
        groups: ``(N,)``, -1 for a row of its own, or None.
        share: of the rows, in (0, 1).
        seed: of the draw.
    """
    random = np.random.default_rng([seed, 1])
    unit, sizes = _units(groups, len(columns))
    counts = np.zeros((len(sizes), columns.shape[1] + 1))
    np.add.at(counts[:, :-1], unit, columns)
    counts[:, -1] = sizes
    first = np.zeros(len(sizes), np.int64)
    first[unit] = np.arange(len(unit))
    kind = np.where(sizes == 1, strata[first], strata.max(initial=0) + 1 + np.arange(len(sizes)))
    taken = _choose_units(counts, kind, share, random)
    if not taken.any() and len(sizes) > 1:
        taken[np.lexsort((random.random(len(sizes)), sizes))[0]] = True
    return np.asarray(taken[unit])


def _choose_units(
    counts: NDArray[np.float64], kind: Rows, share: float, random: np.random.Generator
) -> Mask:
    """Units ``(G,)`` whose summed counts ``(G, K)`` come closest to the share of the total."""
    _, kind, many = np.unique(kind, return_inverse=True, return_counts=True)
    rank = rank_within(kind, None, random)
    expected = share * many
    sure = np.floor(expected + 1e-9).astype(np.int64)
    taken = np.asarray(rank < sure[kind])
    open_units = np.flatnonzero((rank == sure[kind]) & (expected - sure > 1e-9)[kind])
    if not len(open_units):
        return taken
    total = counts.sum(axis=0)
    weight = 1.0 / np.sqrt(np.maximum(total, 1.0))
    weight[-1] *= np.sqrt(max(counts.shape[1] - 1, 1))
    scaled = counts[open_units] * weight
    rest = (counts[taken].sum(axis=0) - share * total) * weight
    starts = 8 if len(open_units) <= 512 else 1
    chance = (expected - sure)[kind[open_units]]
    found = [_local_search(scaled, rest, chance, random) for _ in range(starts)]
    taken[open_units] = min(found, key=lambda pair: pair[0])[1]
    return taken


def _local_search(
    units: NDArray[np.float64],
    rest: NDArray[np.float64],
    chance: NDArray[np.float64],
    random: np.random.Generator,
) -> tuple[float, Mask]:
    """``(cost, chosen (G,))``: a subset of the units whose sum is near ``-rest``."""
    chosen = random.random(len(units)) < chance
    deviation = rest + units[chosen].sum(axis=0)
    norms = (units**2).sum(axis=1)
    gram = units @ units.T if len(units) <= 512 else None
    for _ in range(4 * len(units)):
        sign = np.where(chosen, -1.0, 1.0)
        gain = 2.0 * sign * (units @ deviation) + norms
        flips = [int(gain.argmin())]
        best = float(gain[flips[0]])
        if gram is not None and chosen.any() and not chosen.all():
            inside, outside = np.flatnonzero(chosen), np.flatnonzero(~chosen)
            swap = gain[inside, None] + gain[None, outside] - 2.0 * gram[np.ix_(inside, outside)]
            row, column = divmod(int(swap.argmin()), len(outside))
            if swap[row, column] < best:
                best, flips = float(swap[row, column]), [int(inside[row]), int(outside[column])]
        if best >= -1e-12:
            break
        deviation = deviation + (sign[flips, None] * units[flips]).sum(axis=0)
        chosen[flips] = ~chosen[flips]
    return float(deviation @ deviation), chosen


def _units(groups: NDArray[np.int64] | None, count: int) -> tuple[Rows, Rows]:
    """The unit of each row ``(N,)`` and the size of each unit ``(G,)``."""
    if groups is None:
        return np.arange(count), np.ones(count, np.int64)
    groups = groups.astype(np.int64).copy()
    alone = groups < 0
    groups[alone] = groups.max(initial=0) + 1 + np.arange(int(alone.sum()))
    _, unit, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return unit, sizes


def _bins(values: NDArray[np.float32]) -> Rows:
    """Bins ``(N, D)``, -1 unknown; fewer bins for vectors.

    Quantiles; of a number of few distinct values each is a bin, and where many images share a
    value, so that quantiles coincide, what lies below it and above it is apart.
    """
    count = BINS if values.shape[1] == 1 else max(2, round(BINS ** (1 / values.shape[1])))
    bins = np.full(values.shape, -1, np.int64)
    for column, numbers in enumerate(values.T):
        known = ~np.isnan(numbers)
        if known.any():
            bins[known, column] = _bins_of(numbers[known], count)
    return bins


def _bins_of(numbers: NDArray[np.float32], count: int) -> Rows:
    distinct = np.unique(numbers)
    if len(distinct) <= count:
        return np.asarray(np.searchsorted(distinct, numbers), np.int64)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, count + 1)[1:-1]))
    above: Rows = np.searchsorted(edges, numbers, side="right")
    if len(edges) == count - 1:
        return above
    below: Rows = np.searchsorted(edges, numbers)
    return np.asarray(np.unique(above + below, return_inverse=True)[1], np.int64)


def label_columns(target: Target) -> NDArray[np.float64]:
    """Counts to balance ``(N, K)``; none for identities and very many classes."""
    if target.kind == "labels":
        return np.nan_to_num(target.values.astype(np.float64))
    if target.kind == "number":
        bins = _bins(target.values)
        width = max(BINS, int(bins.max(initial=0)) + 1)
        return np.concatenate(
            [(bins[:, [d]] == np.arange(width)).astype(np.float64) for d in range(bins.shape[1])], 1
        )
    if target.kind == "identity" or len(target.names) > MAX_LABELS:
        return np.zeros((len(target.values), 0))
    one_hot = target.values[:, None] == np.arange(len(target.names))
    return np.asarray(one_hot, np.float64)


def strata_of(target: Target) -> Rows:
    """A number ``(N,)`` for each row, the same for rows that are balanced as one."""
    if target.values.ndim == 1:
        keys = target.values
    else:
        # float16 represents 0, 1, NaN and bin numbers exactly and keeps the rows short.
        table = _bins(target.values) if target.kind == "number" else target.values
        table = np.ascontiguousarray(table.astype(np.float16))
        keys = table.view(np.dtype((np.void, table.dtype.itemsize * table.shape[1])))[:, 0]
    return np.asarray(np.unique(keys, return_inverse=True)[1].reshape(-1), np.int64)


def rank_within(
    strata: Rows, groups: NDArray[np.int64] | None, random: np.random.Generator
) -> Rows:
    """Place ``(N,)`` of each row in a random order of its stratum; groups take turns."""
    noise = random.random(len(strata))
    turn = np.zeros(len(strata), np.int64)
    if groups is not None:
        unit, _ = _units(groups, len(strata))
        turn = _places(np.lexsort((noise, unit, strata)), strata * (unit.max(initial=0) + 1) + unit)
    return _places(np.lexsort((noise, turn, strata)), strata)


def _places(order: Rows, key: Rows) -> Rows:
    """Place of each row among those of its key, along an order sorted by key."""
    place = np.empty(len(order), np.int64)
    ordered = key[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(order)])
    place[order] = np.arange(len(order)) - np.repeat(starts, lengths)
    return place
