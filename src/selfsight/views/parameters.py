"""The random parameters of a view: one draw for each image, a function of its key.

Every parameter has its own column of `uniform`, whatever the view asks for, so that changing one
setting leaves the other draws as they were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from selfsight.draws import FIRST_VIEW_STREAM, normal, uniform
from selfsight.views.colors import constant
from selfsight.views.settings import View

TRIES = 10
"""Crops drawn for each image, of which the first that fits is taken, as in torchvision."""
WHOLE_PIXELS = 16
"""Up to this side a crop is not rounded to whole pixels: there would be too few different ones."""
STREAMS_PER_VIEW = 8
"""View ``i`` draws from streams ``FIRST_VIEW_STREAM + 8 i`` on."""

_CORNER = 2 * TRIES
"""The column after the tries."""
COLUMNS = _CORNER + 21
"""Uniform numbers of an image for a view. In order: areas and log-ratios of the tries, top, left,
left-right flip, top-bottom flip, quarter turns, angle, shear, colour or not, three whose order is
that of brightness, contrast and saturation, how many of these come before the hue, their three
factors, the turn of the hue, grayscale, blur, its sigma, solarisation, noise."""


@dataclass(frozen=True)
class Parameters:
    """What was drawn for a batch; all tensors start with the batch.

    Attributes:
        boxes: ``(B, 4)`` top, left, height, width, pixels of the image.
        flips: ``(B, 2)`` bool, left-right and top-bottom, applied before `transposed`.
        values: ``(B, COLUMNS)`` the numbers scaled to the ranges of the view.
        hits: ``(B, COLUMNS)`` bool, the numbers below the probabilities of the view.
        order: ``(B, 3)`` order of brightness 0, contrast 1, saturation 2.
        transposed: ``(B,)`` bool: rows and columns are exchanged (odd quarter turns).
        table: ``(B,)`` in [0, 1): where in the table of noise the image starts.
    """

    boxes: Tensor
    flips: Tensor
    values: Tensor
    hits: Tensor
    order: Tensor
    transposed: Tensor
    table: Tensor

    @property
    def angle(self) -> Tensor:
        """``(B,)`` degrees."""
        return self.values[:, _CORNER + 5]

    @property
    def shear(self) -> Tensor:
        """``(B,)`` degrees."""
        return self.values[:, _CORNER + 6]

    @property
    def colored(self) -> Tensor:
        """``(B,)`` bool: whether brightness, contrast, saturation and hue change."""
        return self.hits[:, _CORNER + 7]

    @property
    def hue_at(self) -> Tensor:
        """``(B,)`` in 0 to 3: how many of the other three come before the hue."""
        return self.values[:, _CORNER + 11].long()

    @property
    def factors(self) -> Tensor:
        """``(B, 3)`` of brightness, contrast, saturation."""
        return self.values[:, _CORNER + 12 : _CORNER + 15]

    @property
    def turn(self) -> Tensor:
        """``(B,)`` of the hue, a share of the circle."""
        return self.values[:, _CORNER + 15]

    @property
    def grayscale(self) -> Tensor:
        """``(B,)`` bool."""
        return self.hits[:, _CORNER + 16]

    @property
    def blurred(self) -> Tensor:
        """``(B,)`` bool."""
        return self.hits[:, _CORNER + 17]

    @property
    def sigma(self) -> Tensor:
        """``(B,)`` of the blur, pixels."""
        return self.values[:, _CORNER + 18]

    @property
    def solarized(self) -> Tensor:
        """``(B,)`` bool."""
        return self.hits[:, _CORNER + 19]

    @property
    def noise(self) -> Tensor:
        """``(B,)`` standard deviation, in those of the channel."""
        return self.values[:, _CORNER + 20]

    def take(self, rows: Tensor) -> Parameters:
        """The parameters of some images, in that order."""
        taken = {field.name: getattr(self, field.name)[rows] for field in fields(self)}
        return Parameters(**taken)


@dataclass(frozen=True)
class Wanted:
    """What is wanted of each image alike."""

    view: View
    size: int
    """Side of the result, pixels."""
    scale: float
    """From raw values to unit scale."""
    bounded: bool
    """Whether values are clamped to [0, 1]."""


def draw(
    view: View, keys: Tensor, indices: int | Sequence[int], height: int, width: int
) -> Parameters:
    """The parameters of views with these numbers for images with these keys.

    Args:
        view: what is asked for.
        keys: ``(B,)`` int64.
        indices: numbers among the views of a step: each has its own draws. Of several, the
            parameters are those of one after another, ``(len(indices) B, ...)``.
        height: of the images, pixels.
        width: of the images, pixels.
    """
    numbers = [indices] if isinstance(indices, int) else indices
    streams = [FIRST_VIEW_STREAM + STREAMS_PER_VIEW * index for index in numbers]
    draws = torch.cat([uniform(keys, stream, COLUMNS) for stream in streams])
    table = draws[:, 0]
    if view.noise:
        table = torch.cat([uniform(keys, stream + 1, 1)[:, 0] for stream in streams])
    low, high, chance = zip(*_ranges(view), strict=True)
    lowest = constant(low, draws)
    values = torch.addcmul(lowest, draws, constant(high, draws) - lowest)
    hits = draws < constant(chance, draws)
    flips, transposed = _flips(view, hits[:, _CORNER + 2 : _CORNER + 4], values[:, _CORNER + 4])
    return Parameters(
        boxes=_boxes(view, values[:, :_CORNER], draws[:, _CORNER : _CORNER + 2], height, width),
        flips=flips,
        values=values,
        hits=hits,
        order=draws[:, _CORNER + 8 : _CORNER + 11].argsort(1),
        transposed=transposed,
        table=table,
    )


def _ranges(view: View) -> list[tuple[float, float, float]]:
    """For each column its range and its probability, where it has one."""
    areas = view.crop_scale or (1.0, 1.0)
    ratios = math.log(view.crop_ratio[0]), math.log(view.crop_ratio[1])
    factors = [
        (max(0.0, 1.0 - strength), 1.0 + strength, 0.0)
        for strength in (view.brightness, view.contrast, view.saturation)
    ]
    unit = (0.0, 1.0)
    return [
        *[(*areas, 0.0)] * TRIES,
        *[(*ratios, 0.0)] * TRIES,
        *[(*unit, 0.0)] * 2,
        (*unit, view.flip),
        (*unit, view.vertical_flip),
        (0.0, 4.0, 0.0),
        (-view.rotation, view.rotation, 0.0),
        (-view.shear, view.shear, 0.0),
        (*unit, view.color),
        *[(*unit, 0.0)] * 3,
        (0.0, 4.0, 0.0),
        *factors,
        (-view.hue, view.hue, 0.0),
        (*unit, view.grayscale),
        (*unit, view.blur),
        (*view.blur_sigma, 0.0),
        (*unit, view.solarize),
        (0.0, view.noise, 0.0),
    ]


def draw_channels(view: View, keys: Tensor, index: int, channels: int) -> tuple[Tensor, Tensor]:
    """Factor and offset ``(B, C)`` of each channel of standardised images.

    The factor is log-normal, ``exp(gain n)``, so that it never turns a channel round; a channel
    that is dropped has factor and offset 0, its mean. If all would be dropped, one is kept.
    """
    stream = FIRST_VIEW_STREAM + STREAMS_PER_VIEW * index + 2
    draws = normal(keys, stream, 2 * channels)
    factor = torch.exp(view.gain * draws[:, :channels])
    offset = view.offset * draws[:, channels:]
    chance = uniform(keys, stream + 1, channels)
    kept = (chance >= view.channel_dropout) | (chance == chance.amax(1, keepdim=True))
    return torch.where(kept, factor, 0.0), torch.where(kept, offset, 0.0)


def blur_kernel(side: int) -> int:
    """Kernel size of the blur: the odd number at a tenth of the side (SimCLR), 3 at least."""
    return max(3, side // 10 // 2 * 2 + 1)


def _boxes(view: View, tries: Tensor, corner: Tensor, height: int, width: int) -> Tensor:
    """Crops as torchvision's RandomResizedCrop draws them, without its loop.

    Ten tries (area uniform, ratio log-uniform) are drawn at once and the first that fits is taken.
    If none does, as often in an elongated image, the crop is the largest central one whose ratio
    is in range: torchvision's fallback.
    """
    limits = constant((height, width), tries)
    if view.crop_scale is None:
        return torch.cat([0 * limits, limits]).expand(len(tries), 4)
    side = (tries[:, :TRIES] * (height * width)).sqrt()
    stretch = (0.5 * tries[:, TRIES:]).exp()
    sides = torch.stack([side / stretch, side * stretch], 2)
    whole_pixels = max(height, width) > WHOLE_PIXELS
    if whole_pixels:
        sides = sides.round()
    fits = (sides <= limits).all(2)
    first = fits.to(torch.uint8).argmax(1)
    box = sides.gather(1, first[:, None, None].expand(-1, 1, 2))[:, 0].clamp_min(1.0)
    central = constant(_largest(view, height, width, whole_pixels), tries)
    any_fits = fits.any(1, keepdim=True)
    box = torch.where(any_fits, box, central)
    room = limits - box
    corner = corner * (room + 1 if whole_pixels else room)
    if whole_pixels:
        corner = torch.minimum(corner.floor(), room)
    middle = (room / 2).floor() if whole_pixels else room / 2
    return torch.cat([torch.where(any_fits, corner, middle), box], 1)


def _largest(view: View, height: int, width: int, whole_pixels: bool) -> tuple[float, float]:
    """Height and width of the largest crop whose ratio is in the view's range."""
    low, high = view.crop_ratio
    if width / height < low:
        sides = (width / low, float(width))
    elif width / height > high:
        sides = (float(height), height * high)
    else:
        return float(height), float(width)
    if not whole_pixels:
        return sides
    return max(1.0, float(round(sides[0]))), max(1.0, float(round(sides[1])))


def _flips(view: View, mirrored: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
    """Mirrors before a transposition, and the transposition: any flip and quarter turn.

    Turning by k quarters is, for odd k, a transposition and then a mirror.
    """
    if not view.quarter_turns:
        return mirrored, torch.zeros_like(mirrored[:, 0])
    across, down = mirrored.unbind(1)
    quarters = turns.long()
    odd = (quarters == 1) | (quarters == 3)
    across, down = across ^ (quarters >= 2), down ^ ((quarters == 1) | (quarters == 2))
    before = torch.where(odd, down, across), torch.where(odd, across, down)
    return torch.stack(before, 1), odd
