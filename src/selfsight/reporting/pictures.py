"""Pictures inside the page: data URIs of a bounded size, small images kept crisp."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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


def picture(pixels: NDArray[Any], largest: int = 128) -> Picture:
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


def sprites(
    thumbnails: NDArray[Any], most_bytes: int = 450_000, sides: Sequence[int] = (48, 32)
) -> Sprites:
    """Thumbnails ``(M, H, W, C)`` uint8 as one sheet, made smaller until it fits the bytes.

    Args:
        thumbnails: of one size.
        most_bytes: of the sheet as text.
        sides: longest sides in pixels that are tried first, the largest first.
    """
    for side, quality in (*((side, 85) for side in sides), (32, 65), (24, 60), (16, 50)):
        sheet = _sheet(thumbnails, side, quality)
        if len(sheet.uri) <= most_bytes:
            break
    return sheet


def _sheet(thumbnails: NDArray[Any], side: int, quality: int = 85) -> Sprites:
    count, height, width = thumbnails.shape[:3]
    share = min(1.0, side / max(height, width))
    small = (max(1, round(width * share)), max(1, round(height * share)))
    columns = max(1, math.ceil(math.sqrt(count)))
    rows = max(1, math.ceil(count / columns))
    sheet = Image.new("RGB", (columns * small[0], rows * small[1]))
    for at, pixels in enumerate(thumbnails):
        image = _image(pixels).convert("RGB")
        if image.size != small:
            image = image.resize(small, Image.Resampling.LANCZOS)
        sheet.paste(image, (at % columns * small[0], at // columns * small[1]))
    uri = _uri(sheet, lossless=max(height, width) <= 16, quality=quality)
    return Sprites(uri, columns, rows, *small, crisp=max(height, width) <= CRISP_BELOW)


def read_pictures(path: Path) -> dict[int, NDArray[np.uint8]]:
    """Row -> ``(h, w, 1 or 3)`` of a ``pictures.npz``; empty where there is none.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(zip(file["rows"].tolist(), file["images"], strict=True))
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"{path} is damaged and cannot be read: {error}") from None


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


def _uri(image: Image.Image, lossless: bool, quality: int = 85) -> str:
    """PNG where every pixel is looked at, JPEG elsewhere."""
    if lossless:
        content, form = _encoded(image, "PNG", optimize=True), "png"
    else:
        content, form = _encoded(image, "JPEG", quality=quality), "jpeg"
    return f"data:image/{form};base64,{base64.b64encode(content).decode()}"


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
