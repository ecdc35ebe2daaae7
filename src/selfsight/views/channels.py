"""What happens to each channel last: normalisation, gain, offset, dropout, and noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from selfsight.console import counted
from selfsight.draws import normal
from selfsight.views.colors import constant
from selfsight.views.parameters import draw_channels
from selfsight.views.settings import View

NOISE_NUMBERS = 1 << 20
"""Length of the table that noise is read from, at a place of each image's own."""

_tables: dict[torch.device, Tensor] = {}


ChannelMap = tuple[Tensor, Tensor]
"""Factor and offset of each channel, ``(B, C)`` or ``(1, C)``."""


class ChannelStatistics(Protocol):
    """Mean and standard deviation of each channel, unit scale."""

    @property
    def mean(self) -> Sequence[float]: ...

    @property
    def std(self) -> Sequence[float]: ...


def check_channels(images: Tensor, statistics: ChannelStatistics) -> None:
    """Raises ValueError where the images are no batch of the channels of the statistics."""
    if images.ndim != 4 or images.shape[1] != len(statistics.mean):
        raise ValueError(
            f"images are {tuple(images.shape)}; they must be (B, C, H, W) with the "
            f"{counted(len(statistics.mean), 'channel')} of the statistics."
        )


def channel_map(
    view: View, keys: Tensor, index: int, statistics: ChannelStatistics, like: Tensor
) -> ChannelMap:
    """What normalises, with the gain, offset and dropout of view number ``index`` in it."""
    std = constant(statistics.std, like)
    factor, offset = (1 / std)[None], (-constant(statistics.mean, like) / std)[None]
    if view.gain or view.offset or view.channel_dropout:
        gain, shift = draw_channels(view, keys, index, len(statistics.mean))
        factor, offset = factor * gain, offset * gain + shift
    return factor, offset


def joined(maps: Sequence[ChannelMap]) -> ChannelMap:
    """The maps of several batches after one another; one that is of all images stays so."""
    if len(maps) == 1 or len(maps[0][0]) == 1:
        return maps[0]
    return torch.cat([factor for factor, _ in maps]), torch.cat([offset for _, offset in maps])


def noise(place: Tensor, like: Tensor) -> Tensor:
    """Standard normal numbers as ``like``, read from one table from ``place`` in [0, 1) on."""
    count = like[0].numel()
    table = noise_table(place.device, count)
    start = noise_start(place)
    return table[start[:, None] + torch.arange(count, device=place.device)].view(like.shape)


def noise_start(place: Tensor) -> Tensor:
    """Where in the table an image starts, ``(B,)`` int64."""
    return (place * NOISE_NUMBERS).long()


def noise_table(device: torch.device, count: int) -> Tensor:
    """The table, repeated so that ``count`` numbers can be read from anywhere in it."""
    repeats = 2 + count // NOISE_NUMBERS
    if torch.compiler.is_compiling():
        return _numbers(device).repeat(repeats)
    table = _tables.get(device)
    if table is None or len(table) < repeats * NOISE_NUMBERS:
        table = _tables[device] = _numbers(device).repeat(repeats)
    return table


def _numbers(device: torch.device) -> Tensor:
    return normal(torch.arange(NOISE_NUMBERS, device=device), 0, 1)[:, 0]
