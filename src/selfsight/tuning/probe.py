"""The verb `tune probe`: the classifier on a run's representations, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from selfsight import vocabulary
from selfsight.data.options import Images
from selfsight.evaluation.controls import subjects
from selfsight.evaluation.material import Material
from selfsight.evaluation.subject import Subject
from selfsight.files import check_output_folder
from selfsight.fitting.head import Fitted
from selfsight.fitting.probes import PROBES, probes_of
from selfsight.fitting.probes.mlp import LOOKS, train
from selfsight.fitting.stack import Classifier
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


class TuneProbe(LabelStudy, Search):
    """Search the classifier on a run's representations; read test once, with the best."""

    out: str | None = None
    """The study's folder; by default RUN/tuning/TARGET. The same command again continues it."""
    folds: Annotated[int, Field(ge=1)] | None = None
    """Cross-validation inside these labels, by group; 1: the run's validation split; by default 5
    up to 2,000 labels, else 1."""
    watch: Literal["metric", "loss"] = "metric"
    """What the early stopping looks at, on the images held out."""
    probe: Classifier = Classifier()
    """What is not searched, and the first trial."""


@dataclass(kw_only=True)
class ProbeProblem(Problem):
    """Settings of the classifier in, the metric of the rows held out."""

    settings: TuneProbe
    labels: Labels
    subjects: tuple[Subject, ...]

    def run(self, changes: Mapping[str, Any], look: Look, number: int) -> Outcome:
        settings = self.settings
        trained = train(
            self.labels.subset,
            self.subjects[0].at(0),
            settings.updated(changes).probe,
            self.labels.folds,
            metric=self.metric,
            stopping=settings.stopping,
            watch=settings.watch,
            look=look,
        )
        return self.labels.outcome(trained)

    def best_yaml(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        best = self.settings.updated(changes).probe.plain()
        return self.labels.best_yaml(head_only="mlp", probe=best)

    def read_test(self, changes: Mapping[str, Any], again: Outcome) -> dict[str, Any] | None:
        """The best classifier, the default probes and the controls on test.

        The classifier is fitted once more to all labelled images, for as many steps as its best
        look says; the default probes get the same labels and choose inside them.
        """
        subset, classifier = self.labels.subset, self.settings.updated(changes).probe
        rows, steps = scored_rows(subset), again.trained.steps
        if not len(rows):
            return None
        thresholds = subset.thresholds(again.trained.looks.output, self.labels.held)
        predictions = {}
        for subject in self.subjects:
            known = subject.at(0)
            whole = train(subset, known, classifier, metric=self.metric, stop_at=steps)
            tuned = Fitted(whole.head(subset.kind, known), {})
            predictions["tuned", subject.name] = tuned.output(known.at(rows)), thresholds
        trained = self.subjects[0].at(0)
        for name in probes_of(subset.kind):
            fitted = PROBES[name](subset, trained)
            predictions[name, "trained"] = fitted.output(trained.at(rows)), fitted.thresholds
        return compared(subset, self.seed, predictions)

    def facts(self, changes: Mapping[str, Any], again: Outcome) -> dict[str, Any]:
        best, steps = self.settings.updated(changes).probe, again.trained.steps
        return {
            **self.labels.facts(best, look=again.best, steps=steps),
            "folds": int(self.labels.folds.max()) + 1,
        }

    def called(self, probe: str, subject: str) -> str:
        if probe == "tuned":
            return f"the same classifier on {vocabulary.subject(subject).phrase}"
        return f"the default {vocabulary.probe(probe).title}"


def tune_probe(settings: TuneProbe, images: Images | None = None) -> Tuned | None:
    """Searches the classifier, trains the best one again and reads test with it once.

    Args:
        settings: see `TuneProbe`.
        images: what to open instead of ``settings.data`` or the run's own: an image set, arrays.

    Returns:
        The finished study; None for a worker that joined.

    Raises:
        ValueError: no such run, target, metric or space; the sentence says what to change.
    """
    check_output_folder(settings.out)
    check_not_the_data(settings.out, settings.data if images is None else images)
    check_own_folder(settings.out, FILES)
    return tune(settings, images, prepare)


def prepare(settings: TuneProbe, images: Images | None = None) -> ProbeProblem:
    """Opens the run, computes its representations once, cuts the folds, reads the space.

    Raises:
        ValueError: see `tune_probe`.
    """
    device = choose_device(settings.device)
    run = load_run(settings.run)
    images = images_of(run, settings, images)
    labels = labels_of(settings, run, images, settings.folds)
    rows = images.rows("train", "validation", "test")
    material = Material(run, images, rows, images.rows("train"), device, settings.allow_code)
    found, weights, _, notes = subjects(material, ("untrained", "pixels"))
    code = contents([run.spec.name])
    about = {"verb": "probe", "weights": weights, "watch": settings.watch, **code}
    common = labels.problem("probe", SPACE, OF_LABELS, **about)
    common["notes"] = (*notes, *common["notes"])
    return ProbeProblem(
        **common,
        folder=Path(settings.out or run.folder.path / "tuning" / labels.subset.target.name),
        looks=LOOKS,
        every=LOOKS // 25,
        cost="A trial fits a probe to representations that are computed once, before the first.",
        subjects=tuple(found),
    )
