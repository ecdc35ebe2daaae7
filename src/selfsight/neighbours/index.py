"""The nearest-neighbour index: which images look like this one? Exact."""

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


@dataclass(frozen=True)
class Index:
    """Normalised representations with their row ids.

    Attributes:
        vectors: ``(N, F)`` float32, of length 1.
        row_ids: ``(N,)`` in the same order.
        weights: hash of the backbone's weights: a query must come from the same ones.
    """

    vectors: Tensor
    row_ids: NDArray[np.str_]
    weights: str = ""

    @classmethod
    def build(
        cls,
        representations: Tensor,
        row_ids: NDArray[np.str_],
        *,
        weights: str = "",
    ) -> Index:
        """An index of representations ``(N, F)``.

        Args:
            representations: one row an image, finite.
            row_ids: ``(N,)``.
            weights: hash of the backbone.

        Raises:
            ValueError: sizes that do not match, or values that are not finite.
        """
        if representations.ndim != 2 or len(representations) != len(row_ids) or not len(row_ids):
            raise ValueError(
                f"index: representations {tuple(representations.shape)} must be (N, F) with one "
                f"of the {len(row_ids)} row ids for each, at least one."
            )
        if not bool(torch.isfinite(representations).all()):
            raise ValueError("index: some representations are not finite.")
        vectors = F.normalize(representations.float(), dim=1)
        return cls(vectors, row_ids, weights)

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Tensor, k: int = 10) -> tuple[Tensor, NDArray[np.str_]]:
        """The most similar rows of each query, most similar first.

        Args:
            queries: ``(M, F)`` representations.
            k: neighbours; at most N.

        Returns:
            Cosines ``(M, k)`` and row ids ``(M, k)``.

        Raises:
            ValueError: queries of another width, or k out of range.
        """
        if queries.ndim != 2 or queries.shape[1] != self.vectors.shape[1]:
            raise ValueError(
                f"queries {tuple(queries.shape)}: must be (M, {self.vectors.shape[1]})."
            )
        if not 1 <= k <= len(self):
            raise ValueError(f"k: must be from 1 to {len(self)}, the rows of the index (got {k}).")
        cosines, places = neighbours(queries.float(), self.vectors, k)
        return cosines, self.row_ids[places.numpy()]

    def save(self, path: str | Path) -> None:
        """One safetensors file, written whole or not at all."""
        from safetensors.torch import save_file

        tensors = {"vectors": self.vectors.contiguous()}
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
                vectors = file.get_tensor("vectors")
            names = np.array(json.loads(about["row_ids"]), dtype=str)
            return cls(vectors, names, about.get("weights", ""))
        except (SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not an index of selfsight ({error}).") from None


def index_images(run: Run, images: ImageSet, *, device: torch.device | str = "cpu") -> Index:
    """An index of all images of a set, by the backbone of a run.

    Args:
        run: a finished run.
        images: with the channels of the run's.
        device: where the backbone runs.
    """
    backbone = run.backbone()
    rows = np.arange(len(images))
    made = represent(backbone, images, rows, run.statistics, device=device)
    return Index.build(made, images.row_ids, weights=weights_key(backbone))
