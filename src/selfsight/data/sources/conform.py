"""Pixel arrays brought to a size, a number of channels and a type."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.data.sources.listing import Listing, Loaded, Size

CHUNK = 256
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
TOP = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}


def list_set(images: ImageSet) -> Listing:
    """An image set that is there already, as a source."""

    def load(rows: NDArray[np.int64], size: Size, max_unreadable: float) -> Loaded:
        whole = len(rows) == len(images)
        return Loaded(resized(images.pixels if whole else images.pixels[rows], size), rows)

    return Listing(
        name=images.name,
        row_ids=images.row_ids,
        splits=images.splits,
        load=load,
        targets=images.targets,
        groups=images.groups,
        group_name=images.group_name,
        mirrored=images.mirrored,
        notes=images.notes,
    )


def made_like(images: ImageSet, like: ImageSet) -> ImageSet:
    """The images with the channels and the type of another set: grey <-> RGB, 8 <-> 16 bits.

    Raises:
        ValueError: there is no such conversion between their channels.
    """
    pixels, notes = images.pixels, []
    if images.channels != like.channels:
        if {images.channels, like.channels} != {1, 3}:
            raise ValueError(
                f"{images.name} has {images.channels} channels and {like.name} has "
                f"{like.channels}: they cannot be used together."
            )
        if like.channels == 3:
            pixels = np.repeat(pixels, 3, axis=3)
        else:
            grey = [_grey(pixels[i : i + CHUNK]) for i in range(0, len(pixels), CHUNK)]
            pixels = np.concatenate(grey)
        notes.append(f"Its {images.channels} channels were made {like.channels}, as {like.name}.")
    if pixels.dtype != like.pixels.dtype:
        factor = TOP[like.pixels.dtype.name] / TOP[pixels.dtype.name]
        notes.append(f"Its {pixels.dtype} values were made {like.pixels.dtype}, as {like.name}.")
        scaled = pixels.astype(np.float32) * factor
        if like.pixels.dtype != np.float32:
            scaled = np.clip(scaled.round(), 0, TOP[like.pixels.dtype.name])
        pixels = scaled.astype(like.pixels.dtype)
    return replace(images, pixels=pixels).with_notes(*notes)


def _grey(pixels: NDArray[Any]) -> NDArray[Any]:
    values = pixels.astype(np.float32) @ LUMA
    return (values if pixels.dtype == np.float32 else values.round()).astype(pixels.dtype)[
        ..., None
    ]


def resized(pixels: NDArray[Any], size: Size) -> NDArray[Any]:
    """``(N, H, W, C)`` brought to a size: short side resized with antialiasing, centre-cropped."""
    height, width = (size, size) if isinstance(size, int) else size or pixels.shape[1:3]
    if (height, width) == pixels.shape[1:3]:
        return pixels
    import torch
    from torch.nn.functional import interpolate

    scale = max(height / pixels.shape[1], width / pixels.shape[2])
    inner = max(height, round(pixels.shape[1] * scale)), max(width, round(pixels.shape[2] * scale))
    top, left = (inner[0] - height) // 2, (inner[1] - width) // 2
    out = np.empty((len(pixels), height, width, pixels.shape[3]), pixels.dtype)
    for first in range(0, len(pixels), CHUNK):
        part = torch.from_numpy(pixels[first : first + CHUNK].astype(np.float32))
        part = part.permute(0, 3, 1, 2)
        part = interpolate(part, inner, mode="bilinear", antialias=True, align_corners=False)
        values = part[..., top : top + height, left : left + width].permute(0, 2, 3, 1).numpy()
        if pixels.dtype != np.float32:
            values = np.clip(values.round(), 0, np.iinfo(pixels.dtype).max)
        out[first : first + CHUNK] = values.astype(pixels.dtype)
    return out
