"""Further images for an index: which of them it has already, and how they are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from selfsight.console import counted, warn
from selfsight.data.imageset import ImageSet
from selfsight.fitting.novelty import lengths_of
from selfsight.neighbours.card import IndexCard
from selfsight.neighbours.encoder import Encoder
from selfsight.neighbours.exact import VectorsFile
from selfsight.neighbours.index import Index
from selfsight.neighbours.pictures import PicturesFile

PART = 2048
"""Vectors that are copied at once."""
SAMPLE = 64
"""Images that are represented first, where representations tell whether they are the same."""
SAME = 0.9
"""Share of the images from which on they are all of them copies of those in the index."""
TOLERANCE, ROUNDED = 1e-4, 5e-3
"""What the cosine of an image with itself may miss of 1: decoders and batches round differently,
and lists may keep a byte for each number."""
LENGTH = 1e-2
"""Share by which its representation may be longer or shorter."""

REMEDY = "give these images names of their own with --prefix, as in --prefix siteB"


def prefixed(names: NDArray[np.str_], prefix: str | None) -> NDArray[np.str_]:
    """Names with a prefix: ``#0`` becomes ``siteB#0``, ``a.png`` becomes ``siteB/a.png``.

    Args:
        names: ``(N,)`` row ids or names of groups.
        prefix: None: the names stay as they are.
    """
    if prefix is None:
        return names
    return np.array([
        f"{prefix}{name}" if name.startswith("#") else f"{prefix}/{name}" for name in names.tolist()
    ])  # fmt: skip


def without_prefix(name: str, prefix: str | None) -> str:
    """The name in its source."""
    return name if prefix is None else name.removeprefix(prefix).removeprefix("/")


def new_rows(
    old: Index, images: ImageSet, rows: Any, encoder: Encoder, out: Path
) -> NDArray[np.int64]:
    """Rows of the images that the index does not have yet.

    An image is the same where its pixels are, however its source is spelled and wherever it lies.

    Args:
        old: the index.
        images: that are added to it.
        rows: their table, see `selfsight.neighbours.folder.COLUMNS`; of one source.
        encoder: of the index.
        out: its folder, for messages.

    Raises:
        ValueError: the index has these images with another prefix or under other names, or it has
            other images of these row ids.
    """
    source, prefix = rows["source"][0].as_py(), rows["prefix"][0].as_py()
    sources, prefixes = (old.rows[name].to_pylist() for name in ("source", "prefix"))
    for usual in set(prefixes) - {prefix}:
        here = _Shared.of(old, images, prefixed(images.row_ids, usual), encoder)
        if here.mostly_same:
            raise ValueError(
                f"prefix: the index {out} has the images of {source} already, with "
                f"{'no prefix' if usual is None else f'the prefix {usual!r}'}; add to it with "
                f"{'no --prefix' if usual is None else f'--prefix {usual}'}."
            )
    shared = _Shared.of(old, images, np.array(rows["row_id"].to_pylist(), dtype=str), encoder)
    if not shared.same.all():
        raise _not_the_same(shared, old, sources, source, out)
    new = np.setdiff1d(np.arange(len(rows)), shared.rows)
    _no_copies(old, images, new, sources, source, out)
    if len(shared.rows):
        known = counted(len(shared.rows), "image is", "images are")
        warn(f"{known} in the index already, and left out.")
    return new


@dataclass(frozen=True)
class _Shared:
    """Images whose row ids an index has.

    Attributes:
        rows: of the images.
        places: of the index.
        same: whether it is the same image, by its pixels.
        blank: whether it is blank, as images of any source may be.
    """

    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    same: NDArray[np.bool_]
    blank: NDArray[np.bool_]

    @classmethod
    def of(
        cls, old: Index, images: ImageSet, row_ids: NDArray[np.str_], encoder: Encoder
    ) -> _Shared:
        places = np.array([old.places.get(row_id, -1) for row_id in row_ids.tolist()], np.int64)
        rows = np.flatnonzero(places >= 0)
        places, blank = places[rows], images.content.blank[rows]
        before = old.digests[places]
        same = np.where(blank, before == 0, before == images.content.digests[rows])
        unlike = np.flatnonzero(~same)
        # Digests are not known, or another decoder rounds differently: representations tell then.
        if len(unlike) and (not before[unlike].any() or 2 * len(unlike) > len(rows)):
            same[unlike] = _alike(old, encoder, images, rows[unlike], places[unlike])
        return cls(rows, places, same, blank)

    @property
    def mostly_same(self) -> bool:
        """Whether these are the same images: two sources may have an image in common."""
        telling = self.same[~self.blank]
        return len(telling) > 0 and 2 * int(telling.sum()) >= len(telling)


def _not_the_same(
    shared: _Shared, old: Index, sources: list[str], source: str, out: Path
) -> ValueError:
    """The error for images of an index that are other ones here."""
    other = shared.places[~shared.same]
    name, known = str(old.row_ids[other[0]]), sources[other[0]]
    if shared.mostly_same:
        return ValueError(
            f"append: {len(other):,} of the {len(shared.rows):,} images of {source} that the index "
            f"{out} has were changed since, {name!r} for one; restore them, or make the index anew."
        )
    if known != source:
        return ValueError(
            f"append: the index {out} has an image {name!r} of {known} already, and {source} has "
            f"another of that name; {REMEDY}."
        )
    return ValueError(
        f"append: the index {out} has other images from a source of the name {source}; its image "
        f"{name!r}, for one, looks different; {REMEDY}, or make the index anew if the images were "
        "changed."
    )


def _no_copies(
    old: Index,
    images: ImageSet,
    new: NDArray[np.int64],
    sources: list[str],
    source: str,
    out: Path,
) -> None:
    """Looks for images that the index has under other names, as from a folder further up.

    Raises:
        ValueError: nearly all of the images are such ones.
    """
    digests, blank = images.content.digests, images.content.blank
    new = new[~blank[new]]
    copies = new[np.isin(digests[new], old.digests)]
    if not len(copies):
        return
    place = int(np.flatnonzero(old.digests == digests[copies[0]])[0])
    example = f"{str(images.row_ids[copies[0]])!r} is its {str(old.row_ids[place])!r}"
    if len(copies) >= SAME * int((~blank).sum()):
        raise ValueError(
            f"append: the index {out} has the images of {source} already under other names "
            f"({example}, of {sources[place]}); name what they were indexed from, so that what it "
            "has is left out."
        )
    warn(
        f"Caution: {len(copies):,} of these images are pixel for pixel in the index already under "
        f"other names ({example}); it has them twice now."
    )


def _alike(
    old: Index,
    encoder: Encoder,
    images: ImageSet,
    rows: NDArray[np.int64],
    places: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """``(M,)`` whether an image is that of the index, by its representation; a sample first."""
    alike = np.zeros(len(rows), np.bool_)
    sample = np.unique(np.linspace(0, len(rows) - 1, SAMPLE).astype(np.int64))
    rest = np.setdiff1d(np.arange(len(rows)), sample)
    parts = [sample, *np.split(rest, range(PART, len(rest), PART))]
    for number, part in enumerate(parts):
        vectors = encoder.vectors(images, rows[part], None)
        finite = torch.isfinite(vectors).all(1)
        vectors, of = vectors[finite].float(), part[finite.numpy()]
        if len(of):
            own: Tensor = (F.normalize(vectors, dim=1) * old.vectors.at(places[of])).sum(1)
            near = TOLERANCE if old.card.kind == "exact" else ROUNDED
            as_long = np.isclose(lengths_of(vectors), old.lengths[places[of]], rtol=LENGTH)
            alike[of] = (own >= 1 - near).numpy() & as_long
        if number == 0 and float(alike[sample].mean()) < 0.5:
            break  # other images
    return alike


def copied(old: Index, vectors: VectorsFile, pictures: PicturesFile | None) -> None:
    """Appends the vectors and pictures of an index."""
    for first in range(0, len(old), PART):
        places = np.arange(first, min(first + PART, len(old)))
        vectors.append(old.vectors.at(places))
        if pictures is not None and old.pictures is not None:
            known = old.pictures.at(places.tolist())
            pictures.append(known.get(place) for place in places.tolist())


def exact_card(card: IndexCard, count: int) -> IndexCard:
    """The card of a longer exact index."""
    return card.updated(
        {"kind": "exact", "count": count, "lists": 0, "visited": 0, "recall": None, "files": {}}
    )
