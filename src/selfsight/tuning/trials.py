"""A trial that trains on labels: its reports, and what is noted of how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch

from selfsight.tuning.fitting import DivergedError

if TYPE_CHECKING:
    import optuna

Look = Callable[[int, float], None]
"""Called with the number of a look at what is held out, from 1, and the best value so far."""


class Measured(Protocol):
    """A training that was looked at."""

    @property
    def value(self) -> float: ...
    @property
    def curve(self) -> Sequence[float]: ...
    @property
    def epochs(self) -> int: ...
    @property
    def best_epoch(self) -> int: ...
    @property
    def stopped(self) -> bool: ...


def value_of_trial(
    trial: optuna.Trial, training: Callable[[Look], Measured], pruner: str, *, every: int = 1
) -> float:
    """Runs the training of a trial, prunes it where that is due, notes its curve and its end.

    Args:
        trial: of the study.
        training: calls what it is given at each look.
        pruner: its name, for the note.
        every: looks between two reports; each is a write to the disk.

    Raises:
        optuna.TrialPruned: the trial will not win, or its numbers are not finite.
    """
    import optuna

    curve: list[float] = []

    def look(number: int, best: float) -> None:
        curve.append(round(best, 6))
        if number % every == 0:
            trial.report(best, number)
            if trial.should_prune():
                raise optuna.TrialPruned

    trial.set_user_attr("threads", torch.get_num_threads())
    try:
        found = training(look)
    except optuna.TrialPruned:
        trial.set_user_attr("epochs", len(curve))
        trial.set_user_attr("curve", curve)
        trial.set_user_attr("reason", f"pruned ({pruner})")
        raise
    except DivergedError as error:
        trial.set_user_attr("epochs", len(curve) + 1)
        trial.set_user_attr("reason", f"diverged: {error}")
        raise optuna.TrialPruned from None
    trial.set_user_attr("epochs", found.epochs)
    trial.set_user_attr("best_epoch", found.best_epoch)
    trial.set_user_attr("curve", [round(each, 6) for each in found.curve])
    if found.stopped:
        trial.set_user_attr("reason", "stopped early")
    return found.value
