"""`Search`: what every study is told."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from tyro.conf import Suppress

from selfsight.settings import Settings


class Search(Settings):
    """How a study searches, where it is kept and when it stops."""

    search: tuple[str, ...] = ()
    """SETTING=RANGE words, as in "optimizer.lr=log(1e-4,1)" epochs=5..20 backbone=resnet18,auto,
    or a YAML file of them; `default` is the default space."""
    trials: Annotated[int, Field(ge=1)] = 100
    """Trials of the study, over all workers and all times it was started."""
    minutes: Annotated[float, Field(gt=0.0)] | None = None
    """No trial begins later than this after the command was started."""
    patience_trials: Annotated[int, Field(ge=1)] | None = None
    """The study stops after this many trials in a row without a better value."""
    sampler: Literal["tpe", "random"] = "tpe"
    """How the next trial is chosen: Optuna's TPE, or at random."""
    pruner: Literal["median", "hyperband", "halving", "none"] = "median"
    """How a trial that will not win is ended early; halving is Hyperband's strictest bracket."""
    storage: str | None = None
    """postgresql://USER@HOST/DATABASE for many machines; by default OUT/study.journal."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Processes that this command starts; a study of one worker is a function of its seed."""
    join: bool = False
    """Only work on the trials of a study that another command began, and leave."""
    heartbeat: Suppress[Annotated[int, Field(ge=1)]] = 30
    """Seconds between signs of life in a database; a worker silent for four of them is dead."""

    @model_validator(mode="after")
    def _storage_is_known(self) -> Search:
        if self.storage is not None and not self.storage.startswith("postgresql"):
            raise ValueError(
                f"storage: give postgresql://USER@HOST/DATABASE, or leave it out for a journal "
                f"file in the study's folder (got {self.storage!r})"
            )
        return self
