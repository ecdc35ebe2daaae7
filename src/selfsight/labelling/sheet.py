"""The contact sheet: one PNG, and one HTML page that opens offline."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfsight.files import replacing, write_text

CELL, COLUMNS, CAPTION = 128, 8, 16


def displayed(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """``(n, H, W, C)`` of any type to ``(n, H, W, 3)`` bytes that can be looked at.

    Bytes stay as they are; other values are stretched from the first to the 99th percentile of
    each image. Of more than three channels the first three are shown, of two the first.
    """
    channels = pixels.shape[3]
    shown = pixels[..., :3] if channels >= 3 else pixels[..., :1]
    if shown.dtype != np.uint8:
        values = np.nan_to_num(shown.astype(np.float32))
        low, high = np.percentile(values, (1, 99), axis=(1, 2, 3), keepdims=True)
        scaled = (values - low) / np.maximum(high - low, 1e-12) * 255.0
        shown = np.clip(scaled, 0.0, 255.0).astype(np.uint8)
    if shown.shape[3] == 1:
        shown = np.repeat(shown, 3, axis=3)
    return np.ascontiguousarray(shown.astype(np.uint8))


def write_sheet(path: Path, images: NDArray[np.uint8]) -> None:
    """A PNG of all images in rows of eight, numbered from 1.

    Args:
        path: of the file.
        images: ``(n, H, W, 3)``.
    """
    from PIL import Image, ImageDraw

    rows = -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * CELL, rows * (CELL + CAPTION)), "white")
    pen = ImageDraw.Draw(sheet)
    for i, pixels in enumerate(images):
        left, top = i % COLUMNS * CELL, i // COLUMNS * (CELL + CAPTION)
        sheet.paste(_thumbnail(pixels), (left + 2, top + CAPTION))
        pen.text((left + 4, top + 2), str(i + 1), fill="black")
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")


def write_page(
    path: Path,
    images: NDArray[np.uint8],
    row_ids: Sequence[str],
    reasons: Sequence[str],
    about: str,
) -> None:
    """A page of the images with row id and reason, in the order of ``labels.csv``."""
    figures = []
    for i, pixels in enumerate(images):
        buffer = io.BytesIO()
        _thumbnail(pixels).save(buffer, format="PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
        figures.append(
            f'<figure><img alt="" src="data:image/png;base64,{data}"><figcaption>{i + 1}. '
            f"<b>{html.escape(row_ids[i])}</b><br>{html.escape(reasons[i])}</figcaption></figure>"
        )
    write_text(
        path,
        "<!doctype html><html lang=en><meta charset=utf-8><title>Images to label</title><style>"
        "body{font:14px sans-serif;margin:24px}main{display:grid;gap:16px;grid-template-columns:"
        "repeat(auto-fill,minmax(150px,1fr))}figure{margin:0}figcaption{overflow-wrap:anywhere}"
        f"</style><h1>Images to label</h1><p>{html.escape(about)}</p><main>"
        + "\n".join(figures)
        + "</main></html>\n",
    )


def _thumbnail(pixels: NDArray[np.uint8]):  # type: ignore[no-untyped-def]
    """A Pillow image of at most the cell's size; small images are enlarged by whole pixels."""
    from PIL import Image

    image = Image.fromarray(pixels)
    side = max(image.size)
    factor = (CELL - 4) / side
    if factor >= 2:
        factor = int(factor)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    how = Image.Resampling.NEAREST if factor >= 2 else Image.Resampling.LANCZOS
    return image.resize(size, how)
