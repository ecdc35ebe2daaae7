"""Ridge regression along a path of regularisation, in closed form.

The objective is scikit-learn's `Ridge`: ``||y - X w - b||^2 + alpha ||w||^2`` with a free
intercept. One eigendecomposition gives every alpha.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def ridge_path(features: Tensor, values: Tensor, alphas: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Solutions for each alpha.

    Args:
        features: ``(n, F)``.
        values: ``(n,)``, all known.
        alphas: strengths of the penalty, each positive.

    Returns:
        Weights ``(len(alphas), F)`` and intercepts ``(len(alphas),)``, float64.
    """
    features, values = features.double(), values.double()
    strengths = torch.tensor(list(alphas), dtype=torch.float64, device=features.device)
    centre, level = features.mean(0), values.mean()
    features, values = features - centre, values - level
    if len(features) < features.shape[1]:  # the solution is a combination of the rows
        roots, axes = torch.linalg.eigh(features @ features.T)
        shrunk = (axes.T @ values) / (roots.clamp_min(0.0) + strengths[:, None])
        weight = (shrunk @ axes.T) @ features
    else:
        roots, axes = torch.linalg.eigh(features.T @ features)
        shrunk = (axes.T @ (features.T @ values)) / (roots.clamp_min(0.0) + strengths[:, None])
        weight = shrunk @ axes.T
    return weight, level - weight @ centre
