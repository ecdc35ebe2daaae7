"""The verb `tune finetune`: all weights trained on labels, and how to do that searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from selfsight import vocabulary
from selfsight.console import counted, say
from selfsight.data.options import Images
from selfsight.files import check_output_folder
from selfsight.fitting.finetune import LOOKS, FineTuned, Start, train
from selfsight.fitting.probes import PROBES
from selfsight.fitting.recipe import FineTuning, Recipe
from selfsight.fitting.representation_cache import kept_representations, weights_key
from selfsight.fitting.representations import Representations, represent
from selfsight.fitting.search import fine_tune
from selfsight.fitting.stopping import Look
from selfsight.outputs import check_not_the_data, check_own_folder
from selfsight.runs.request import images_of
from selfsight.runs.run import load_run
from selfsight.training.device import choose_device
from selfsight.tuning.labels import Labels, LabelStudy, labels_of
from selfsight.tuning.record import Tuned
from selfsight.tuning.storage import FILES
from selfsight.tuning.study import Outcome, Problem, Search, contents
from selfsight.tuning.verdict import compared, scored_rows, tune

SPACE = {
    "finetuning.backbone_lr": "log(1e-5,1e-2)",
    "finetuning.head_lr": "log(1e-4,1e-1)",
    "finetuning.weight_decay": "log(1e-4,1)",
    "finetuning.frozen": "0..0.5",
    "finetuning.dropout": "0..0.5",
    "finetuning.batch_size": "32,64,128",
}
"""The default space, for every kind of target."""
OF_LABELS = {"finetuning.label_smoothing": "0..0.2"}
"""Its part for classes and several labels."""


class TuneFinetuning(LabelStudy, Search):
    """Search how a run's backbone is fine-tuned; read test once, with the best."""

    out: str | None = None
    """The study's folder; by default RUN/tuning/finetune-TARGET. The same command continues it."""
    trials: Annotated[int, Field(ge=1)] = 20
    """Trials of the study, over all workers and all times it was started."""
    finetuning: Recipe = Recipe()
    """What is not searched, and the first trial."""


@dataclass(kw_only=True)
class FinetuneProblem(Problem):
    """A recipe in, the metric of the images held out."""

    settings: TuneFinetuning
    labels: Labels
    start: Start

    def features(self, start: Start) -> Tensor:
        """``(n, F)`` representations of the labelled rows, computed once for all trials."""
        subset = self.labels.subset
        return kept_representations(
            self.labels.run.folder.representations,
            "finetune-start" if start is self.start else "finetune-scratch",
            start.backbone,
            subset.images,
            subset.rows,
            start.statistics,
            device=start.device,
        )

    def run(self, changes: Mapping[str, Any], look: Look, number: int) -> Outcome:
        trained = train(
            self.start,
            self.labels.subset,
            self.settings.updated(changes).finetuning,
            self.features(self.start),
            self.labels.held,
            metric=self.metric,
            stopping=self.settings.stopping,
            look=look,
        )
        return self.labels.outcome(trained)

    def best_yaml(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        best = self.settings.updated(changes).finetuning.plain()
        return self.labels.best_yaml(finetuning=best)

    def read_test(self, changes: Mapping[str, Any], again: Outcome) -> dict[str, Any] | None:
        """The best recipe and its controls on test, all with the same labels.

        The controls: the default fine-tuning, the linear probe on frozen representations, and the
        recipe from fresh weights.
        """
        subset, start = self.labels.subset, self.start
        images, rows = subset.images, scored_rows(subset)
        if not len(rows):
            return None
        thresholds = subset.thresholds(again.trained.looks.output, self.labels.held)
        predictions = {}
        fresh = replace(start, backbone=self.labels.run.untrained(self.seed), published=False)
        for name, begin in (("trained", start), ("scratch", fresh)):
            say(f"the tuned recipe on all {counted(len(subset), 'label')}: {name}")
            whole = self.whole(changes, begin, again.trained.steps)
            predictions["tuned", name] = whole.predict(images, rows), thresholds
        say("the default fine-tuning, with the same labels and as many steps at most")
        default = fine_tune(start, subset, self.default)
        predictions["finetune", "trained"] = default.predict(images, rows), default.thresholds
        known = Representations.of(self.features(start), subset.rows, subset.rows)
        linear = PROBES["linear"](subset, known)
        there = represent(start.backbone, images, rows, start.statistics, device=start.device)
        predictions["linear", "trained"] = linear.output(there), linear.thresholds
        return compared(subset, self.seed, predictions)

    @property
    def default(self) -> FineTuning:
        """The fine-tuning that stands beside the best recipe, with its epochs and steps."""
        recipe = self.settings.finetuning
        return FineTuning(epochs=recipe.epochs, min_steps=recipe.min_steps)

    def whole(self, changes: Mapping[str, Any], start: Start, steps: int) -> FineTuned:
        """The recipe on all labels, for so many steps."""
        subset, recipe = self.labels.subset, self.settings.updated(changes).finetuning
        features = self.features(start)
        return train(start, subset, recipe, features, metric="loss", stop_at=steps)

    def facts(self, changes: Mapping[str, Any], again: Outcome) -> dict[str, Any]:
        best, steps = self.settings.updated(changes).finetuning, again.trained.steps
        note = (
            "A look is a twentieth of the longest training of a trial. The best recipe was trained "
            f"on all labelled images for {counted(steps, 'step')}, as many as its best look "
            "says. The "
            "default fine-tuning has as many epochs and steps at most, and chooses its two "
            "learning rates and its steps inside the same labels; "
            "from fresh weights means the tuned recipe on an untrained backbone."
        )
        facts = self.labels.facts(best, look=again.best, steps=steps)
        return {**facts, "notes": [*self.notes, note]}

    def called(self, probe: str, subject: str) -> str:
        if probe == "tuned":
            return "the same recipe from fresh weights"
        if probe == "finetune":
            return "the default fine-tuning"
        return f"{vocabulary.probe(probe).phrase} on frozen representations"


def tune_finetuning(settings: TuneFinetuning, images: Images | None = None) -> Tuned | None:
    """Searches a fine-tuning, trains the best one again and reads test with it once.

    Args:
        settings: see `TuneFinetuning`.
        images: what to open instead of ``settings.data`` or the run's own: an image set, arrays.

    Returns:
        The finished study; None for a worker that joined.

    Raises:
        ValueError: no such run, data, target, metric or space; the sentence says what to change.
    """
    check_output_folder(settings.out)
    check_not_the_data(settings.out, settings.data if images is None else images)
    check_own_folder(settings.out, FILES)
    return tune(settings, images, prepare)


def prepare(settings: TuneFinetuning, images: Images | None = None) -> FinetuneProblem:
    """Opens run and images, holds a part of the labels out, reads the space.

    Raises:
        ValueError: see `tune_finetuning`.
    """
    device = choose_device(settings.device)
    run = load_run(settings.run)
    images = images_of(run, settings, images)
    start = Start.of_run(run, device, allow_code=settings.allow_code)
    usual = settings.finetuning.resolved(published=start.published)
    settings = settings.updated({"finetuning": usual})
    labels = labels_of(settings, run, images, 1)
    code = contents([run.spec.name])
    about = {"verb": "finetune", "weights": weights_key(start.backbone), **code}
    name = f"finetune-{labels.subset.target.name}"
    steps, count = usual.steps(len(labels.subset)), len(labels.subset)
    pairs = len(FineTuning().recipes)
    return FinetuneProblem(
        **labels.problem("finetuning", SPACE, OF_LABELS, **about),
        folder=Path(settings.out or run.folder.path / "tuning" / name),
        looks=LOOKS,
        cost=f"A trial trains for up to {counted(steps, 'step')} on "
        f"{counted(count, 'labelled image')}. The end "
        f"takes up to {pairs + 4} more trainings: the best recipe again and on all labels, the "
        f"same from fresh weights, and the default fine-tuning with {counted(pairs, 'pair')} "
        "of learning "
        "rates.",
        start=start,
    )
