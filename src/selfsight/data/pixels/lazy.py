"""Pixels that are decoded when they are asked for: encoded images that read like an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.content import Content
from selfsight.data.pixels.decode import decode
from selfsight.data.pixels.headers import Batches, each
from selfsight.data.pixels.plan import DecodePlan


class LazyPixels:
    """Encoded images as ``(N, H, W, C)``; reading rows decodes them with a pool of threads.

    It has the part of an array's interface that the package uses: ``shape``, ``dtype``, ``len``,
    indexing along the first axis, ``take`` and ``np.asarray`` (which decodes everything).

    Args:
        batches: ascending rows of the source -> encoded images.
        rows: ``(N,)`` of the source, ascending.
        wanted: size, channels and type.
        row_ids: of the whole source, for messages.
        settle: decodes rows for good and says which cannot be read; None: that is done.

    Attributes:
        given: splits of the whole source as it gave them, or None; `settled` reads it.
        content: of these rows, where a pass over them has been made.
    """

    ndim = 4

    def __init__(
        self,
        batches: Batches,
        rows: NDArray[np.int64],
        wanted: DecodePlan,
        row_ids: NDArray[np.str_],
        settle: Callable[[NDArray[np.int64]], Any] | None = None,
    ) -> None:
        self.batches, self.rows, self.wanted, self.row_ids = batches, rows, wanted, row_ids
        self.settle = settle
        self.dtype = wanted.dtype
        self.given: NDArray[np.str_] | None = None
        self.content: Content | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.rows), *self.wanted.shape)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, chosen: NDArray[Any]) -> LazyPixels:
        """Some of the images, still undecoded."""
        rows = self.rows[chosen]
        part = LazyPixels(self.batches, rows, self.wanted, self.row_ids, self.settle)
        part.given = self.given
        part.content = None if self.content is None else self.content.take(chosen)
        return part

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Decoded images; a tuple indexes further axes.

        Raises:
            ValueError: one of them cannot be read.
        """
        first, *rest = key if isinstance(key, tuple) else (key,)
        wanted = np.asarray(self.rows[first])
        distinct, place = np.unique(wanted.reshape(-1), return_inverse=True)
        pixels = np.empty((len(distinct), *self.wanted.shape), self.dtype)
        images = each(
            lambda encoded: decode(encoded, self.wanted),
            self.batches(distinct),
            self.wanted.options.max_pixels,
        )
        for i, (row, image) in enumerate(zip(distinct.tolist(), images, strict=True)):
            if isinstance(image, str):
                raise ValueError(
                    f"{self.row_ids[row]} cannot be read ({image}); open the images with "
                    "decode=True, which leaves such ones out."
                )
            pixels[i] = image
        found: NDArray[Any] = pixels[place.reshape(wanted.shape)]
        return found[(slice(None),) * wanted.ndim + tuple(rest)] if rest else found

    def take(self, indices: Any, axis: int = 0, **_: Any) -> NDArray[Any]:
        assert axis == 0
        return self[np.asarray(indices)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


def waiting(pixels: Any) -> LazyPixels | None:
    """The pixels, where they are encoded images that nobody has settled yet."""
    return pixels if isinstance(pixels, LazyPixels) and pixels.settle is not None else None
