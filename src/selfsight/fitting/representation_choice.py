"""Which representation of a backbone a probe gets, chosen by the labels that it may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from selfsight.fitting.head import Fitted
from selfsight.fitting.labelled import Subset
from selfsight.fitting.probes import Fit
from selfsight.fitting.representations import Representations

Name = TypeVar("Name", bound=str)


def best_representation(
    fit: Fit, subset: Subset, candidates: Mapping[Name, Representations]
) -> tuple[Name, Fitted]:
    """Fits a probe on each candidate, and keeps the one that predicts the held-out labels best.

    The labels are held out inside the subset, by the folds with which the probe chooses
    everything else; no other label is read.

    Args:
        fit: of a probe.
        subset: what may be read.
        candidates: of one backbone by name; the first wins a draw, and is taken where the labels
            are too few to hold any out.

    Returns:
        The name, and the fitted probe, whose ``choice`` names it where there was one to make.
    """
    first, *others = candidates
    best = fit(subset, candidates[first])
    if not others:
        return first, best
    name = first
    if best.held_out_score is not None:
        for other in others:
            fitted = fit(subset, candidates[other])
            assert fitted.held_out_score is not None and best.held_out_score is not None
            if fitted.held_out_score > best.held_out_score:
                name, best = other, fitted
    return name, replace(best, choice={**best.choice, "representation": name})
