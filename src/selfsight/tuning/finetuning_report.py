"""The end of `tune finetune`: the best recipe trained again, and its one reading of test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from selfsight.console import say
from selfsight.evaluation.intervals import bootstrap_weights
from selfsight.fitting.finetune import FineTuning, fine_tune
from selfsight.fitting.folds import groups_of
from selfsight.fitting.metrics import Values, score
from selfsight.fitting.probes import PROBES, Subset, best_thresholds
from selfsight.fitting.representations import represent
from selfsight.networks.backbones import Backbone
from selfsight.tuning.finetuning import Bench, measure, with_changes
from selfsight.tuning.recipe import Recipe, Trained, train
from selfsight.tuning.record import Tuned
from selfsight.tuning.verdict import compared, concluded

if TYPE_CHECKING:
    import optuna


def conclude(bench: Bench, study: optuna.Study, reason: str, seconds: float) -> Tuned:
    """Writes the study's files; reads test unless this best trial has read it before.

    Raises:
        ValueError: no trial was completed.
    """

    def more(again: Trained) -> dict[str, Any]:
        note = (
            "A look is a twentieth of the longest training of a trial. The best recipe was trained "
            f"on all labelled images for {again.steps:,} steps, as long as its best look says. "
            "The default fine-tuning chooses its two learning rates and steps inside the same "
            "labels; from fresh weights means the tuned recipe on an untrained backbone."
        )
        return {"unit": "look", "best": {"steps": again.steps}, "notes": [*bench.notes, note]}

    return concluded(
        bench,
        study,
        reason,
        seconds,
        part="recipe",
        chosen=lambda changes: with_changes(bench.settings, changes).recipe,
        measure=lambda recipe: measure(bench, recipe),
        read_test=lambda recipe, again: read_test(bench, recipe, again),
        named=_other,
        more=more,
    )


def read_test(bench: Bench, recipe: Recipe, again: Trained) -> dict[str, Any] | None:
    """The best recipe and its controls on test, all with the same labels; None without test images.

    The controls: the default fine-tuning, the linear probe on frozen representations, and the
    recipe from fresh weights.
    """
    images, target = bench.images, bench.target
    rows = images.rows("test")
    rows = rows[target.known[rows]]
    if not len(rows):
        return None
    groups = groups_of(images.groups, rows)
    weights = bootstrap_weights(groups, seed=bench.settings.seed)
    statistics = bench.run.statistics
    thresholds = None
    if target.kind == "labels":
        assert again.output is not None
        held = target.values[bench.labelled.rows[bench.held]]
        thresholds = best_thresholds(again.output, held)
    scores: dict[tuple[str, str], Values] = {}
    fresh = bench.run.untrained(bench.settings.seed)
    for name, start in (("trained", bench.start), ("scratch", fresh)):
        say(f"the tuned recipe on all {len(bench.labelled.rows):,} labels: {name}")
        found = _whole(bench, recipe, start, again.steps).found
        output = found.predict(images, rows, statistics).numpy()
        scores["tuned", name] = score(target, output, rows, weights, thresholds)
    say("the default fine-tuning, with the same labels")
    default = fine_tune(bench.start, bench.labelled, FineTuning())
    output = default.predict(images, rows, statistics).numpy()
    scores["finetune", "trained"] = score(target, output, rows, weights, default.thresholds)
    scores["linear", "trained"] = _frozen(bench, rows, weights)
    return compared(target, len(images.rows("test")), scores, len(np.unique(groups)))


def _whole(bench: Bench, recipe: Recipe, start: Backbone, steps: int) -> Trained:
    name = "finetune-start" if start is bench.start else "finetune-scratch"
    nothing = np.zeros(len(bench.labelled.rows), np.bool_)
    features = bench.features(start, name)
    return train(
        start, features, bench.labelled, recipe, nothing, metric=bench.metric, stop_at=steps
    )


def _frozen(bench: Bench, rows: Any, weights: Any) -> Values:
    """The linear probe of the run's representations, fitted to the same labels."""
    labelled, target = bench.labelled, bench.target
    features = bench.features(bench.start, "finetune-start")
    mean = features.mean(0)
    scale = features.var(0, correction=0).mean().sqrt().clamp_min(1e-12)
    fitted = PROBES["linear"](
        Subset(
            kind=target.kind,
            features=features,
            mean=mean,
            scale=scale,
            values=target.values[labelled.rows],
            groups=groups_of(bench.images.groups, labelled.rows),
            outputs=len(target.names),
            seed=bench.settings.seed,
        )
    )
    there = represent(bench.start, bench.images, rows, labelled.statistics, device=labelled.device)
    with torch.no_grad():
        output = fitted.predict(there).float().cpu().numpy()
    return score(target, output, rows, weights, fitted.thresholds)


def _other(probe: str, weights: str) -> str:
    if probe == "tuned":
        return "the same recipe from fresh weights"
    if probe == "finetune":
        return "the default fine-tuning"
    return "a linear probe on frozen representations"
