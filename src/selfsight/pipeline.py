"""The verb `run`: pretrain, evaluate, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from selfsight.evaluation.protocol import Evaluate, evaluate
from selfsight.reporting.page import write_report
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import Pretrain


class Pipeline(Pretrain):
    """Pretrain, evaluate and report, in one go."""

    fractions: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = (0.01, 0.1, 1.0)
    """Shares of the training labels that the probes get."""
    draws: Annotated[int, Field(ge=2)] = 5
    """Draws of the labels at each share below 1."""


def run(settings: Pipeline) -> Path:
    """Pretrains on ``settings.data``, evaluates beside controls, and writes the report.

    Returns:
        The path of the page.

    Raises:
        ValueError: see `pretrain` and `evaluate`.
    """
    training = Pretrain(**{name: getattr(settings, name) for name in Pretrain.model_fields})
    finished = pretrain(training)
    path = str(finished.folder.path)
    results = evaluate(
        Evaluate(
            run=path,
            fractions=settings.fractions,
            draws=settings.draws,
            seed=settings.seed,
            device=settings.device,
        )
    )
    print(results.table())
    return write_report([path])
