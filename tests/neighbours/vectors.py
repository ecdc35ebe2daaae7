"""Vectors in clusters, and the plain search that others are compared with."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def clustered(count: int, width: int = 16, seed: int = 0, clusters: int = 30) -> torch.Tensor:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(clusters, width)) * 2
    values = centres[random.integers(0, clusters, count)] + random.normal(size=(count, width))
    return torch.from_numpy(values.astype(np.float32))


def names(count: int) -> NDArray[np.str_]:
    return np.array([f"images/{i}.png" for i in range(count)])


def every_cosine(queries: torch.Tensor, vectors: torch.Tensor) -> NDArray[np.float32]:
    return torch.nn.functional.cosine_similarity(queries[:, None], vectors[None], dim=2).numpy()
