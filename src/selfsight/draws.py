"""Random numbers as a function of keys.

Every draw of a view or a mask is ``uniform(keys, stream, n)``: a counter-based hash, so it is
the same on one process or many, on CPU or GPU, eager or compiled, with nothing to checkpoint.

Two uses of the same keys must not share a stream. The numbers are divided once and for all:

* `METHOD_STREAMS`, 0 to 1023, are reserved for methods: masks and whatever else a method draws from
  ``batch.keys``. A training has one method, so methods may use the same numbers as one another.
* `FIRST_VIEW_STREAM`, 1024, and above belong to the views.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
METHOD_STREAMS = range(1024)
"""Streams that are reserved for methods."""
FIRST_VIEW_STREAM = 1024
"""The views of a step draw from this stream on."""

Hashed = TypeVar("Hashed", int, Tensor)


def mix(values: Hashed) -> Hashed:
    """A 32-bit avalanche hash of the lowest 32 bits, of a number or elementwise of int64 tensors.

    The constants are the "lowbias32" mixer found by Chris Wellons' hash prospector; every product
    of a 32-bit and a 31-bit number fits an int64 after masking.
    """
    values = values & _MASK
    values = values ^ (values >> 16)
    values = (values * 0x21F0AAAD) & _MASK
    values = values ^ (values >> 15)
    values = (values * 0x735A2D97) & _MASK
    return values ^ (values >> 15)


def keys_of(seed: int, step: int, rows: Tensor) -> Tensor:
    """Keys ``(B,)`` int64 in [0, 2**62) for rows of the global batch at a step.

    Args:
        seed: the seed of the training.
        step: how many steps came before.
        rows: ``(B,)`` int64, positions in the batch over all processes.
    """
    # Two states of 32 bits, mixed apart: keys of two steps are alike where both are.
    first = second = 0
    for part in (seed & _MASK, (seed >> 32) & _MASK, step & _MASK, (step >> 32) & _MASK):
        first = mix(first ^ part) + 0x9E3779B9
        second = mix(second ^ mix(part + 0x85EBCA6B)) + 0x27D4EB2F
    low = mix(mix(rows.long() + first) ^ (second & _MASK))
    high = mix(mix(rows.long() + second) ^ mix(low))
    return (high >> 2 << 32) | low


def uniform(keys: Tensor, stream: int, n: int) -> Tensor:
    """Uniform float32 numbers ``(B, n)`` in [0, 1): a function of key, stream and column.

    Args:
        keys: ``(B,)`` int64, from `keys_of`.
        stream: which use of the keys, for a method one of `METHOD_STREAMS`; another number gives
            independent draws.
        n: numbers for each key.
    """
    column = torch.arange(n, device=keys.device, dtype=torch.int64)
    salt = mix(column * 0x2545F49 + mix(torch.full_like(column, stream * 0x632BE5AB + 1)))
    low, high = keys[:, None] & _MASK, keys[:, None] >> 32
    hashed = mix(mix(low ^ salt) ^ mix(high + salt))
    return (hashed >> 8).to(torch.float32) * (1.0 / (1 << 24))


def normal(keys: Tensor, stream: int, n: int) -> Tensor:
    """Standard normal float32 numbers ``(B, n)``, by Box and Muller from `uniform`."""
    draws = uniform(keys, stream, 2 * n)
    radius = torch.sqrt(-2.0 * torch.log1p(-draws[:, :n]))
    return radius * torch.cos(2.0 * torch.pi * draws[:, n:])


def permutation(seed: int, epoch: int, n: int) -> Tensor:
    """The order ``(n,)`` int64 in which an epoch visits its rows, on the CPU."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) & 0x7FFFFFFFFFFFFFFF)
    return torch.randperm(n, generator=generator)


def shuffles(seed: int, first: int, count: int, n: int) -> Tensor:
    """``count`` entries from ``first`` on, ``(count,)`` int64, of an endless row of permutations.

    Each of the n numbers comes once in every n entries that start at a multiple of n.

    Args:
        seed: of all of them.
        first: entries before the first one.
        count: entries wanted.
        n: numbers, from 0.
    """
    rounds = range(first // n, (first + count - 1) // n + 1)
    row = torch.cat([permutation(seed, index, n) for index in rounds])
    start = first - rounds.start * n
    return row[start : start + count]
