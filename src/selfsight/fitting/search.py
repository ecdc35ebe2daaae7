"""The search of a fine-tuning: learning rates and steps, chosen inside the labels.

The protocol of the SimCLR and VICReg papers (a share of the labels, every weight trained) without
their look at test: the two learning rates and the number of steps are chosen on a fifth of the
subset, held out by group, with early stopping there; then the training is repeated on the whole
subset. Training from scratch is the same search from fresh weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.console import counted, duration, progress
from selfsight.fitting.finetune import FineTuned, Start, seconds_of_step, train
from selfsight.fitting.labelled import Subset
from selfsight.fitting.recipe import RANDOM, FineTuning, Recipe
from selfsight.fitting.stopping import DivergedError, Stopping


def fine_tune(start: Start, subset: Subset, settings: FineTuning) -> FineTuned:
    """Chooses rates and steps inside the subset, then trains on all of it.

    Returns:
        The trained pair. With too few labels to choose by (`Subset.enough`) the middle rates and
        the fewest steps are used, and ``choice`` says so.

    Raises:
        ValueError: labels that nothing can be fitted to, or every pair of rates diverged.
    """
    subset.check()
    features, recipes = start.represent(subset), settings.recipes
    held = subset.folds(1) == 0
    chosen, recipe, steps = bool(held.any()), recipes[len(recipes) // 2], settings.min_steps
    output = None
    if chosen:
        recipe, best = _best(start, subset, recipes, features, held)
        steps, output = best.steps, best.looks.output
    result = train(start, subset, recipe, features, metric="loss", stop_at=steps)
    rates: dict[str, Any] = {"backbone_lr": recipe.backbone_lr, "head_lr": recipe.head_lr}
    taken = recipe.resolved(published=start.published)
    for name in RANDOM:
        if getattr(taken, name) != RANDOM[name]:
            rates[name] = getattr(taken, name)
    result.thresholds = subset.thresholds(output, held)
    result.choice = {"chosen": chosen, **rates, "steps": steps}
    return result


def _best(
    start: Start,
    subset: Subset,
    recipes: list[Recipe],
    features: Tensor,
    held: NDArray[np.bool_],
) -> tuple[Recipe, FineTuned]:
    """By the (balanced) accuracy of the rows held out; the loss where the target is no class."""
    metric = "loss"
    if subset.kind == "class":
        metric = "balanced_accuracy" if subset.balanced else "accuracy"
    best: tuple[tuple[float, float], Recipe, FineTuned] | None = None
    with progress("pairs of learning rates", len(recipes)) as tries:
        for recipe in recipes:
            try:
                tried = train(
                    start, subset, recipe, features, held, metric=metric, stopping=Stopping()
                )
            except DivergedError as error:
                reason = error
                continue
            finally:
                tries.update()
            value, loss = tried.looks.value, tried.looks.loss
            place = (-value if metric == "loss" else value, -loss)
            if best is None or place > best[0]:
                best = (place, recipe, tried)
    if best is None:
        raise DivergedError(f"fine-tuning: with every learning rate {reason}; try lower ones.")
    return best[1], best[2]


def estimate(start: Start, subset: Subset, settings: FineTuning, sizes: Sequence[int]) -> str:
    """How long some searches take at most, in words; measured on two steps.

    Args:
        start: the weights to begin with.
        subset: images to measure a step on.
        settings: of the search.
        sizes: the number of labels of each search.
    """
    passed = seconds_of_step(start, subset, settings.batch_size)
    pairs = len(settings.recipes)
    steps = sum(map(settings.steps, sizes)) * (pairs + 1)
    return (
        f"{pairs} pair{'s' * (pairs > 1)} of learning rates, {counted(steps, 'step')} at most, "
        f"{duration(steps * passed)} on this machine ({counted(torch.get_num_threads(), 'thread')})"
    )
