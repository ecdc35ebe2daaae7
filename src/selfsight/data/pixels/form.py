"""Decoded images in the form of a plan: its channels, its value scale, its height and width."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.header import Header
from selfsight.data.pixels.headers import Coloured
from selfsight.data.pixels.plan import DecodePlan, factor_of
from selfsight.data.pixels.resize import resized
from selfsight.data.pixels.values import converted, fill_nodata

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def finished(header: Header, image: Any, wanted: DecodePlan) -> NDArray[Any]:
    """``(H, W, C)`` in the wanted form, of what `read_pixels` gives.

    Raises:
        ValueError: other channels, or a type that does not say what its values mean.
        Coloured: the image is coloured where grey ones are expected.
    """
    form = wanted.coloured
    if isinstance(image, np.ndarray):
        values = _fitted_values(_to_form(image, header, form), form)
    else:
        values = _fitted(image, form)
    if not wanted.grey:
        return values
    if not equal_channels(values):
        raise Coloured
    return values[..., :1]


def _to_form(values: NDArray[Any], header: Header, wanted: DecodePlan) -> NDArray[Any]:
    """``(H, W, C)`` of a file's own type in the channels and the value scale that are wanted."""
    options = wanted.options
    if values.shape[2] != wanted.channels:
        if {values.shape[2], wanted.channels} != {1, 3}:
            raise ValueError(
                f"{values.shape[2]} channels of {header.type}, where most have {wanted.channels}"
            )
        values = grey(values) if wanted.channels == 1 else np.repeat(values, 3, axis=2)
    factor, shift = factor_of(header, wanted)
    return converted(fill_nodata(values, options.nodata), wanted.dtype, factor, shift)


def grey(values: NDArray[Any]) -> NDArray[Any]:
    """``(..., 3)`` to ``(..., 1)``, by luma (ITU-R BT.601); the type is kept."""
    luma = values.astype(np.float32) @ LUMA
    return (luma if values.dtype.kind == "f" else luma.round()).astype(values.dtype)[..., None]


def _fitted_values(values: NDArray[Any], wanted: DecodePlan) -> NDArray[Any]:
    """``(H, W, C)`` of the wanted type, resized on its short side and centre-cropped."""
    from PIL import Image

    if values.shape == wanted.shape:
        return values
    if wanted.channels not in (1, 3):
        one: NDArray[Any] = resized(values[None], (wanted.height, wanted.width))[0]
        return one
    if values.dtype == np.uint8:
        picture = Image.fromarray(values if values.shape[2] == 3 else values[..., 0])
        return _fitted(picture, wanted)
    single = replace(wanted, channels=1)
    planes = [
        _fitted(Image.fromarray(np.ascontiguousarray(values[..., c], np.float32)), single)
        for c in range(values.shape[2])
    ]
    return np.concatenate(planes, axis=2)


def _fitted(image: Any, wanted: DecodePlan) -> NDArray[Any]:
    from PIL import Image

    height, width = wanted.height, wanted.width
    if image.size != (width, height):
        scale = max(height / image.height, width / image.width)
        size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
        if image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    values = np.asarray(image)
    if wanted.dtype == np.uint16:
        values = np.clip(values.round(), 0, 65535).astype(np.uint16)
    return values.reshape(wanted.shape)


def equal_channels(values: NDArray[Any]) -> bool:
    return bool((values == values[..., :1]).all())
