"""The verb `tune pretrain`: each trial is a pretraining, ended early where it will not win."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from selfsight.data.imageset import ImageSet, Target
from selfsight.fitting.stopping import Stopping
from selfsight.training import plan as planning
from selfsight.training import pretrain as training
from selfsight.training.checkpoints import NotFiniteError
from selfsight.training.settings import Pretrain, method_name
from selfsight.tuning.judge import (
    WORTH,
    CollapsedError,
    Judge,
    Objective,
    choose_objective,
    metric_of,
)
from selfsight.tuning.plan import Plan
from selfsight.tuning.pretraining_space import default_space, kinds, value_of, with_changes
from selfsight.tuning.settings import Search
from selfsight.tuning.space import Space, read_space
from selfsight.tuning.study import original_number
from selfsight.tuning.workers import search

if TYPE_CHECKING:
    import optuna

    from selfsight.tuning.record import Tuned


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
    fractions: tuple[float, ...] = (1.0,)
    """Shares of the train labels for the one evaluation of the best run; () leaves it out."""


@dataclass(frozen=True)
class Bench:
    """A study of pretrainings that has been resolved."""

    settings: TunePretraining
    base: Pretrain
    images: ImageSet
    target: Target | None
    objective: Objective
    space: Space
    plan: Plan
    notes: tuple[str, ...]

    def of(self, changes: Mapping[str, Any], folder: Path) -> Pretrain:
        """The pretraining of a trial, in its folder."""
        return with_changes(self.base, changes).updated({"out": str(folder)})

    def judge(self, plan: planning.Plan, look: Any = None) -> Judge:
        settings = self.settings
        return Judge(
            self.objective,
            plan.folder.path / "objective.json",
            plan.images,
            plan.target,
            plan.statistics,
            count=settings.monitor_images,
            seed=settings.seed,
            rule=settings.stopping.rule("highest"),
            look=look,
        )


def tune_pretraining(settings: TunePretraining, images: ImageSet | None = None) -> Tuned | None:
    """Searches a pretraining's settings, trains the best again and evaluates it once.

    Args:
        settings: see `TunePretraining`.
        images: an image set already opened.

    Returns:
        What was found; None for a worker that joined.

    Raises:
        ValueError: data, space, objective or storage cannot be used.
    """
    from selfsight.tuning.pretraining_report import conclude

    return search(settings, images, prepare, objective, conclude)


def prepare(settings: TunePretraining, images: ImageSet | None = None) -> Bench:
    """Opens the images, resolves the pretraining that the search starts from, reads the space.

    Raises:
        ValueError: see `tune_pretraining`.
    """
    if settings.devices * settings.nodes > 1:
        raise ValueError(
            "devices: a trial is trained by one process; use several --workers instead."
        )
    if not settings.monitor_images:
        raise ValueError("monitor_images: a study needs them, to compare its trials.")
    given = Pretrain(**{name: getattr(settings, name) for name in Pretrain.model_fields})
    resolved = planning.prepare(given, images)
    # Backbone and network stay as given, since a trial may have others; the preset is applied.
    base = resolved.settings.updated(
        {"backbone": given.backbone, "network": given.network, "preset": "paper", "out": None}
    )
    objective = choose_objective(settings.objective, resolved.images, resolved.target)
    space = read_space(settings.search, default_space(base)).fitted(
        lambda changes: with_changes(base, changes), lambda name: _kinds(base, name)
    )
    first = space.params_of({name: value_of(base, name) for name in space})
    about = {
        "verb": "pretrain",
        "name": f"{Path(given.data).stem}-{method_name(given.method)}",
        "images": resolved.images.fingerprint(),
        "settings": {k: v for k, v in base.plain().items() if k not in ("out", "data")},
        "objective": objective,
        "stopping": settings.stopping.plain(),
        "space": space.plain(),
        "sampler": settings.sampler,
        "pruner": settings.pruner,
        "seed": settings.seed,
    }
    name = method_name(given.method)
    folder = Path(settings.out or f"runs/tune-{Path(given.data).stem}-{Path(name).stem}")
    metric = metric_of(objective, resolved.target)
    plan = Plan(settings, folder, about, "highest", first, base.epochs, settings.seed, metric)
    notes = (*resolved.notes, f"Trials are compared by {WORTH[objective]}.")
    return Bench(settings, base, resolved.images, resolved.target, objective, space, plan, notes)


def _kinds(base: Pretrain, name: str) -> set[type]:
    if name.partition(".")[0] in ("data", "target", "group", "limit", "image_size", "seed", "out"):
        raise ValueError(f"search {name}: it says what is trained on, and is no setting to search.")
    try:
        return kinds(base, name)
    except ValueError as error:
        raise ValueError(f"search {name}: {error}") from None


def objective(bench: Bench) -> Any:
    """A trial: settings of a pretraining in, its worth after the last epoch."""
    import optuna

    def value(trial: optuna.Trial) -> float:
        changes = bench.space.suggest(trial)
        # A trial taken up again goes on in the folder, and from the checkpoint, of the first try.
        folder = bench.plan.folder / "trials" / f"{original_number(trial):04d}"
        plan = planning.prepare(bench.of(changes, folder), bench.images)

        def look(epoch: int, worth: float) -> None:
            trial.report(worth, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        judge = bench.judge(plan, look)
        trial.set_user_attr("threads", torch.get_num_threads())
        try:
            training.train(plan, [judge])
        except optuna.TrialPruned:
            _ended(trial, judge, f"pruned ({bench.settings.pruner})")
            raise
        except CollapsedError:
            _ended(trial, judge, "collapsed", more=1)
            raise optuna.TrialPruned from None
        except NotFiniteError:
            _ended(trial, judge, "diverged", more=1)
            raise optuna.TrialPruned from None
        stopped = len(judge.values) < bench.base.epochs
        _ended(trial, judge, "stopped early" if stopped else "")
        return judge.values[-1]

    return value


def _ended(trial: optuna.Trial, judge: Judge, reason: str, more: int = 0) -> None:
    """Notes how the trial ended; its checkpoint has served."""
    trial.set_user_attr("epochs", len(judge.values) + more)
    trial.set_user_attr("best_epoch", len(judge.values))
    trial.set_user_attr("curve", [round(each, 6) for each in judge.values])
    if reason:
        trial.set_user_attr("reason", reason)
    shutil.rmtree(judge.path.parent / "checkpoints", ignore_errors=True)
