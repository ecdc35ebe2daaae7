"""From tiles back to images: one prediction, one representation, one label for each image.

Probabilities of a class, numbers and representations are the mean over the tiles of an image;
probabilities of several labels the maximum, since a defect is on one tile and not on the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.data.imageset import ImageSet, TargetKind
from selfsight.fitting.representations import Representations

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Pooling:
    """Which rows of an image set are one image.

    Attributes:
        image: ``(N,)`` a number for the image of each row.
        tiles: whether there are any tiles; where not, everything here gives its argument back.
    """

    image: Rows
    tiles: bool

    @classmethod
    def of(cls, images: ImageSet) -> Pooling:
        if images.tile_of is None:
            return cls.whole(len(images))
        return cls(np.unique(images.tile_of, return_inverse=True)[1].astype(np.int64), True)

    @classmethod
    def whole(cls, count: int) -> Pooling:
        """Each of so many rows is an image of its own."""
        return cls(np.arange(count), False)

    def heads(self, rows: Rows) -> Rows:
        """The first row of each image among ``rows`` (ascending), which stands for it."""
        return rows[np.sort(np.unique(self.image[rows], return_index=True)[1])]

    def all_of(self, heads: Rows, rows: Rows) -> Rows:
        """Those of ``rows`` whose image has a row among ``heads``."""
        return rows[np.isin(self.image[rows], self.image[heads])] if self.tiles else heads

    def pooled(
        self, rows: Rows, output: NDArray[np.float32], kind: TargetKind
    ) -> NDArray[np.float32]:
        """``(M, K)`` of the rows to one for each of their `heads`."""
        if not self.tiles:
            return output
        place = self._place(rows)
        count = int(place.max()) + 1
        if kind == "labels":
            most = np.full((count, output.shape[1]), -np.inf, np.float32)
            np.maximum.at(most, place, output)
            return most
        sums = np.zeros((count, output.shape[1]), np.float64)
        np.add.at(sums, place, output)
        return (sums / np.bincount(place)[:, None]).astype(np.float32)

    def represented(self, found: Representations) -> Representations:
        """Means over the tiles of each image, at the rows of its heads."""
        if not self.tiles:
            return found
        values = self.means(found.rows, found.values)
        return replace(found, values=values, rows=self.heads(found.rows))

    def means(self, rows: Rows, values: Tensor) -> Tensor:
        """``(M, F)`` of the rows to their mean for each of their `heads`."""
        if not self.tiles:
            return values
        place = torch.from_numpy(self._place(rows)).to(values.device)
        sums = torch.zeros(int(place.max()) + 1, values.shape[1], device=values.device)
        sums.index_add_(0, place, values)
        return sums / torch.bincount(place)[:, None]

    def _place(self, rows: Rows) -> Rows:
        """For each row, which of the heads of ``rows`` stands for it."""
        heads = self.heads(rows)
        order = np.argsort(self.image[heads])
        at = np.searchsorted(self.image[heads], self.image[rows], sorter=order)
        return order[at].astype(np.int64)


def by_image(images: ImageSet) -> ImageSet:
    """The set with the row ids of the whole images, for what is written of each image."""
    return images if images.tile_of is None else replace(images, row_ids=images.tile_of)
