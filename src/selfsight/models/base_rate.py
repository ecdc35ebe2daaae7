"""What a model would score that knows the labels and sees no image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import Target
from selfsight.vocabulary import headline


def base_rate(target: Target, rows: NDArray[np.int64]) -> tuple[float, float] | None:
    """The headline metric of a constant prediction, and its standard error.

    The accuracy of the most frequent class, the mAP of random scores (the mean share of positives
    over the labels that have one), the r2 of the mean (0).

    Args:
        target: what is predicted.
        rows: ``(M,)`` scored rows; those with an unknown target are left out.

    Returns:
        Value and standard error; None for other targets, or where nothing is known.
    """
    known = rows[target.known[rows]]
    if not len(known) or target.kind not in ("class", "labels", "number"):
        return None
    values = target.values[known]
    if target.kind == "class":
        share = float(np.bincount(values).max() / len(values))
        return share, float(np.sqrt(share * (1 - share) / len(values)))
    if target.kind == "number":
        return 0.0, 0.0
    counts = np.isfinite(values).sum(0)
    positive = np.nansum(values, 0)
    scored = (positive > 0) & (positive < counts)
    if not scored.any():
        return None
    shares, counts = positive[scored] / counts[scored], counts[scored]
    error = np.sqrt(np.sum(shares * (1 - shares) / counts)) / len(shares)
    return float(shares.mean()), float(error)


def no_better(kind: str, value: float, base: tuple[float, float] | None) -> str:
    """A warning where a score is within two standard errors of its base rate, else empty.

    Args:
        kind: of the target.
        value: the model's headline metric.
        base: of `base_rate`.
    """
    if base is None or value > base[0] + 2 * base[1]:
        return ""
    guess = {"class": "the most frequent class", "labels": "random scores", "number": "the mean"}
    return (
        f"Warning: the model is no better than its base rate: {headline(kind)} {value:.3g}, and "
        f"{guess[kind]} would have {base[0]:.3g}. It needs more labels, another target, or a "
        "backbone that was trained longer; `selfsight evaluate` measures the representations."
    )
