"""The end of `tune probe`: the best classifier trained again, and its one reading of test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from selfsight import vocabulary
from selfsight.evaluation.controls import Subject
from selfsight.evaluation.intervals import bootstrap_weights
from selfsight.fitting.folds import groups_of
from selfsight.fitting.metrics import Values
from selfsight.fitting.probes import PROBES, Subset, best_thresholds
from selfsight.fitting.tasks import TASKS, score
from selfsight.tuning.classifier import Classifier
from selfsight.tuning.fitting import Fit, Labelled, Rows, fit
from selfsight.tuning.probe import Bench, measure, with_changes
from selfsight.tuning.record import Tuned
from selfsight.tuning.verdict import compared, concluded

if TYPE_CHECKING:
    import optuna


def conclude(bench: Bench, study: optuna.Study, reason: str, seconds: float) -> Tuned:
    """Writes the study's files; reads test unless this best trial has read it before.

    Raises:
        ValueError: no trial was completed.
    """

    def more(again: Fit) -> dict[str, Any]:
        folds = bench.plan.about["folds"]
        return {"folds": folds, "best": {"epoch": again.best_epoch}, "notes": list(bench.notes)}

    return concluded(
        bench,
        study,
        reason,
        seconds,
        part="probe",
        chosen=lambda changes: with_changes(bench.settings, changes).probe,
        measure=lambda classifier: measure(bench, classifier),
        read_test=lambda classifier, again: read_test(bench, classifier, again),
        named=_other,
        more=more,
    )


def read_test(bench: Bench, classifier: Classifier, again: Fit) -> dict[str, Any] | None:
    """The best classifier, the default probes and the controls on test; None without test images.

    The classifier is fitted once more to all labelled images, as long as its best epoch says; the
    default probes get the same labels and choose inside them.
    """
    images, target = bench.images, bench.target
    rows = images.rows("test")
    rows = rows[target.known[rows]]
    if not len(rows):
        return None
    groups = groups_of(images.groups, rows)
    weights = bootstrap_weights(groups, seed=bench.settings.seed)
    thresholds = None
    if target.kind == "labels":
        assert again.output is not None
        places = np.sort(np.concatenate(bench.labelled.outside))
        truth = target.values[bench.labelled.rows[places]]
        thresholds = best_thresholds(again.output, truth)
    scores: dict[tuple[str, str], Values] = {}
    for subject in bench.subjects:
        output = _predicted(bench, classifier, again.best_epoch, subject, rows)
        scores["tuned", subject.name] = score(target, output, rows, weights, thresholds)
    trained = bench.subjects[0].at(0)
    subset = Subset.of(trained, images, target, bench.labelled.rows, bench.settings.seed)
    for name in TASKS[target.kind].probes:
        fitted = PROBES[name](subset)
        output = fitted.predict(trained.at(rows)).float().cpu().numpy()
        scores[name, "trained"] = score(target, output, rows, weights, fitted.thresholds)
    return compared(target, len(images.rows("test")), scores, len(np.unique(groups)))


def _predicted(
    bench: Bench, classifier: Classifier, epochs: int, subject: Subject, rows: Rows
) -> Any:
    labelled = bench.labelled
    whole = Labelled(
        labelled.target,
        labelled.rows,
        bench.standardised(subject, labelled.rows),
        np.full(len(labelled.rows), -1, np.int64),
    )
    found = fit(
        whole, classifier, metric=bench.metric, epochs=epochs, rule=None, seed=bench.settings.seed
    )
    features = bench.standardised(subject, rows)
    return found.predict(features, labelled.target.kind).float().cpu().numpy()


def _other(probe: str, weights: str) -> str:
    if probe == "tuned":
        return f"the same classifier on {vocabulary.subject(weights).phrase}"
    return f"the default {vocabulary.probe(probe).title}"
