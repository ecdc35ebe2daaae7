"""Approximate search by the inverted lists of faiss, for more than half a million images.

The vectors are put into the cells of a k-means (Jégou et al., "Product quantization for nearest
neighbor search", 2011, section IV), whole or with a byte a number; a query visits the nearest few
cells. How many is chosen here, by the recall that is measured on the indexed images themselves:
features of real images need many more lists than random vectors do.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.console import counted, say, warn
from selfsight.neighbours.card import LISTS, IndexCard, Recall
from selfsight.neighbours.exact import ExactVectors, Nearest, unit_rows

K = 10
QUERIES = 500
TRAINED = 64
"""Vectors a list that the k-means is fitted on."""
ADDED = 1 << 16
"""Vectors that are added at once."""


class InvertedLists:
    """Inverted lists of vectors of length 1; see `ExactVectors` for the functions.

    Args:
        index: of faiss.
        visited: lists that a query visits.
    """

    def __init__(self, index: Any, visited: int) -> None:
        self.index, self.visited = index, visited
        self._parameters: Any = None

    def __len__(self) -> int:
        return int(self.index.ntotal)

    @property
    def width(self) -> int:
        return int(self.index.d)

    def search(self, queries: NDArray[np.float32], k: int) -> Nearest:
        """As `ExactVectors.search`; ``-inf`` and -1 where the lists hold fewer than k."""
        return self._visit(unit_rows(queries), k, self.visited)

    def search_far(self, queries: NDArray[np.float32], k: int) -> Nearest:
        """As `search`, of the least similar: all lists are visited."""
        cosines, places = self._visit(-unit_rows(queries), k, self.index.nlist)
        return -cosines, places

    def at(self, places: NDArray[np.int64]) -> Tensor:
        """``(M, F)`` vectors, as far as a byte a number tells them."""
        self.index.make_direct_map()
        return torch.from_numpy(self.index.reconstruct_batch(np.ascontiguousarray(places)))

    def _visit(self, queries: NDArray[np.float32], k: int, visited: int) -> Nearest:
        parameters = self._parameters  # by a name of its own: another thread may put others there
        if parameters is None or parameters.nprobe != visited:
            parameters = self._parameters = faiss().SearchParametersIVF(nprobe=visited)
        values, places = self.index.search(queries, k, params=parameters)
        if (places < 0).any():
            values[places < 0] = -np.inf
        return values, places


def faiss() -> ModuleType:
    """The library.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import faiss as library
    except ImportError:
        raise ValueError(
            "an approximate index needs faiss: `pip install 'selfsight[neighbours]'`; or make an "
            "exact one with --kind exact."
        ) from None
    return library  # type: ignore[no-any-return]


def has_faiss() -> bool:
    try:
        faiss()
    except ValueError:
        return False
    return True


def build_lists(
    folder: Path, exact: ExactVectors, card: IndexCard, kind: str, recall: float, seed: int
) -> IndexCard:
    """Writes ``index.faiss``, and chooses how many lists are visited.

    Args:
        folder: where it is written.
        exact: the vectors.
        card: of the exact index.
        kind: ``ivf_flat`` or ``ivf_sq8``.
        recall: share of the ten exact neighbours that must be found.
        seed: of the k-means and of the queries.

    Returns:
        The card with lists, visited lists and measured recall.
    """
    library = faiss()
    count, width = len(exact), exact.width
    lists = max(1, min(int(4 * math.sqrt(count)), count // 39))
    coarse = library.IndexFlatIP(width)
    metric = library.METRIC_INNER_PRODUCT
    if kind == "ivf_flat":
        index = library.IndexIVFFlat(coarse, width, lists, metric)
    else:
        bits = library.ScalarQuantizer.QT_8bit
        index = library.IndexIVFScalarQuantizer(coarse, width, lists, bits, metric)
    index.cp.spherical = True
    index.cp.seed = seed + 1
    random = np.random.default_rng([seed, 11])
    sample = np.sort(random.permutation(count)[: TRAINED * lists])
    index.train(exact.at(sample).numpy())
    for first in range(0, count, ADDED):
        index.add(exact.vectors[first : first + ADDED].numpy())
    queries = np.sort(random.permutation(count)[:QUERIES])
    visited, value = _chosen(InvertedLists(index, 1), exact, queries, recall)
    k = min(K, count - 1)
    say(
        f"{lists:,} lists, of which a query visits {visited:,}: recall@{k} {value:.3f}, measured "
        f"with {counted(len(queries), 'image')} of the index."
    )
    if value < recall:
        warn(f"The recall that was asked for, {recall:g}, is not reached with {kind}.")
    library.write_index(index, str(folder / LISTS))
    measured = Recall(k=k, value=value, queries=len(queries))
    return card.updated({"kind": kind, "lists": lists, "visited": visited, "recall": measured})


def _chosen(
    index: InvertedLists, exact: ExactVectors, queries: NDArray[np.int64], recall: float
) -> tuple[int, float]:
    """The fewest lists that reach the recall, and their recall; all of them where none does."""
    asked = exact.at(queries).numpy()
    k = min(K, len(exact) - 1)
    truth = _others(exact.search(asked, k + 1)[1], queries, k)

    def measured(visited: int) -> float:
        index.visited = visited
        places = _others(index.search(asked, k + 1)[1], queries, k)
        hits = [len(set(a) & set(b)) for a, b in zip(places.tolist(), truth.tolist(), strict=True)]
        return float(np.mean(hits)) / k

    most = int(index.index.nlist)
    low, high = 0, 1
    value = measured(high)
    while value < recall and high < most:
        low, high = high, min(2 * high, most)
        value = measured(high)
    while value >= recall and high - low > 1:
        middle = (low + high) // 2
        here = measured(middle)
        if here >= recall:
            high, value = middle, here
        else:
            low = middle
    return high, value


def _others(places: NDArray[np.int64], own: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """``(M, k)`` neighbours without the image itself; -1 where there are fewer."""
    order = np.argsort(places == own[:, None], axis=1, kind="stable")[:, :k]
    return np.take_along_axis(places, order, 1)


def opened(path: Path, card: IndexCard) -> InvertedLists:
    """The lists of a file, memory-mapped.

    Raises:
        ValueError: faiss is not installed, or the file is not that of the card.
    """
    library = faiss()
    try:
        index = library.read_index(str(path), library.IO_FLAG_MMAP | library.IO_FLAG_READ_ONLY)
    except RuntimeError as error:
        raise ValueError(f"{path} is damaged and cannot be read: {str(error)[:200]}") from None
    form = (index.ntotal, index.d, index.metric_type)
    if form != (card.count, card.width, library.METRIC_INNER_PRODUCT):
        raise ValueError(f"{path} is damaged: it holds other vectors than {path.parent} says.")
    # By default 32 threads read the lists ahead, anew for each query: twice the time of the search.
    library.downcast_InvertedLists(index.invlists).prefetch_nthread = 0
    return InvertedLists(index, card.visited)
