"""The loop of every training on labels: its steps, and its looks at the rows held out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfsight.fitting.labelled import Subset
from selfsight.fitting.scores import value_of
from selfsight.fitting.stopping import Looks


def take_steps(
    subset: Subset,
    held: NDArray[np.bool_],
    looks: Looks,
    step: Callable[[int], None],
    predicted: Callable[[], tuple[NDArray[np.float32], float]],
    state: Callable[[], Any],
    *,
    metric: str,
    steps: int,
    every: int,
    device: torch.device,
) -> int:
    """Trains until the looks end it or all steps are taken.

    torch's own draws (dropout) are a function of the subset's seed, and leave those outside alone.

    Args:
        subset: what may be read.
        held: ``(n,)`` rows that are held out; where none is, there are no looks.
        looks: keep the state at the best one.
        step: takes the step of this number, from 1.
        predicted: gives predictions ``(m, K)`` of the rows held out, and their loss.
        state: gives the state of the training, to be kept.
        metric: of the target's kind, or ``loss``: what a look sees.
        steps: at most.
        every: steps between two looks.
        device: of the training.

    Returns:
        The number of the step that counts: that of the best look, else the last one.
    """
    rows = subset.rows[held]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(subset.seed)
        for number in range(1, steps + 1):
            step(number)
            if not len(rows) or number % every:
                continue
            output, loss = predicted()
            value = loss if metric == "loss" else value_of(metric, subset.target, output, rows)
            if looks.see(value, loss, output, state):
                break
    return looks.best * every if looks.best else steps
