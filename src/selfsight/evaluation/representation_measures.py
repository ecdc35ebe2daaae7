"""Measures of representations that need no label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from selfsight.fitting.representations import Representations
from selfsight.measures import alignment, alpha_req, effective_rank, uniformity

MEANING = {
    "rankme": "how many directions the representations use; 1 means they collapsed to a line",
    "alpha_req": "how fast their variance falls from direction to direction; about 1 serves well, "
    "far above it few directions carry all",
    "uniformity": "how evenly they cover the sphere; 0 is one point, lower is more even",
    "alignment": "how far apart two views of one image lie on the sphere; 0 is the same point",
}
"""What each tells, for people."""
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
    if len(rows) > _ROWS:
        rows = np.sort(np.random.default_rng([seed, 8]).choice(rows, _ROWS, replace=False))
    values = representations.at(rows)
    found = {
        "rankme": float(effective_rank(values)),
        "alpha_req": float(alpha_req(values)),
        "uniformity": float(uniformity(values)),
    }
    if views is not None:
        found["alignment"] = float(alignment(*views))
    return found
