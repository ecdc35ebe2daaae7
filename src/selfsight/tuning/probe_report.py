"""The end of `tune probe`: the best classifier trained again, and its one reading of test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from selfsight.evaluation.folds import groups_of
from selfsight.evaluation.intervals import bootstrap_weights
from selfsight.evaluation.metrics import Values
from selfsight.evaluation.probes import PROBES, Subset, best_thresholds
from selfsight.evaluation.subjects import Subject
from selfsight.evaluation.tasks import TASKS, score
from selfsight.run_folder import write_text
from selfsight.tuning.classifier import Classifier
from selfsight.tuning.fitting import Fit, Labelled, Rows, fit
from selfsight.tuning.on_test import (
    answer,
    compared,
    earlier,
    earlier_of,
    readings,
    same_value,
    threads,
)
from selfsight.tuning.probe import Bench, measure, with_changes
from selfsight.tuning.record import (
    Tuned,
    finished,
    search_facts,
    write_record,
)

if TYPE_CHECKING:
    import optuna


def conclude(bench: Bench, study: optuna.Study, reason: str, seconds: float) -> Tuned:
    """Writes the study's files; reads test unless this best trial has read it before.

    Raises:
        ValueError: no trial was completed.
    """
    folder = bench.plan.folder
    rows, best = finished(bench.plan, study, bench.space)
    changes = bench.space.settings_of(best.params)
    classifier = with_changes(bench.settings, changes).probe
    write_text(folder / "best.yaml", yaml.safe_dump({"probe": classifier.plain()}, sort_keys=False))
    before = earlier_of(folder, best.number)
    with threads(best.user_attrs.get("threads")):
        again = measure(bench, classifier)
        equal = same_value(again.value, best.value)
        test = before.get("test") if before else None
        test = test or read_test(bench, classifier, again)
    read = [*(before or earlier(folder)).get("test_readings", [])]
    if not before or not before.get("test"):
        read += readings(test, bench.settings.fraction)
    found: dict[str, Any] = {
        **search_facts(bench.plan, study, bench.space, rows),
        "target": bench.target.name,
        "run": str(bench.run.folder.path),
        "data": bench.images.name,
        "task": bench.target.kind,
        "folds": bench.plan.about["folds"],
        "num_labels": len(bench.labelled.rows),
        "ended": reason,
        "seconds": round(seconds, 1),
        "best": {
            "number": best.number,
            "value": best.value,
            "epoch": again.best_epoch,
            "settings": classifier.plain(),
        },
        "again": {"value": again.value, "equal": equal},
        "test": test,
        "test_readings": read,
        "notes": list(bench.notes),
    }
    found["answer"] = answer(found, _other)
    return write_record(bench.plan, found, study, rows)


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
    for name in TASKS[target.kind].probes:
        fitted = PROBES[name](_subset(bench, bench.subjects[0]))
        output = fitted.predict(bench.subjects[0].at(0).at(rows)).float().cpu().numpy()
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


def _subset(bench: Bench, subject: Subject) -> Subset:
    representations, rows = subject.at(0), bench.labelled.rows
    return Subset(
        kind=bench.target.kind,
        features=representations.at(rows),
        mean=representations.mean,
        scale=representations.scale,
        values=bench.target.values[rows],
        groups=groups_of(bench.images.groups, rows),
        outputs=len(bench.target.names),
        seed=bench.settings.seed,
    )


def _other(probe: str, weights: str) -> str:
    from selfsight.reporting.wording import probe_name, weights_name

    if probe == "tuned":
        article = "an " if weights == "untrained" else ""
        return f"the same classifier on {article}{weights_name(weights)}"
    return f"the default {probe_name(probe)}"
