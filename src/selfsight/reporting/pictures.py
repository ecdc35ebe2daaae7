"""Pictures inside the page: data URIs of a bounded size, small images kept crisp."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CRISP_BELOW = 72
"""Images with a longer side than this many pixels are photographs to the browser."""


@dataclass(frozen=True)
class Picture:
    """A picture for an ``img`` element: its data URI, its shape, whether pixels stay square."""

    uri: str
    width: int
    height: int
    crisp: bool


@dataclass(frozen=True)
class Sprites:
    """Thumbnails in one picture, row by row; each ``width`` x ``height`` pixels."""

    uri: str
    columns: int
    rows: int
    width: int
    height: int
    crisp: bool


def picture(pixels: NDArray[Any], largest: int = 160) -> Picture:
    """One image ``(H, W, C)`` uint8, at most ``largest`` pixels on its longer side."""
    image = _image(pixels)
    if max(image.size) > largest:
        share = largest / max(image.size)
        image = image.resize(
            (max(1, round(image.width * share)), max(1, round(image.height * share))),
            Image.Resampling.LANCZOS,
        )
    crisp = max(pixels.shape[:2]) <= CRISP_BELOW
    return Picture(_uri(image, lossless=crisp), image.width, image.height, crisp)


def sprites(thumbnails: NDArray[Any], side: int = 48) -> Sprites:
    """Thumbnails ``(M, H, W, C)`` uint8 as one sheet, each at most ``side`` pixels."""
    count, height, width = thumbnails.shape[:3]
    share = min(1.0, side / max(height, width))
    small = (max(1, round(width * share)), max(1, round(height * share)))
    columns = max(1, min(count, math.ceil(math.sqrt(count))))
    rows = max(1, math.ceil(count / columns))
    sheet = Image.new("RGB", (columns * small[0], rows * small[1]))
    for at, pixels in enumerate(thumbnails):
        image = _image(pixels).convert("RGB")
        if image.size != small:
            image = image.resize(small, Image.Resampling.LANCZOS)
        sheet.paste(image, (at % columns * small[0], at // columns * small[1]))
    tiny = max(small) <= 16
    uri = _uri(sheet, lossless=tiny)
    return Sprites(uri, columns, rows, *small, crisp=max(height, width) <= CRISP_BELOW)


def _image(pixels: NDArray[Any]) -> Image.Image:
    """One channel is grey, two are red and green, of more than three the first three are shown."""
    pixels = np.asarray(pixels, np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    channels = pixels.shape[2]
    if channels == 1:
        return Image.fromarray(pixels[..., 0])
    if channels == 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=2)
    return Image.fromarray(np.ascontiguousarray(pixels[..., :3]))


def _uri(image: Image.Image, lossless: bool) -> str:
    """PNG where every pixel is looked at, JPEG where that is several times smaller."""
    best = _encoded(image, "PNG", optimize=True)
    if not lossless:
        jpeg = _encoded(image, "JPEG", quality=85)
        if len(jpeg) < 0.8 * len(best):
            return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    return f"data:image/png;base64,{base64.b64encode(best).decode()}"


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
