"""The verb `tune probe`: the classifier on cached representations.

Trials see labelled train and validation images alone; test is read once, by the best one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from selfsight.data.imageset import ImageSet, Target
from selfsight.data.request import Images
from selfsight.data.splits import LabelFraction
from selfsight.evaluation.controls import Material, Subject, subjects
from selfsight.fitting.stopping import Mode, Stopping
from selfsight.fitting.tasks import TASKS, higher_is_better
from selfsight.runs.request import RunData, images_of
from selfsight.runs.run import Run, load_run
from selfsight.settings import unknown
from selfsight.training.device import choose_device
from selfsight.tuning.classifier import Classifier
from selfsight.tuning.fitting import Fit, Labelled, Rows, fit
from selfsight.tuning.held_out import cut, labelled_rows, target_of
from selfsight.tuning.plan import Plan
from selfsight.tuning.settings import Search
from selfsight.tuning.space import Space, read_space, searched_kinds, value_of
from selfsight.tuning.trials import value_of_trial
from selfsight.tuning.workers import search

if TYPE_CHECKING:
    import optuna

    from selfsight.tuning.record import Tuned

SPACE = {
    "probe.depth": "0..3",
    "probe.width": "log(32,1024)",
    "probe.narrowing": "0.5,1.0",
    "probe.activation": "relu,gelu,silu,tanh",
    "probe.normalisation": "none,layer,batch",
    "probe.dropout": "0..0.6",
    "probe.optimizer": "sgd,adam,adamw",
    "probe.lr": "log(1e-4,1)",
    "probe.weight_decay": "log(1e-6,1)",
    "probe.batch_size": "32,64,128,256,512",
}
"""The default space, for every kind of target."""
OF_LABELS = {"probe.class_weights": "none,balanced,root", "probe.label_smoothing": "0..0.2"}
"""Its part for classes and several labels."""


class TuneProbe(RunData, Search):
    """Search the classifier on a run's representations; read test once, with the best."""

    out: str | None = None
    """The study's folder; by default RUN/tuning/TARGET. The same command again continues it."""
    metric: str | None = None
    """What trials are compared by; by default accuracy, mAP or r2, as in the report."""
    label_fraction: LabelFraction = 1.0
    """Share of the labels that may be read; here those of train and validation."""
    folds: Annotated[int, Field(ge=1)] | None = None
    """Cross-validation inside these labels, by group; 1: the run's validation split; by default 5
    up to 2,000 labels, else 1."""
    epochs: Annotated[int, Field(ge=1)] = 100
    """Passes over the labelled images at most."""
    stopping: Stopping = Stopping(patience=10)
    """When a trial is ended early."""
    watch: Literal["metric", "loss"] = "metric"
    """What the early stopping looks at, on the rows held out."""
    probe: Classifier = Classifier()
    """What is not searched, and the first trial."""


@dataclass(frozen=True)
class Bench:
    """A study of probes that has been resolved: everything a trial needs."""

    settings: TuneProbe
    run: Run
    images: ImageSet
    target: Target
    labelled: Labelled
    subjects: tuple[Subject, ...]
    space: Space
    plan: Plan
    notes: tuple[str, ...]

    @property
    def metric(self) -> str:
        return self.plan.metric

    def standardised(self, subject: Subject, rows: Rows) -> torch.Tensor:
        return subject.at(0).standardised(rows)


def tune_probe(settings: TuneProbe, images: Images | None = None) -> Tuned | None:
    """Searches the classifier, trains the best one again and reads test with it once.

    Args:
        settings: see `TuneProbe`.
        images: what to open instead of ``settings.data`` or the run's own: an image set, arrays.

    Returns:
        What was found; None for a worker that joined.

    Raises:
        ValueError: no such run, target, metric or space; the sentence says what to change.
    """
    from selfsight.tuning.probe_report import conclude

    return search(settings, images, prepare, objective, conclude)


def prepare(settings: TuneProbe, images: Images | None = None) -> Bench:
    """Opens the run, computes its representations once, cuts the folds, reads the space.

    Raises:
        ValueError: see `tune_probe`.
    """
    device = choose_device(settings.device)
    run = load_run(settings.run)
    images = images_of(run, settings, images)
    own = run.settings.target if run.settings.target in images.targets else None
    target = target_of(images, settings.target or own)
    metric = settings.metric or TASKS[target.kind].headline
    if metric not in (*TASKS[target.kind].metrics, "loss"):
        raise unknown(f"metric of a {target.kind} target", metric, TASKS[target.kind].metrics)
    mode: Mode = "highest" if metric != "loss" and higher_is_better(metric) else "lowest"
    rows = images.rows("train", "validation", "test")
    material = Material(run, images, rows, images.rows("train"), device, settings.allow_code)
    found, weights, notes = subjects(material, ("untrained", "pixels"), 1)
    chosen = labelled_rows(images, target, settings.label_fraction, settings.seed)
    folds, said = cut(images, target, chosen, settings.folds, settings.seed)
    labelled = Labelled(target, chosen, found[0].at(0).standardised(chosen), folds)
    default = SPACE if target.kind == "number" else {**SPACE, **OF_LABELS}
    space = read_space(settings.search, default).fitted(
        lambda changes: with_changes(settings, changes),
        lambda name: searched_kinds(settings, name, "probe", "lr"),
    )
    first = space.params_of({name: value_of(settings, name) for name in space})
    about = {
        "verb": "probe",
        "name": run.name,
        "weights": weights,
        "images": images.fingerprint(chosen),
        "target": target.name,
        "metric": metric,
        "label_fraction": settings.label_fraction,
        "folds": int(folds.max()) + 1,
        "epochs": settings.epochs,
        "stopping": settings.stopping.plain(),
        "watch": settings.watch,
        "probe": settings.probe.plain(),
        "space": space.plain(),
        "sampler": settings.sampler,
        "pruner": settings.pruner,
        "seed": settings.seed,
        "device": device.type,
    }
    folder = Path(settings.out or run.folder.path / "tuning" / target.name)
    plan = Plan(settings, folder, about, mode, first, settings.epochs, settings.seed, metric)
    notes = [*notes, said, *images.cautions, *(f"Allowed: {leak}" for leak in images.leaks)]
    return Bench(settings, run, images, target, labelled, tuple(found), space, plan, tuple(notes))


def objective(bench: Bench) -> Any:
    """A trial: settings of the classifier in, the metric of the rows held out."""
    every = max(1, bench.settings.epochs // 25)

    def value(trial: optuna.Trial) -> float:
        classifier = with_changes(bench.settings, bench.space.suggest(trial)).probe
        return value_of_trial(
            trial,
            lambda look: measure(bench, classifier, look),
            bench.settings.pruner,
            every=every,
        )

    return value


def measure(bench: Bench, classifier: Classifier, look: Any = None) -> Fit:
    """One training with the rows held out: a function of the settings and the seed.

    Raises:
        ValueError: the metric is not defined on the rows held out.
        DivergedError: the outputs are not finite.
    """
    settings = bench.settings
    watched = "lowest" if settings.watch == "loss" else bench.plan.mode
    found = fit(
        bench.labelled,
        classifier,
        metric=bench.metric,
        epochs=settings.epochs,
        rule=settings.stopping.rule(watched),
        watch=settings.watch,
        seed=settings.seed,
        look=look,
    )
    if not np.isfinite(found.value):
        raise ValueError(
            f"{bench.metric} is not defined on the held-out images of {bench.target.name}."
        )
    return found


def with_changes(settings: TuneProbe, changes: Mapping[str, Any]) -> TuneProbe:
    """Settings of a trial.

    Raises:
        ValueError: something else than the classifier would change, or to what is not allowed.
    """
    for name in changes:
        if not name.startswith("probe."):
            raise ValueError("a study of probes searches probe.SETTING, as in probe.lr.")
    return settings.updated(dict(changes)) if changes else settings
