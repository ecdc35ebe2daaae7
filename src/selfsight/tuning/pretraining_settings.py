"""Settings of `tune pretrain`, apart from its trials: help needs no training engine."""

from __future__ import annotations

from typing import Literal

from selfsight.data.splits import LabelFraction
from selfsight.fitting.stopping import Stopping
from selfsight.training.settings import Pretrain
from selfsight.tuning.study import Search


class TunePretraining(Pretrain, Search):
    """Search the settings of a pretraining; each trial is one, on train, judged on validation."""

    out: str | None = None
    """The study's folder; by default runs/tune-DATA-METHOD. The same command continues it."""
    pruner: Literal["median", "hyperband", "halving", "none"] = "halving"
    """How a trial that will not win is ended early: of those that came as far, halving lets the
    best third go on, hyperband lets some be for longer, and median keeps the better half."""
    objective: Literal["auto", "knn", "linear", "rankme", "alpha_req"] = "auto"
    """What a trial is worth: auto is kNN for classes, a linear probe for other labels, both on
    validation, and RankMe without labels."""
    stopping: Stopping = Stopping(patience=None)
    """When a trial is ended early; by default never, for the learning rate falls to the end."""
    fractions: tuple[LabelFraction, ...] = (1.0,)
    """Shares of the train labels for the one evaluation of the best run; () leaves it out."""
    allow_code: bool = False
    """Run the file.py:build of the backbone again for the evaluation."""
