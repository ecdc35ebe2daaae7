"""Early stopping, and the looks of a training at what it holds out: of every fit and study."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from selfsight.settings import Settings
from selfsight.vocabulary import higher_is_better

Mode = Literal["highest", "lowest"]
Look = Callable[[int, float], None]
"""Called with the number of a look, from 1, and the best value so far; may raise."""


def mode_of(metric: str) -> Mode:
    """Whether the better value of a metric, or of ``loss``, is the higher or the lower one."""
    return "highest" if metric != "loss" and higher_is_better(metric) else "lowest"


class DivergedError(ValueError):
    """A training gave numbers that are not finite."""

    reason = "diverged"


class Stopping(Settings):
    """When to stop waiting for a better value."""

    patience: Annotated[int, Field(ge=1)] | None = 10
    """Looks in a row without an improvement before it stops; None: never."""
    min_improvement: Annotated[float, Field(ge=0.0)] = 0.0
    """By how much a value must be better than the best one to count."""

    def rule(self, mode: Mode) -> StoppingRule:
        return StoppingRule(self, mode)


class StoppingRule:
    """Stops after ``patience`` values in a row that did not improve on the best one.

    A value counts as an improvement when it is better than the last one that counted by more than
    ``min_improvement``, so that many small steps add up to one. A value that is not finite never
    improves.

    Args:
        settings: patience and improvement.
        mode: whether a better value is higher or lower.
    """

    def __init__(self, settings: Stopping, mode: Mode) -> None:
        self.patience, self.min_improvement = settings.patience, settings.min_improvement
        self.mode = mode
        self.waited = 0
        """Values since the last improvement."""
        self._counted: float | None = None

    def step(self, value: float) -> bool:
        """Takes the next value; whether to stop now."""
        better = self._counted is None or self.gain(value, self._counted) > self.min_improvement
        if math.isfinite(value) and better:
            self._counted, self.waited = value, 0
            return False
        self.waited += 1
        return self.patience is not None and self.waited >= self.patience

    def steps(self, values: Iterable[float]) -> bool:
        """Takes values until it stops or they end; whether it stopped."""
        return any(self.step(value) for value in values)

    def gain(self, value: float, over: float) -> float:
        return value - over if self.mode == "highest" else over - value


class Looks:
    """The looks of a training at the rows held out; the state at the best one is kept.

    The best look has the best watched value, and of equal ones the lowest loss.

    Args:
        metric: of the target's kind, or ``loss``: what a look sees.
        stopping: ends the training early; None: never.
        watch: ``metric`` or ``loss``: what the stopping and the best look go by.
        report: called after each look.

    Attributes:
        curve: the metric at each look.
        value: the metric at the best look; NaN before there is one.
        loss: of the rows held out, at the best look.
        best: the number of the best look, from 1; 0 before there is one.
        stopped: whether the rule ended the training.
        output: ``(m, K)`` predictions of the rows held out, at the best look.
        state: what `see` was given to keep, at the best look.
    """

    def __init__(
        self,
        metric: str,
        stopping: Stopping | None = None,
        watch: str = "metric",
        report: Look | None = None,
    ) -> None:
        mode = mode_of("loss" if watch == "loss" else metric)
        self.rule = (stopping or Stopping(patience=None)).rule(mode)
        self.watch, self.report = watch, report
        self.curve: list[float] = []
        self.value, self.loss, self.best, self.stopped = math.nan, math.nan, 0, False
        self.output: NDArray[np.float32] | None = None
        self.state: Any = None
        self._watched = math.nan

    def see(
        self, value: float, loss: float, output: NDArray[np.float32], keep: Callable[[], Any]
    ) -> bool:
        """Takes a look; whether to stop now.

        Args:
            value: the metric.
            loss: of the rows held out.
            output: ``(m, K)`` predictions of them.
            keep: gives the state of the training, called where this look is the best so far.
        """
        self.curve.append(value)
        watched = loss if self.watch == "loss" else value
        gain = self.rule.gain(watched, self._watched) if self.best else math.inf
        if math.isfinite(watched) and (gain > 0 or (gain == 0 and loss < self.loss)):
            self._watched, self.value, self.loss = watched, value, loss
            self.best, self.output, self.state = len(self.curve), output, keep()
        self.stopped = self.rule.step(watched)
        if self.report is not None:
            self.report(len(self.curve), self.value)
        return self.stopped
