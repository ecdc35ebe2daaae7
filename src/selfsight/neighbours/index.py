"""`Index`: vectors of images with their row ids, and the search among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.console import counted
from selfsight.data.imageset import ImageSet
from selfsight.fitting.novelty import lengths_of
from selfsight.markup import block, facts, gallery, picture_uri
from selfsight.neighbours.asked import Neighbours, neighbours_of
from selfsight.neighbours.card import PICTURES, ROWS, IndexCard, check_files, read_card
from selfsight.neighbours.encoder import Encoder
from selfsight.neighbours.exact import ExactVectors, Vectors, unit_rows
from selfsight.neighbours.folder import open_vectors, read_rows, rows_table
from selfsight.neighbours.pictures import Pictures
from selfsight.version import __version__

DISPLAYED = 12
"""Images that a notebook shows of an index."""


@dataclass(frozen=True)
class Index:
    """Images by their representations.

    Attributes:
        vectors: the search.
        rows: a pyarrow table, see `selfsight.neighbours.folder`, in the order of the vectors.
        card: all the rest.
        folder: where it is kept; None: in memory.
    """

    vectors: Vectors
    rows: Any
    card: IndexCard
    folder: Path | None = None

    @classmethod
    def of(cls, representations: Tensor, row_ids: NDArray[np.str_], *, encoder: str = "") -> Index:
        """An exact index in memory.

        Args:
            representations: ``(N, F)``, finite.
            row_ids: ``(N,)``, each its own.
            encoder: hash of the network.

        Raises:
            ValueError: sizes that do not match, values that are not finite, or a row id twice.
        """
        if representations.ndim != 2 or len(representations) != len(row_ids) or not len(row_ids):
            raise ValueError(
                f"index: representations {tuple(representations.shape)} must be (N, F) with one "
                f"of the {len(row_ids)} row ids for each, at least one."
            )
        if not bool(torch.isfinite(representations).all()):
            raise ValueError("index: some representations are not finite.")
        if len(np.unique(row_ids)) < len(row_ids):
            raise ValueError("index: some row ids are the same.")
        unit = torch.from_numpy(unit_rows(representations.float().numpy()))
        card = IndexCard(
            kind="exact",
            count=len(unit),
            width=unit.shape[1],
            encoder=encoder,
            selfsight=__version__,
        )
        rows = rows_table(row_ids, length=lengths_of(representations).tolist())
        return cls(ExactVectors(unit), rows, card)

    @classmethod
    def load(cls, folder: str | Path) -> Index:
        """An index back from its folder, memory-mapped.

        Raises:
            ValueError: there is no index, or a file of it is missing or damaged.
        """
        folder = Path(folder)
        card = read_card(folder)
        check_files(folder, card)
        rows = read_rows(folder / ROWS)
        if len(rows) != card.count:
            raise ValueError(
                f"{folder / ROWS} is damaged: it has {counted(len(rows), 'row')} and the index "
                f"{counted(card.count, 'image')}."
            )
        return cls(open_vectors(folder, card), rows, card, folder)

    def __len__(self) -> int:
        return self.card.count

    def __str__(self) -> str:
        place = self.folder or "an index in memory"
        kind = "exact" if self.card.kind == "exact" else f"{self.card.lists:,} lists"
        if self.card.recall is not None:
            recall = self.card.recall
            kind += f", {self.card.visited:,} visited, recall@{recall.k} {recall.value:.3f}"
        return (
            f"{place}: {counted(len(self), 'image')}, {counted(self.card.width, 'dimension')}, "
            f"{kind}"
        )

    def _repr_html_(self) -> str:
        """What is indexed, and some of the images, for notebooks."""
        card = self.card
        about = {
            "images": f"{len(self):,}{f' of {card.data}' if card.data else ''}",
            "dimensions": f"{card.width:,}",
            "search": "exact" if card.kind == "exact" else f"{card.lists:,} lists, {card.kind}",
            "recall": None if card.recall is None else f"{card.recall.value:.3f}",
            "network": card.run,
            "folder": self.folder or "in memory",
        }
        places = np.unique(np.linspace(0, len(self) - 1, DISPLAYED).astype(np.int64)).tolist()
        contents = {} if self.pictures is None else self.pictures.at(places)
        shown = [(picture_uri(contents[p]), str(self.row_ids[p])) for p in places if p in contents]
        return block("index", facts(about), gallery(shown))

    @cached_property
    def row_ids(self) -> NDArray[np.str_]:
        """``(N,)``."""
        return np.array(self.rows["row_id"].to_pylist(), dtype=str)

    @cached_property
    def digests(self) -> NDArray[np.uint64]:
        """``(N,)`` of the pixels, 0: blank, or not known."""
        return self.rows["digest"].fill_null(0).to_numpy()  # type: ignore[no-any-return]

    @cached_property
    def lengths(self) -> NDArray[np.float32]:
        """``(N,)`` of the representations before they were brought to 1."""
        return self.rows["length"].to_numpy()  # type: ignore[no-any-return]

    @cached_property
    def places(self) -> dict[str, int]:
        """Row id -> place."""
        return {row_id: place for place, row_id in enumerate(self.row_ids.tolist())}

    @cached_property
    def labels(self) -> list[str | None]:
        """Label of each row as text; None where it is unknown."""
        return list(self.rows["label"].to_pylist())

    @property
    def pictures(self) -> Pictures | None:
        """The kept pictures; None where there are none."""
        if self.folder is None or not self.card.pictures:
            return None
        return Pictures(self.folder / PICTURES)

    def nearest(
        self,
        queries: Tensor,
        k: int = 12,
        *,
        far: bool = False,
        without: NDArray[np.int64] | None = None,
    ) -> tuple[Tensor, NDArray[np.int64]]:
        """The most similar rows of representations.

        Args:
            queries: ``(M, F)`` of any length, finite.
            k: neighbours.
            far: the least similar instead, least similar first.
            without: ``(M,)`` a place for each query that is left out, such as its own; -1: none.

        Returns:
            Cosines ``(M, k)`` and places ``(M, k)``; where an approximate search finds fewer than
            k, the rest is ``-inf`` and -1.

        Raises:
            ValueError: queries of another width or not finite, or k out of range.
        """
        most = len(self) - int(without is not None and bool((without >= 0).any()))
        if queries.ndim != 2 or queries.shape[1] != self.card.width:
            raise ValueError(
                f"queries {tuple(queries.shape)}: must be (M, {self.card.width}), as the vectors "
                "of the index."
            )
        if not bool(torch.isfinite(queries).all()):
            count = int((~torch.isfinite(queries).all(1)).sum())
            raise ValueError(
                f"queries: {count} of {len(queries)} have values that are not finite (NaN or "
                "infinite); remove these images."
            )
        if not 1 <= k <= most:
            raise ValueError(
                f"k: must be from 1 to {most:,}, the images that can be found in the index (got "
                f"{k:,})."
            )
        search = self.vectors.search_far if far else self.vectors.search
        if without is None:
            cosines, places = search(queries.float().numpy(), k)
            return torch.from_numpy(cosines), places
        cosines, places = search(queries.float().numpy(), min(k + 1, len(self)))
        # The own place last, the others in their order; where it is not there, the last one goes.
        order = np.argsort(places == without[:, None], axis=1, kind="stable")[:, :k]
        cosines = np.take_along_axis(cosines, order, 1)
        return torch.from_numpy(cosines), np.take_along_axis(places, order, 1)

    def search(
        self,
        query: str | Path | NDArray[Any] | Tensor | ImageSet | Sequence[str | Path],
        k: int = 12,
        *,
        far: bool = False,
        encoder: Encoder | None = None,
    ) -> Neighbours:
        """The most similar images of any query.

        Args:
            query: row ids, image files, a folder or a table of images; an array of images
                ``(H, W)``, ``(H, W, C)``, ``(N, H, W)`` or ``(N, H, W, C)`` in the values of the
                indexed images; a tensor of representations ``(F,)`` or ``(M, F)``; an image set.
            k: neighbours.
            far: the least similar instead.
            encoder: the network; None: that of the index, which is loaded once.

        Raises:
            ValueError: a query that cannot be read, or another network than the index was made
                with.
        """
        return neighbours_of(self, query, k, far=far, encoder=encoder)

    @cached_property
    def encoder(self) -> Encoder:
        """The network that the index was made with.

        Raises:
            ValueError: the run is gone, or has other weights now.
        """
        return self.encoder_of(self.card.run)

    def encoder_of(self, run: str, *, device: str = "auto", allow_code: bool = False) -> Encoder:
        """The network of a run, which must be that of the index.

        Raises:
            ValueError: it is not.
        """
        if not run:
            raise ValueError(
                f"{self.folder or 'this index'}: it does not say which run it was made with; ask "
                "with representations."
            )
        encoder = Encoder.load(run, device=device, allow_code=allow_code)
        if encoder.key != self.card.encoder:
            raise ValueError(
                f"run {run}: the index {self.folder or ''} was made with other weights, or "
                "other code; name the run that it was made with, or make the index again."
            )
        return encoder
