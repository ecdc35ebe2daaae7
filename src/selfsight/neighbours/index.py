"""The nearest-neighbour index: which images look like this one?

Exact by default. With ``cells`` the rows are put into the cells of a k-means (an inverted file, as
in Jégou et al., "Product quantization for nearest neighbor search", 2011, section IV) and a query
visits the nearest few cells only: less time on large sets, some neighbours missed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from selfsight.files import replacing
from selfsight.fitting.representations import represent, weights_key
from selfsight.measures import neighbours

if TYPE_CHECKING:
    from selfsight.data.imageset import ImageSet
    from selfsight.runs.run import Run

_FITTED = 50_000  # rows that the cells are fitted on, at most


@dataclass(frozen=True)
class Cells:
    """An inverted file.

    Attributes:
        centres: ``(C, F)``, normalised.
        starts: ``(C + 1,)`` int64: the rows of a cell lie together, from one to the next.
    """

    centres: Tensor
    starts: Tensor


@dataclass(frozen=True)
class Index:
    """Normalised representations with their row ids.

    Attributes:
        vectors: ``(N, F)`` float32, of length 1; in the order of the cells where there are any.
        row_ids: ``(N,)`` in the same order.
        weights: hash of the backbone's weights: a query must come from the same ones.
        cells: None for an exact index.
    """

    vectors: Tensor
    row_ids: NDArray[np.str_]
    weights: str = ""
    cells: Cells | None = None

    @classmethod
    def build(
        cls,
        representations: Tensor,
        row_ids: NDArray[np.str_],
        *,
        weights: str = "",
        cells: int | None = None,
        seed: int = 0,
    ) -> Index:
        """An index of representations ``(N, F)``.

        Args:
            representations: one row an image, finite.
            row_ids: ``(N,)``.
            weights: hash of the backbone.
            cells: how many cells; None: exact.
            seed: of the k-means.

        Raises:
            ValueError: sizes that do not match, values that are not finite, or too many cells.
        """
        if representations.ndim != 2 or len(representations) != len(row_ids) or not len(row_ids):
            raise ValueError(
                f"index: representations {tuple(representations.shape)} must be (N, F) with one "
                f"of the {len(row_ids)} row ids for each, at least one."
            )
        if not bool(torch.isfinite(representations).all()):
            raise ValueError("index: some representations are not finite.")
        vectors = F.normalize(representations.float(), dim=1)
        if cells is None:
            return cls(vectors, row_ids, weights)
        if not 1 <= cells <= len(vectors):
            raise ValueError(f"cells: must be from 1 to {len(vectors)}, the rows (got {cells}).")
        centres = _centres(vectors, cells, seed)
        nearest = neighbours(vectors, centres, 1)[1][:, 0]
        order = torch.argsort(nearest, stable=True)
        sizes = torch.bincount(nearest, minlength=cells)
        starts = F.pad(sizes.cumsum(0), (1, 0))
        return cls(vectors[order], row_ids[order.numpy()], weights, Cells(centres, starts))

    def __len__(self) -> int:
        return len(self.vectors)

    def search(
        self, queries: Tensor, k: int = 10, *, visited: int = 8
    ) -> tuple[Tensor, NDArray[np.str_]]:
        """The most similar rows of each query, most similar first.

        Args:
            queries: ``(M, F)`` representations.
            k: neighbours; at most N.
            visited: cells that each query looks into, where there are cells. All of them make the
                answer exact.

        Returns:
            Cosines ``(M, k)`` and row ids ``(M, k)``. Where the visited cells hold fewer than k
            rows the rest is ``-inf`` and ``""``.

        Raises:
            ValueError: queries of another width, or k out of range.
        """
        if queries.ndim != 2 or queries.shape[1] != self.vectors.shape[1]:
            raise ValueError(
                f"queries {tuple(queries.shape)}: must be (M, {self.vectors.shape[1]})."
            )
        if not 1 <= k <= len(self):
            raise ValueError(f"k: must be from 1 to {len(self)}, the rows of the index (got {k}).")
        if self.cells is None:
            cosines, places = neighbours(queries.float(), self.vectors, k)
        else:
            cosines, places = self._visit(F.normalize(queries.float(), dim=1), k, visited)
        names = self.row_ids[places.clamp_min(0).numpy()]
        return cosines, np.where(places.numpy() < 0, "", names)

    def _visit(self, queries: Tensor, k: int, visited: int) -> tuple[Tensor, Tensor]:
        assert self.cells is not None
        starts = self.cells.starts.tolist()
        visited = min(visited, len(self.cells.centres))
        near = neighbours(queries, self.cells.centres, visited)[1]
        cosines = torch.full((len(queries), k), -torch.inf)
        places = torch.full((len(queries), k), -1, dtype=torch.int64)
        # A cell at a time, for all queries that visit it: one product, one merge.
        cell_of, query_of = near.flatten().sort(stable=True)
        query_of = query_of // visited
        cells, counts = torch.unique_consecutive(cell_of, return_counts=True)
        parts = torch.split(query_of, counts.tolist())
        for cell, asking in zip(cells.tolist(), parts, strict=True):
            first, last = starts[cell], starts[cell + 1]
            if first == last:
                continue
            found = queries[asking] @ self.vectors[first:last].T
            best, place = found.topk(min(k, last - first), dim=1)
            merged = torch.cat([cosines[asking], best], 1)
            where = torch.cat([places[asking], place + first], 1)
            cosines[asking], order = merged.topk(k, dim=1)
            places[asking] = where.gather(1, order)
        return cosines, places

    def save(self, path: str | Path) -> None:
        """One safetensors file, written whole or not at all."""
        from safetensors.torch import save_file

        tensors = {"vectors": self.vectors.contiguous()}
        if self.cells is not None:
            tensors |= {"centres": self.cells.centres, "starts": self.cells.starts}
        about = {"row_ids": json.dumps(self.row_ids.tolist()), "weights": self.weights}
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=about)

    @classmethod
    def load(cls, path: str | Path) -> Index:
        """An index back from its file; the vectors are memory-mapped.

        Raises:
            ValueError: the file is missing or is no index.
        """
        from safetensors import SafetensorError, safe_open

        if not Path(path).is_file():
            raise ValueError(f"{path}: there is no such file.")
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            names = np.array(json.loads(about["row_ids"]), dtype=str)
            cells = Cells(tensors["centres"], tensors["starts"]) if "centres" in tensors else None
            return cls(tensors["vectors"], names, about.get("weights", ""), cells)
        except (SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not an index of selfsight ({error}).") from None


def index_images(
    run: Run,
    images: ImageSet,
    *,
    device: torch.device | str = "cpu",
    cells: int | None = None,
) -> Index:
    """An index of all images of a set, by the backbone of a run.

    Args:
        run: a finished run.
        images: with the channels of the run's.
        device: where the backbone runs.
        cells: see `Index.build`.
    """
    backbone = run.backbone()
    rows = np.arange(len(images))
    made = represent(backbone, images, rows, run.statistics, device=device)
    return Index.build(made, images.row_ids, weights=weights_key(backbone), cells=cells)


def _centres(vectors: Tensor, cells: int, seed: int) -> Tensor:
    from sklearn.cluster import MiniBatchKMeans

    rows = np.arange(len(vectors))
    if len(rows) > max(_FITTED, cells):
        rows = np.random.default_rng(seed).choice(rows, max(_FITTED, cells), replace=False)
    fitted = MiniBatchKMeans(cells, n_init=1, batch_size=4096, random_state=seed)
    fitted.fit(vectors[torch.from_numpy(rows)].numpy())
    return F.normalize(torch.from_numpy(fitted.cluster_centers_).float(), dim=1)
