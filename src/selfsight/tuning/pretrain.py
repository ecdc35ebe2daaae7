"""The verb `tune pretrain`: each trial is a pretraining, ended early where it will not win."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight import vocabulary
from selfsight.console import counted
from selfsight.data.imageset import ImageSet, Target
from selfsight.data.options import DataOptions, Images
from selfsight.evaluation.protocol import evaluate
from selfsight.evaluation.result_tables import Row
from selfsight.evaluation.results import Results
from selfsight.evaluation.settings import Evaluate
from selfsight.files import check_output_folder, read_json
from selfsight.fitting.representation_cache import weights_key
from selfsight.fitting.stopping import DivergedError, Look
from selfsight.methods import METHODS
from selfsight.networks.specs import code_file
from selfsight.outputs import check_not_the_data, check_own_folder
from selfsight.runs.folder import RunFolder
from selfsight.runs.run import load_run
from selfsight.training import plan as planning
from selfsight.training import pretrain as training
from selfsight.training.checkpoints import NotFiniteError
from selfsight.training.monitor import monitored
from selfsight.training.resuming import inputs_of
from selfsight.training.run_files import write_selection
from selfsight.training.settings import Pretrain, method_name
from selfsight.training.start import check_code
from selfsight.tuning.judge import WORTH, Judge, Objective, choose_objective, metric_of
from selfsight.tuning.pretraining_settings import TunePretraining
from selfsight.tuning.pretraining_space import default_space, value_of, with_changes
from selfsight.tuning.record import Tuned
from selfsight.tuning.space import Choice, read_space
from selfsight.tuning.storage import FILES
from selfsight.tuning.study import Outcome, Problem, contents
from selfsight.tuning.verdict import tune

_DATA = ("data", "out", *DataOptions.model_fields)


@dataclass(kw_only=True)
class PretrainProblem(Problem):
    """Settings of a pretraining in, its worth after the last epoch."""

    settings: TunePretraining
    base: Pretrain
    images: ImageSet
    target: Target | None
    objective: Objective

    def of(self, changes: Mapping[str, Any], folder: str) -> Pretrain:
        """A pretraining of the study, in a folder below the study's."""
        return with_changes(self.base, changes).updated({"out": str(self.folder / folder)})

    def judge(self, plan: planning.Plan, look: Look | None = None) -> Judge:
        return Judge(
            self.objective,
            plan,
            count=self.settings.monitor_images,
            seed=self.settings.seed,
            rule=self.settings.stopping.rule("highest"),
            look=look,
        )

    def run(self, changes: Mapping[str, Any], look: Look, number: int) -> Outcome:
        # A trial that is run again goes on in the folder, and from the checkpoint, of the first.
        plan = planning.prepare(self.of(changes, f"trials/{number:04d}"), self.images)
        judge, interrupted = self.judge(plan, look), False
        try:
            training.train(plan, [judge])
        except NotFiniteError:
            raise DivergedError("its loss is not finite") from None
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            if not interrupted:
                shutil.rmtree(plan.folder.path / "checkpoints", ignore_errors=True)
        return self._outcome(judge.values)

    def run_again(self, changes: Mapping[str, Any], number: int) -> Outcome:
        """As a whole run, in ``best-NUMBER``."""
        return self.trained(self.of(changes, f"best-{number:04d}"))

    def trained(self, settings: Pretrain) -> Outcome:
        """A pretraining as a whole run; one that is there already is read."""
        judge = self.judge(planning.prepare(settings, self.images))
        training.pretrain(settings, self.images, [judge])
        if self.objective in ("knn", "linear"):
            ids = self.images.row_ids[self.labels_of_selection(judge)]
            write_selection(RunFolder(str(settings.out)).selection, ids)
        return self._outcome(judge.values or read_json(judge.path), settings)

    def labels_of_selection(self, judge: Judge) -> NDArray[np.int64]:
        """Rows whose labels compared the trials: those of every look of the judge."""
        if self.objective == "linear":
            return np.union1d(judge.train, judge.held)
        count, seed = self.base.monitor_images, self.base.seed
        _, bank, queries = monitored(self.images, self.target, count=count, seed=seed)
        return np.union1d(bank, queries)

    def _outcome(self, values: list[float], trained: Pretrain | None = None) -> Outcome:
        return Outcome(values[-1], values, len(values), len(values) < self.looks, trained)

    def best_yaml(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        return with_changes(self.base, changes).updated({"out": None}).plain()

    def read_test(self, changes: Mapping[str, Any], again: Outcome) -> dict[str, Any] | None:
        """One evaluation of the best run beside its controls and the settings of the beginning."""
        first, chosen = self.first or {}, again.trained
        default = chosen
        if self.space.params_of(changes) != dict(first):
            default = self.of({}, "default")
            self.trained(default)
        if not self.settings.fractions or self.target is None:
            return None
        controls = ("untrained", "pixels") + (str(default.out),) * (default.out != chosen.out)
        wish = Evaluate(
            run=chosen.out,
            target=self.target.name,
            fractions=self.settings.fractions,
            controls=controls,
            drop_leaks=self.settings.drop_leaks,
            allow_leaks=self.settings.allow_leaks,
            seed=self.settings.seed,
            device=self.settings.device,
            allow_code=self.settings.allow_code,
        )
        results = self._evaluated(wish) or evaluate(wish, self.images)
        keys = ("probe", "metric", "mean", "low", "high", "reason")

        def shown(rows: list[Row], subject: str, *more: str) -> list[Row]:
            full = max(self.settings.fractions)
            return [
                {**{key: row[key] for key in (*keys, *more) if key in row}, "subject": row[subject]}
                for row in rows
                if row["label"] is None and row["label_fraction"] == full
            ]

        noted = ("when", "probe", "subject", "label_fraction", "label_seed", "initialisation")
        return {
            "split": results.values[0]["split"] if results.values else "test",
            "values": shown(results.values, "subject"),
            "differences": shown(results.differences, "control", "verdict"),
            "readings": [
                {key: row[key] for key in noted if key in row} for row in results.test_readings
            ],
        }

    def _evaluated(self, wish: Evaluate) -> Results | None:
        """The evaluation of the best run, where a study that was cut off had already made it."""
        path = RunFolder(wish.run).results
        if not path.is_file():
            return None
        results = Results.read(path)
        if results.backbone != weights_key(load_run(wish.run).backbone(allow_code=wish.allow_code)):
            return None
        names = {Path(name).name for name in ("trained", *wish.controls)}
        asked = {(name, fraction) for name in names for fraction in wish.fractions}
        there = {
            (row["subject"], row["label_fraction"])
            for row in results.values
            if row["target"] == wish.target and row["data"] == self.images.name
        }
        return results if asked <= there else None

    def facts(self, changes: Mapping[str, Any], again: Outcome) -> dict[str, Any]:
        settings = {n: list(v) if isinstance(v, tuple) else v for n, v in changes.items()}
        return {
            "method": method_name(self.base.method),
            "data": self.images.name,
            "target": self.target.name if self.target else None,
            "task": self.target.kind if self.target else None,
            "objective": self.objective,
            "best": {"epoch": again.best, "run": again.trained.out, "settings": settings},
        }

    def called(self, probe: str, subject: str) -> str:
        if subject == "default":
            return "the settings it began with"
        return vocabulary.subject(subject).phrase


def tune_pretraining(settings: TunePretraining, images: Images | None = None) -> Tuned | None:
    """Searches a pretraining's settings, trains the best again and evaluates it once.

    Args:
        settings: see `TunePretraining`.
        images: what to open instead of ``settings.data``: an image set, arrays, a dataset.

    Returns:
        The finished study; None for a worker that joined.

    Raises:
        ValueError: data, space, objective or storage cannot be used.
    """
    check_output_folder(settings.out)
    check_not_the_data(settings.out, settings.data if images is None else images)
    check_own_folder(settings.out, FILES)
    return tune(settings, images, prepare)


def prepare(settings: TunePretraining, images: Images | None = None) -> PretrainProblem:
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
        {"backbone": given.backbone, "network": given.network, "out": None}
    )
    objective = choose_objective(settings.objective, resolved.images, resolved.target)
    space = read_space(settings.search, default_space(base))
    for name in space:
        if name.partition(".")[0] in _DATA:
            raise ValueError(
                f"search {name}: it says what is trained on, and is no setting to search."
            )
    space = space.fitted(lambda changes: with_changes(base, changes), value_of)
    inputs, kind = inputs_of(resolved), METHODS[method_name(given.method)]
    choices = [
        value
        for dimension in space.values()
        if isinstance(dimension, Choice)
        for value in dimension.values
        if isinstance(value, str)
    ]
    backbones = [resolved.spec.name, *(name for name in choices if code_file(name))]
    if settings.fractions and resolved.target is not None:
        for name in backbones:
            check_code(name, allowed=settings.allow_code, instead="--fractions without a share")
    method, data = method_name(given.method), Path(given.data).stem
    files = contents([method, base.weights, *backbones, *kind.teachers(given.method), *choices])
    about = {
        "verb": "pretrain",
        "name": f"{data}-{method}",
        **{name: value for name, value in inputs.items() if name in ("images", "pools")},
        **files,
        "settings": {k: v for k, v in base.plain().items() if k not in ("out", "data")},
        "objective": objective,
        "stopping": settings.stopping.plain(),
        "space": space.plain(),
        "sampler": settings.sampler,
        "pruner": settings.pruner,
        "seed": settings.seed,
    }
    return PretrainProblem(
        folder=Path(settings.out or f"runs/tune-{data}-{Path(method).stem}"),
        about=about,
        space=space,
        first=space.params_of({name: value_of(base, name) for name in space}),
        metric=metric_of(objective, resolved.target),
        mode="highest",
        looks=resolved.epochs,
        cost=f"A trial trains for up to {counted(resolved.epochs, 'epoch')}. "
        "The end takes up to two more "
        "trainings (the best settings and those that the study began with) and one evaluation.",
        seed=settings.seed,
        notes=(*resolved.notes, f"Trials are compared by {WORTH[objective]}."),
        judged_by=WORTH[objective],
        unit="epoch",
        by_probe=True,
        settings=settings,
        base=base,
        images=resolved.images,
        target=resolved.target,
        objective=objective,
    )
