"""The early-stopping rule: of fine-tuning, of the trials of a study, and of the study itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from selfsight.settings import Settings

Mode = Literal["highest", "lowest"]


class Stopping(Settings):
    """When to stop waiting for a better value."""

    patience: Annotated[int, Field(ge=1)] | None = 10
    """Looks in a row without an improvement before it stops; None: never."""
    min_improvement: Annotated[float, Field(ge=0.0)] = 0.0
    """By how much a value must be better than the best one to count."""

    def rule(self, mode: Mode) -> StoppingRule:
        return StoppingRule(patience=self.patience, min_improvement=self.min_improvement, mode=mode)


class StoppingRule:
    """Stops after ``patience`` values in a row that did not improve on the best one.

    A value counts as an improvement when it is better than the last one that counted by more than
    ``min_improvement``, so that many small steps add up to one. The best value is kept whether it
    counted or not. A value that is not finite never improves.

    Args:
        patience: values in a row without improvement; None: it never stops.
        min_improvement: in the unit of the values.
        mode: whether a better value is higher or lower.

    Raises:
        ValueError: a patience below 1 or a negative improvement.
    """

    def __init__(
        self, *, patience: int | None, min_improvement: float = 0.0, mode: Mode = "highest"
    ) -> None:
        if patience is not None and patience < 1:
            raise ValueError(f"patience: must be at least 1 (got {patience}).")
        if not min_improvement >= 0.0:
            raise ValueError(f"min_improvement: must not be negative (got {min_improvement}).")
        self.patience, self.min_improvement, self.mode = patience, min_improvement, mode
        self.seen = 0
        """Values seen."""
        self.waited = 0
        """Values since the last improvement."""
        self.best: float | None = None
        self.best_at = 0
        """The first of the values (from 1) that was the best; 0: none was finite."""
        self._counted: float | None = None

    def step(self, value: float) -> bool:
        """Takes the next value; whether to stop now."""
        self.seen += 1
        if math.isfinite(value):
            if self.best is None or self._gain(value, self.best) > 0:
                self.best, self.best_at = value, self.seen
            if self._counted is None or self._gain(value, self._counted) > self.min_improvement:
                self._counted, self.waited = value, 0
                return False
        self.waited += 1
        return self.stopped

    def steps(self, values: Iterable[float]) -> bool:
        """Takes values until it stops or they end; whether it stopped."""
        return any(self.step(value) for value in values)

    @property
    def stopped(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    @property
    def is_best(self) -> bool:
        """Whether the last value was the best one so far."""
        return self.best_at == self.seen and self.seen > 0

    def state(self) -> dict[str, Any]:
        """Plain values that `restore` takes: for a checkpoint."""
        return {
            "seen": self.seen,
            "waited": self.waited,
            "best": self.best,
            "best_at": self.best_at,
            "counted": self._counted,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.seen, self.waited = int(state["seen"]), int(state["waited"])
        self.best, self.best_at = state["best"], int(state["best_at"])
        self._counted = state["counted"]

    def _gain(self, value: float, over: float) -> float:
        return value - over if self.mode == "highest" else over - value
