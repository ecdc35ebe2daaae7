"""When representations have collapsed: the rule that training, tuning and pages share."""

from __future__ import annotations

from collections.abc import Mapping

COLLAPSED_RANK = 2.0
"""Effective rank below which the representations lie on a line."""
COLLAPSED_SPREAD = 0.05
"""Share of an even spread below which all images look the same to the backbone."""


def collapsed(measured: Mapping[str, float]) -> bool:
    """Whether representations have collapsed, by ``effective_rank`` and ``spread``.

    A measure that is missing says nothing; both are columns of ``metrics.csv``.
    """
    return (
        measured.get("effective_rank", COLLAPSED_RANK) < COLLAPSED_RANK
        or measured.get("spread", COLLAPSED_SPREAD) < COLLAPSED_SPREAD
    )
