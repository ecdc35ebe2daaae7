"""Measures of representations that need no label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from selfsight.data.splits import at_most
from selfsight.fitting.representations import Representations
from selfsight.measures import alignment, alpha_req, effective_rank, uniformity

_ROWS = 10_000


def label_free(
    representations: Representations,
    rows: NDArray[np.int64],
    seed: int = 0,
    views: tuple[Tensor, Tensor] | None = None,
) -> dict[str, float]:
    """RankMe, alpha-ReQ and uniformity of some rows (at most 10,000 of them, drawn by seed).

    With ``views``, representations ``(M, F)`` of two views of the same images, also the alignment.
    See `selfsight.measures` for formulas and papers.
    """
    values = representations.at(at_most(rows, _ROWS, seed, 8))
    found = {
        "rankme": float(effective_rank(values)),
        "alpha_req": float(alpha_req(values)),
        "uniformity": float(uniformity(values)),
    }
    if views is not None:
        found["alignment"] = float(alignment(*views))
    return found
