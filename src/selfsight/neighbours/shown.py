"""Images of an index as a page shows them; their pictures are bounded in bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selfsight.markup import picture_uri
from selfsight.neighbours.index import Index
from selfsight.neighbours.pictures import CRISP
from selfsight.records.drift import ShownImage
from selfsight.records.labelling import ShownPicture
from selfsight.records.neighbours import ShownPair

PICTURE_BYTES = 4_000_000
"""Of a page; further images are shown by name."""
PICTURED = 24
"""Pairs of a kind that a page shows."""


class Gallery:
    """Pictures and words of the images of a page.

    Attributes:
        left_out: pictures that the page had no room for.
    """

    def __init__(self, index: Index) -> None:
        self.index = index
        self.left_out = 0
        self._bytes = 0

    def images(self, places: Sequence[int], words: Sequence[str]) -> tuple[ShownImage, ...]:
        """Images of the index, with a word about each."""
        kept = self.index.pictures
        pictures = {} if kept is None or not places else kept.at(places)
        rows = self.index.rows
        return tuple(
            ShownImage(
                name=rows["row_id"][place].as_py(),
                label=rows["label"][place].as_py() or "",
                split=(rows["split"][place].as_py() or "") if rows["seen"][place].is_valid else "",
                words=word,
                picture=self._picture(pictures.get(place)),
            )
            for place, word in zip(places, words, strict=True)
        )

    def pairs(
        self, places: NDArray[np.int64], cosines: NDArray[np.float64]
    ) -> tuple[ShownPair, ...]:
        """Pairs ``(P, 2)`` of images of the index, with their cosines."""
        return tuple(
            ShownPair(self.images(pair, ["", ""]), cosine)
            for pair, cosine in zip(places.tolist(), cosines.tolist(), strict=True)
        )

    def query(self, name: str, content: bytes | None) -> ShownImage:
        """A query: an image of the index, or another."""
        place = self.index.places.get(name)
        label = None if place is None else self.index.rows["label"][place].as_py()
        return ShownImage(name, label or "", "", "query", self._picture(content))

    def _picture(self, content: bytes | None) -> ShownPicture | None:
        if content is None:
            return None
        if self._bytes > PICTURE_BYTES:
            self.left_out += 1
            return None
        picture = shown_picture(content)
        self._bytes += len(picture.uri)
        return picture


def shown_picture(content: bytes) -> ShownPicture:
    """An encoded picture as a page shows it."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
    return ShownPicture(picture_uri(content), width, height, max(width, height) <= CRISP)
