"""Mean and standard deviation of each channel, in unit scale."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from selfsight.console import counted
from selfsight.data.imageset import ImageSet
from selfsight.data.pixels.lazy import LazyPixels
from selfsight.data.pixels.store import fingerprint, noted

CHUNK_BYTES = 16 << 20
SCALES = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}


@dataclass(frozen=True)
class Statistics:
    """What normalisation needs, one number a channel, in unit scale.

    Unit scale is uint8 over 255, uint16 over 65535, float32 as it is.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


def channel_statistics(images: ImageSet, rows: NDArray[np.int64]) -> Statistics:
    """Statistics over all pixels of the rows, in float64, a chunk at a time.

    Those of images that are decoded anew at each reading are kept in the cache folder. A channel
    that is constant gets the smallest step of its type as standard deviation (1 for float32), so
    that nothing is divided by 0.

    Raises:
        ValueError: no rows, or pixels that are not finite.
    """
    if not len(rows):
        raise ValueError(f"{images.name}: there are no images to take the channel statistics of.")
    pixels: object = images.pixels
    if isinstance(pixels, LazyPixels) and pixels.content is not None:
        name = fingerprint(["statistics", images.fingerprint(rows)])
        kept = noted(name, lambda: asdict(_measured(images, rows)))
        return Statistics(tuple(kept["mean"]), tuple(kept["std"]))
    return _measured(images, rows)


def _measured(images: ImageSet, rows: NDArray[np.int64]) -> Statistics:
    size = max(1, CHUNK_BYTES // (8 * int(np.prod(images.pixels.shape[1:]))))
    count = 0
    mean = np.zeros(images.channels)
    squares = np.zeros(images.channels)
    damaged: list[int] = []
    for first in range(0, len(rows), size):
        here = rows[first : first + size]
        pixels = images.pixels[here]
        if pixels.dtype.kind == "f":
            damaged += here[~np.isfinite(pixels).all(axis=(1, 2, 3))].tolist()
        if damaged:  # what is left is only counted
            continue
        values = pixels.reshape(-1, images.channels).astype(np.float64)
        # Chan et al.: merging centred sums stays exact where sums of squares would cancel.
        part_mean = values.mean(axis=0)
        part_squares = ((values - part_mean) ** 2).sum(axis=0)
        shift = part_mean - mean
        total = count + len(values)
        mean += shift * len(values) / total
        squares += part_squares + shift**2 * count * len(values) / total
        count = total
    if damaged:
        what = counted(len(damaged), "image has", "images have")
        raise ValueError(
            f"{images.name}: {what} pixels that are NaN or infinite, the first is "
            f"{images.row_ids[damaged[0]]}; --nodata nan fills them with "
            "the mean of the image, or replace them first."
        )
    scale = SCALES[images.pixels.dtype.name]
    std = np.sqrt(squares / count) / scale
    if images.pixels.dtype == np.float32:
        std = np.where(std <= 1e-6 * np.abs(mean), 1.0, std)
    else:
        std = np.maximum(std, 1.0 / scale)
    return Statistics(tuple((mean / scale).tolist()), tuple(std.tolist()))
