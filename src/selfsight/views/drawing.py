"""The random parameters of a view: one draw for each image, a function of its key.

Every parameter has its own column of `uniform`, whatever the view asks for, so that changing one
setting leaves the other draws as they were.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from selfsight.draws import normal, uniform
from selfsight.views.settings import View

TRIES = 10
"""Crops drawn for each image, of which the first that fits is taken."""
WHOLE_PIXELS = 16
"""Up to this side a crop is not rounded to whole pixels: there would be too few different ones."""
FIRST_STREAM, STREAMS_PER_VIEW = 1024, 8
"""View ``i`` draws from streams ``1024 + 8 i`` on; methods have those below."""

BOX, PLACE, MIRROR, AFFINE, COLOR, LATER, COLUMNS = 0, 20, 22, 25, 27, 36, 41


@dataclass(frozen=True)
class Parameters:
    """What was drawn for a batch; all tensors start with the batch.

    Attributes:
        boxes: ``(B, 4)`` top, left, height, width, pixels of the image.
        flips: ``(B, 2)`` bool, left-right and top-bottom, applied before `transposed`.
        transposed: ``(B,)`` bool: rows and columns are exchanged (odd quarter turns).
        angle: ``(B,)`` degrees.
        shear: ``(B,)`` degrees.
        order: ``(B, 3)`` order of brightness 0, contrast 1, saturation 2.
        hue_at: ``(B,)`` how many of these three come before the hue.
        factors: ``(B, 3)`` of brightness, contrast, saturation; 1 where there is no colour change.
        turn: ``(B,)`` of the hue; 0 where there is no colour change.
        colored: ``(B,)`` bool: whether the colour changes.
        grayscale: ``(B,)`` bool.
        blurred: ``(B,)`` bool.
        sigma: ``(B,)`` pixels, of the blur.
        solarized: ``(B,)`` bool.
        noise: ``(B,)`` standard deviation, in those of the channel.
        table: ``(B,)`` in [0, 1): where in the table of noise the image starts.
    """

    boxes: Tensor
    flips: Tensor
    transposed: Tensor
    angle: Tensor
    shear: Tensor
    order: Tensor
    hue_at: Tensor
    factors: Tensor
    turn: Tensor
    colored: Tensor
    grayscale: Tensor
    blurred: Tensor
    sigma: Tensor
    solarized: Tensor
    noise: Tensor
    table: Tensor


def draw(view: View, keys: Tensor, index: int, height: int, width: int) -> Parameters:
    """The parameters of view number ``index`` for images with these keys.

    Args:
        view: what is asked for.
        keys: ``(B,)`` int64.
        index: of the view among the views of a step: each has its own draws.
        height: of the images, pixels.
        width: of the images, pixels.
    """
    draws = uniform(keys, FIRST_STREAM + STREAMS_PER_VIEW * index, COLUMNS)
    flips, transposed = _flips(view, draws[:, MIRROR : MIRROR + 3])
    affine = 2.0 * draws[:, AFFINE : AFFINE + 2] - 1.0
    color = draws[:, COLOR : COLOR + 9]
    colored = color[:, 0] < view.color
    factors = torch.stack(
        [
            _between(color[:, 5 + i], max(0.0, 1.0 - strength), 1.0 + strength)
            for i, strength in enumerate((view.brightness, view.contrast, view.saturation))
        ],
        1,
    )
    turn = _between(color[:, 8], -view.hue, view.hue)
    later = draws[:, LATER : LATER + 5]
    return Parameters(
        boxes=_boxes(view, draws[:, BOX : BOX + 22], height, width),
        flips=flips,
        transposed=transposed,
        angle=affine[:, 0] * view.rotation,
        shear=affine[:, 1] * view.shear,
        order=color[:, 1:4].argsort(1),
        hue_at=(color[:, 4] * 4).long(),
        factors=torch.where(colored[:, None], factors, 1.0),
        turn=torch.where(colored, turn, 0.0),
        colored=colored,
        grayscale=later[:, 0] < view.grayscale,
        blurred=later[:, 1] < view.blur,
        sigma=_between(later[:, 2], *view.blur_sigma),
        solarized=later[:, 3] < view.solarize,
        noise=later[:, 4] * view.noise,
        table=uniform(keys, FIRST_STREAM + STREAMS_PER_VIEW * index + 1, 1)[:, 0],
    )


def draw_channels(view: View, keys: Tensor, index: int, channels: int) -> tuple[Tensor, Tensor]:
    """Factor and offset ``(B, C)`` of each channel of standardised images.

    The factor is log-normal, ``exp(gain n)``, so that it never turns a channel round; a channel
    that is dropped has factor and offset 0, its mean. If all would be dropped, one is kept.
    """
    stream = FIRST_STREAM + STREAMS_PER_VIEW * index + 2
    draws = normal(keys, stream, 2 * channels)
    factor = torch.exp(view.gain * draws[:, :channels])
    offset = view.offset * draws[:, channels:]
    chance = uniform(keys, stream + 1, channels)
    kept = (chance >= view.channel_dropout) | (chance == chance.amax(1, keepdim=True))
    return torch.where(kept, factor, 0.0), torch.where(kept, offset, 0.0)


def _boxes(view: View, draws: Tensor, height: int, width: int) -> Tensor:
    """Crops as torchvision's RandomResizedCrop draws them, without its loop.

    All ten tries (area uniform, ratio log-uniform) are drawn at once and the first that fits is
    taken. If none fits, the last one is cut down to the image.
    """
    if view.crop_scale is None:
        whole = draws.new_tensor([0.0, 0.0, height, width])
        return whole.expand(len(draws), 4)
    low, high = (math.log(ratio) for ratio in view.crop_ratio)
    area = _between(draws[:, :TRIES], *view.crop_scale) * (height * width)
    ratio = torch.exp(_between(draws[:, TRIES : 2 * TRIES], low, high))
    sides = torch.stack([torch.sqrt(area / ratio), torch.sqrt(area * ratio)], 1)
    whole_pixels = max(height, width) > WHOLE_PIXELS
    if whole_pixels:
        sides = sides.round()
    limits = sides.new_tensor([height, width])
    fits = ((sides <= limits[:, None]) & (sides > 0)).all(1)
    fits[:, -1] = True
    first = fits.to(torch.uint8).argmax(1)
    side = sides.gather(2, first[:, None, None].expand(-1, 2, 1))[:, :, 0]
    side = torch.minimum(side.clamp(min=1.0), limits)
    room = limits - side
    corner = draws[:, PLACE : PLACE + 2] * (room + 1 if whole_pixels else room)
    if whole_pixels:
        corner = torch.minimum(corner.floor(), room)
    return torch.cat([corner, side], 1)


def _flips(view: View, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Mirrors before a transposition, and the transposition: any flip and quarter turn."""
    across, down = draws[:, 0] < view.flip, draws[:, 1] < view.vertical_flip
    if not view.quarter_turns:
        return torch.stack([across, down], 1), torch.zeros_like(across)
    turns = (draws[:, 2] * 4).long()
    odd = (turns == 1) | (turns == 3)
    across, down = across ^ (turns >= 2), down ^ ((turns == 1) | (turns == 2))
    before = torch.where(odd, down, across), torch.where(odd, across, down)
    return torch.stack(before, 1), odd


def _between(draws: Tensor, low: float, high: float) -> Tensor:
    return low + draws * (high - low)
