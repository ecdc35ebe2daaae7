"""The contact sheet: one PNG of all images that were suggested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfsight.files import replacing

CELL, COLUMNS, CAPTION = 128, 8, 16


def write_sheet(path: Path, images: NDArray[np.uint8]) -> None:
    """A PNG of all images in rows of eight, numbered from 1.

    Args:
        path: of the file.
        images: ``(n, H, W, 1 or 3)``.
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


def _thumbnail(pixels: NDArray[np.uint8]):  # type: ignore[no-untyped-def]
    """A Pillow image of at most the cell's size; small images are enlarged by whole pixels."""
    from PIL import Image

    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    side = max(image.size)
    factor = (CELL - 4) / side
    if factor >= 2:
        factor = int(factor)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    how = Image.Resampling.NEAREST if factor >= 2 else Image.Resampling.LANCZOS
    return image.resize(size, how)
