"""Exact search: every vector is compared with every query."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.kernels.nearest import BLOCK, largest

LEAST, NUMBERS = 16, 1 << 24
"""Queries at a time, at least, and cosines at a time: 64 MiB."""


Nearest = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Cosines ``(M, k)`` and places ``(M, k)``."""


class Vectors(Protocol):
    """Exact or approximate search among N vectors of length 1.

    In NumPy's arrays: for a single query, two tensors more cost a tenth of a search of lists.
    """

    def __len__(self) -> int: ...
    @property
    def width(self) -> int: ...
    def search(self, queries: NDArray[np.float32], k: int) -> Nearest: ...
    def search_far(self, queries: NDArray[np.float32], k: int) -> Nearest: ...
    def at(self, places: NDArray[np.int64]) -> Tensor: ...


@dataclass(frozen=True)
class ExactVectors:
    """Vectors ``(N, F)`` float32 of length 1, in memory or memory-mapped."""

    vectors: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def width(self) -> int:
        return self.vectors.shape[1]

    def search(self, queries: NDArray[np.float32], k: int) -> Nearest:
        """The nearest vectors, most similar first.

        Args:
            queries: ``(M, F)`` float32 of any length, finite.
            k: at most N.
        """
        return self._sorted(queries, k)

    def search_far(self, queries: NDArray[np.float32], k: int) -> Nearest:
        """As `search`, of the least similar, least similar first."""
        cosines, places = self._sorted(-queries, k)
        return -cosines, places

    def at(self, places: NDArray[np.int64]) -> Tensor:
        """``(M, F)`` vectors."""
        return self.vectors[torch.from_numpy(places)]

    def _sorted(self, queries: NDArray[np.float32], k: int) -> Nearest:
        """By NumPy's product: on AMD processors it takes three quarters of the time of torch's."""
        unit, bank = unit_rows(queries), self.vectors.numpy().T
        rows = min(len(unit), max(LEAST, NUMBERS // len(self)))
        buffer = np.empty((rows, len(self) + -len(self) % BLOCK), np.float32)
        buffer[:, len(self) :] = -np.inf  # whole blocks for `largest`
        values, places = torch.empty(len(unit), k), torch.empty(len(unit), k).long()
        for first in range(0, len(unit), rows):
            part = slice(first, first + rows)
            cosines = buffer[: len(unit[part])]
            np.matmul(unit[part], bank, out=cosines[:, : len(self)])
            found, columns = largest(torch.from_numpy(cosines), k)
            values[part], order = found.sort(1, descending=True)
            places[part] = columns.gather(1, order)
        return values.numpy(), places.numpy()


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(N, F)`` float32 at length 1, in NumPy's memory.

    NumPy asks for large pages: a single query then takes a tenth less time than in torch's memory.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    unit: NDArray[np.float32] = rows / np.maximum(lengths, 1e-12)[:, None]
    return unit


def mapped(path: Path, count: int, width: int) -> ExactVectors:
    """Vectors that stay in their file and are read when they are compared.

    Raises:
        ValueError: the file is no array of this form.
    """
    try:
        # "c": pages that are written to would be copied; torch asks for a writable array.
        vectors = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged and cannot be read: {error}") from None
    if vectors.shape != (count, width) or vectors.dtype != np.float32:
        raise ValueError(
            f"{path} is damaged: it holds {vectors.dtype} {vectors.shape} and must hold float32 "
            f"{(count, width)}."
        )
    return ExactVectors(torch.from_numpy(vectors))


class VectorsFile:
    """An ``.npy`` of float32 rows that grows; its header is written last."""

    def __init__(self, path: Path, width: int) -> None:
        self.width, self.count = width, 0
        self._file = open(path, "wb")  # noqa: SIM115 - closed by `close`
        self._header()

    def append(self, rows: Tensor) -> None:
        """Adds rows ``(m, width)``."""
        self._file.write(np.ascontiguousarray(rows.numpy(), "<f4").tobytes())
        self.count += len(rows)

    def close(self) -> None:
        """Writes the number of rows."""
        self._file.seek(0)
        self._header()
        self._file.close()

    def _header(self) -> None:
        # numpy leaves room for any number of rows, so that the header keeps its length.
        shape = (self.count, self.width)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
