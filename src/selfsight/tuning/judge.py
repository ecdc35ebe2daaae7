"""What a pretraining is worth after each epoch, without a look at test; and whether to go on."""

from __future__ import annotations

from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np

from selfsight.data.imageset import ImageSet, Target
from selfsight.files import read_json, write_json
from selfsight.fitting.labelled import Subset
from selfsight.fitting.probes import PROBES
from selfsight.fitting.representations import Representations, represent
from selfsight.fitting.scores import value_of
from selfsight.fitting.stopping import DivergedError, Look, StoppingRule
from selfsight.measures import alpha_req
from selfsight.records.collapse import collapsed
from selfsight.training.monitor import Monitor
from selfsight.training.plan import Plan
from selfsight.vocabulary import headline

Objective = Literal["knn", "linear", "rankme", "alpha_req"]
WORTH: dict[str, str] = {
    "knn": "accuracy of nearest neighbours on the validation images",
    "linear": "a linear probe of the train images, on the validation images",
    "rankme": "RankMe, the effective rank of the representations of train images: no label is read",
    "alpha_req": "minus the distance of alpha-ReQ from 1, over train images: no label is read",
}
"""What each objective is, for people; a higher one is better."""


class CollapsedError(DivergedError):
    """The backbone gives nearly the same representation for every image."""

    reason = "collapsed"


class Judge(pl.Callback):
    """Measures the objective after each epoch and keeps it beside the trial's checkpoint.

    A trial that is taken up again from its checkpoint goes on with the values it had.

    Args:
        objective: what is measured.
        plan: of the pretraining; of its images only train and validation are read.
        count: images at most, two thirds from train.
        seed: of their draw and of the probe.
        rule: stops the training early.
        look: called with the epoch (from 1) and the value; may raise.
    """

    def __init__(
        self,
        objective: Objective,
        plan: Plan,
        *,
        count: int,
        seed: int,
        rule: StoppingRule,
        look: Look | None = None,
    ) -> None:
        self.objective, self.seed, self.rule, self.look = objective, seed, rule, look
        self.images, self.target, self.statistics = plan.images, plan.target, plan.statistics
        self.path = plan.folder.path / "objective.json"
        images, target = self.images, self.target
        self.values: list[float] = []
        draw = np.random.default_rng(seed)
        train, held = images.pool, images.rows("validation")
        if objective == "linear":
            assert target is not None
            train = images.rows("train")
            train, held = train[target.known[train]], held[target.known[held]]
        self.train = np.sort(draw.permutation(train)[: max(count * 2 // 3, 1)])
        self.held = np.sort(draw.permutation(held)[: max(count // 3, 1)])

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        done = (trainer.fit_loop.total_batch_idx + 1) // len(module.loader)
        if done and self.path.is_file():
            self.values = [float(value) for value in read_json(self.path)[:done]]
        for epoch, value in enumerate(self.values, 1):
            self.rule.step(value)
            if self.look is not None:
                self.look(epoch, value)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        monitor = next(c for c in trainer.callbacks if isinstance(c, Monitor))  # type: ignore[attr-defined]
        if collapsed(monitor.measured):
            raise CollapsedError("images look nearly the same to the backbone")
        self.values.append(self._value(monitor, module))
        write_json(self.path, self.values)
        if self.look is not None:
            self.look(len(self.values), self.values[-1])
        if self.rule.step(self.values[-1]):
            trainer.should_stop = True

    def _value(self, monitor: Monitor, module: Any) -> float:
        if self.objective in ("knn", "rankme"):
            return monitor.measured["knn" if self.objective == "knn" else "effective_rank"]
        rows = self.train
        if self.objective == "linear":
            rows = np.union1d(self.train, self.held)
        backbone = module.method.backbone
        values = represent(backbone, self.images, rows, self.statistics, device=module.device)
        if self.objective == "alpha_req":
            return -abs(float(alpha_req(values)) - 1.0)
        return self._linear(Representations.of(values, rows, self.train))

    def _linear(self, representations: Representations) -> float:
        target = self.target
        assert target is not None
        subset = Subset(self.images, target, self.train, self.seed)
        fitted = PROBES["linear"](subset, representations)
        output = fitted.output(representations.at(self.held))
        return value_of(headline(target.kind), target, output, self.held, fitted.thresholds)


def choose_objective(wanted: str, images: ImageSet, target: Target | None) -> Objective:
    """The objective that the labels allow.

    Raises:
        ValueError: labels are needed and there are none on validation.
    """
    kind = None if target is None else target.kind
    held = images.rows("validation")
    labelled = target is not None and kind != "identity" and bool(target.known[held].any())
    if wanted == "auto":
        return ("knn" if kind == "class" else "linear") if labelled else "rankme"
    if wanted in ("knn", "linear") and not labelled:
        raise ValueError(
            f"objective {wanted}: the validation images of {images.name} have no labels of a "
            "chosen --target; choose rankme or alpha_req."
        )
    if wanted == "knn" and kind != "class":
        raise ValueError("objective knn: the target must be a class; choose linear.")
    assert wanted in WORTH
    return wanted  # type: ignore[return-value]


def metric_of(objective: Objective, target: Target | None) -> str:
    """How the values of an objective are called and written."""
    if objective == "knn":
        return "accuracy"
    if objective == "linear":
        assert target is not None
        return headline(target.kind)
    return objective
