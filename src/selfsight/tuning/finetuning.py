"""The verb `tune finetune`: all weights trained on labels, and how to do that searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from selfsight.data.imageset import ImageSet, Target
from selfsight.data.request import Images
from selfsight.data.splits import LabelFraction
from selfsight.fitting.finetune import Labelled
from selfsight.fitting.representations import kept_representations, weights_key
from selfsight.fitting.stopping import Mode, Stopping
from selfsight.fitting.tasks import TASKS, higher_is_better
from selfsight.networks.backbones import Backbone
from selfsight.runs.request import RunData, images_of
from selfsight.runs.run import Run, load_run
from selfsight.settings import unknown
from selfsight.training.device import choose_device
from selfsight.tuning.held_out import cut, labelled_rows, target_of
from selfsight.tuning.plan import Plan
from selfsight.tuning.recipe import LOOKS, Recipe, Trained, train
from selfsight.tuning.settings import Search
from selfsight.tuning.space import Space, read_space, searched_kinds, value_of
from selfsight.tuning.trials import value_of_trial
from selfsight.tuning.workers import search

if TYPE_CHECKING:
    import optuna

    from selfsight.tuning.record import Tuned

SPACE = {
    "recipe.backbone_lr": "log(1e-5,1e-2)",
    "recipe.head_lr": "log(1e-4,1e-1)",
    "recipe.weight_decay": "log(1e-4,1)",
    "recipe.frozen": "0..0.5",
    "recipe.dropout": "0..0.5",
    "recipe.batch_size": "32,64,128",
}
"""The default space, for every kind of target."""
OF_LABELS = {"recipe.label_smoothing": "0..0.2"}
"""Its part for classes and several labels."""


class TuneFinetuning(RunData, Search):
    """Search how a run's backbone is fine-tuned; read test once, with the best."""

    out: str | None = None
    """The study's folder; by default RUN/tuning/finetune-TARGET. The same command continues it."""
    trials: Annotated[int, Field(ge=1)] = 20
    """Trials of the study, over all workers and all times it was started."""
    metric: str | None = None
    """What trials are compared by; by default accuracy, mAP or r2, as in the report."""
    label_fraction: LabelFraction = 1.0
    """Share of the labels that may be read; here those of train and validation."""
    stopping: Stopping = Stopping(patience=10)
    """When a trial is ended early, in looks at the images held out: there are 20 at most."""
    recipe: Recipe = Recipe()
    """What is not searched, and the first trial."""


@dataclass(frozen=True)
class Bench:
    """A study of fine-tunings that has been resolved: everything a trial needs."""

    settings: TuneFinetuning
    run: Run
    images: ImageSet
    target: Target
    labelled: Labelled
    held: NDArray[np.bool_]
    start: Backbone
    space: Space
    plan: Plan
    notes: tuple[str, ...]

    @property
    def metric(self) -> str:
        return self.plan.metric

    def features(self, backbone: Backbone, name: str) -> torch.Tensor:
        """``(n, F)`` representations of the labelled rows, computed once for all trials."""
        labelled = self.labelled
        return kept_representations(
            self.run.folder.representations,
            name,
            backbone,
            self.images,
            labelled.rows,
            labelled.statistics,
            device=labelled.device,
        )


def tune_finetuning(settings: TuneFinetuning, images: Images | None = None) -> Tuned | None:
    """Searches a fine-tuning, trains the best one again and reads test with it once.

    Args:
        settings: see `TuneFinetuning`.
        images: what to open instead of ``settings.data`` or the run's own: an image set, arrays.

    Returns:
        What was found; None for a worker that joined.

    Raises:
        ValueError: no such run, data, target, metric or space; the sentence says what to change.
    """
    from selfsight.tuning.finetuning_report import conclude

    return search(settings, images, prepare, objective, conclude)


def prepare(settings: TuneFinetuning, images: Images | None = None) -> Bench:
    """Opens run and images, holds a part of the labels out, reads the space.

    Raises:
        ValueError: see `tune_finetuning`.
    """
    device = choose_device(settings.device)
    run = load_run(settings.run)
    images = images_of(run, settings, images)
    own = run.settings.target if run.settings.target in images.targets else None
    target = target_of(images, settings.target or own)
    metric = settings.metric or TASKS[target.kind].headline
    if metric not in TASKS[target.kind].metrics:
        raise unknown(f"metric of a {target.kind} target", metric, TASKS[target.kind].metrics)
    mode: Mode = "highest" if higher_is_better(metric) else "lowest"
    rows = labelled_rows(images, target, settings.label_fraction, settings.seed)
    folds, said = cut(images, target, rows, 1, settings.seed)
    labelled = Labelled(images, target, rows, run.statistics, device, settings.seed)
    start = run.backbone(allow_code=settings.allow_code)
    default = SPACE if target.kind == "number" else {**SPACE, **OF_LABELS}
    space = read_space(settings.search, default).fitted(
        lambda changes: with_changes(settings, changes),
        lambda name: searched_kinds(settings, name, "recipe", "backbone_lr"),
    )
    about = {
        "verb": "finetune",
        "name": run.name,
        "weights": weights_key(start),
        "images": images.fingerprint(rows),
        "target": target.name,
        "metric": metric,
        "label_fraction": settings.label_fraction,
        "stopping": settings.stopping.plain(),
        "recipe": settings.recipe.plain(),
        "space": space.plain(),
        "sampler": settings.sampler,
        "pruner": settings.pruner,
        "seed": settings.seed,
        "device": device.type,
    }
    folder = Path(settings.out or run.folder.path / "tuning" / f"finetune-{target.name}")
    first = space.params_of({name: value_of(settings, name) for name in space})
    plan = Plan(settings, folder, about, mode, first, LOOKS, settings.seed, metric)
    notes = (said, *images.cautions, *(f"Allowed: {leak}" for leak in images.leaks))
    return Bench(settings, run, images, target, labelled, folds == 0, start, space, plan, notes)


def objective(bench: Bench) -> Any:
    """A trial: a recipe in, the metric of the images held out."""

    def value(trial: optuna.Trial) -> float:
        recipe = with_changes(bench.settings, bench.space.suggest(trial)).recipe
        return value_of_trial(
            trial, lambda look: measure(bench, recipe, look), bench.settings.pruner
        )

    return value


def measure(bench: Bench, recipe: Recipe, look: Any = None) -> Trained:
    """One fine-tuning with the held-out images left out of it: a function of recipe and seed.

    Raises:
        ValueError: the metric is not defined on the images held out.
        DivergedError: the predictions are not finite.
    """
    found = train(
        bench.start,
        bench.features(bench.start, "finetune-start"),
        bench.labelled,
        recipe,
        bench.held,
        metric=bench.metric,
        rule=bench.settings.stopping.rule(bench.plan.mode),
        look=look,
    )
    if not np.isfinite(found.value):
        raise ValueError(
            f"{bench.metric} is not defined on the held-out images of {bench.target.name}."
        )
    return found


def with_changes(settings: TuneFinetuning, changes: Mapping[str, Any]) -> TuneFinetuning:
    """Settings of a trial.

    Raises:
        ValueError: something else than the recipe would change, or to what is not allowed.
    """
    for name in changes:
        if not name.startswith("recipe."):
            raise ValueError(
                "a study of fine-tunings searches recipe.SETTING, as in recipe.backbone_lr."
            )
    return settings.updated(dict(changes)) if changes else settings
