"""The end of `tune probe`: the best classifier trained again, and its one reading of test."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from selfsight.console import duration, say
from selfsight.evaluation.folds import groups_of
from selfsight.evaluation.intervals import bootstrap_weights, interval
from selfsight.evaluation.metrics import Floats, Values
from selfsight.evaluation.probes import PROBES, Subset, best_thresholds
from selfsight.evaluation.subjects import Subject
from selfsight.evaluation.tasks import TASKS, higher_is_better, score
from selfsight.run_folder import read_json, write_text
from selfsight.tuning.classifier import Classifier
from selfsight.tuning.fitting import Fit, Labelled, Rows, fit
from selfsight.tuning.probe import Bench, measure, with_changes
from selfsight.tuning.record import (
    Tuned,
    counts,
    counts_text,
    importances,
    trial_rows,
    write_record,
    write_trials,
)

if TYPE_CHECKING:
    import optuna


def conclude(bench: Bench, study: optuna.Study, reason: str, seconds: float) -> Tuned:
    """Writes the study's files; reads test unless this best trial has read it before.

    Raises:
        ValueError: no trial was completed.
    """
    folder = bench.plan.folder
    rows = trial_rows(study, bench.space)
    write_trials(folder / "trials.csv", rows)
    try:
        best = study.best_trial
    except ValueError:
        raise ValueError(
            f"no trial of the study in {folder} was completed; {counts_text(counts(rows))}."
        ) from None
    changes = bench.space.settings_of(best.params)
    classifier = with_changes(bench.settings, changes).probe
    write_text(folder / "best.yaml", yaml.safe_dump({"probe": classifier.plain()}, sort_keys=False))
    before = _before(bench, best.number)
    with threads(best.user_attrs.get("threads")):
        again = measure(bench, classifier)
        equal = again.value == best.value
        if not equal:
            say(
                f"Warning: trained again, the best trial gives {again.value!r} and not "
                f"{best.value!r}; another machine or number of threads made it."
            )
        test = before.get("test") if before else None
        test = test or read_test(bench, classifier, again)
    readings = [*(before or _any_before(bench)).get("test_readings", [])]
    if not before or not before.get("test"):
        readings += _readings(bench, test)
    made = counts(rows)
    found: dict[str, Any] = {
        **{name: bench.plan.about[name] for name in ("verb", "target", "metric", "sampler")},
        "run": str(bench.run.folder.path),
        "data": bench.images.name,
        "task": bench.target.kind,
        "mode": bench.plan.mode,
        "pruner": bench.settings.pruner,
        "seed": bench.settings.seed,
        "folds": bench.plan.about["folds"],
        "num_labels": len(bench.labelled.rows),
        "space": bench.space.plain(),
        "searched": bench.space.searched,
        "trials": made,
        "importances": importances(study),
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
        "test_readings": readings,
        "notes": list(bench.notes),
    }
    found["answer"] = _answer(found)
    return write_record(bench.plan, found, study, rows)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """As many threads as the trial had: sums in another order differ in their last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _any_before(bench: Bench) -> dict[str, Any]:
    path = bench.plan.folder / "tuning.json"
    return dict(read_json(path)) if path.is_file() else {}


def _before(bench: Bench, number: int) -> dict[str, Any] | None:
    """What an earlier end of this study wrote, if its best trial was this one."""
    kept = _any_before(bench)
    return kept if kept and kept["best"]["number"] == number else None


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
    return _compared(bench, scores, len(np.unique(groups)))


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


def _compared(bench: Bench, scores: dict[tuple[str, str], Values], groups: int) -> dict[str, Any]:
    """Values with intervals, and paired differences tuned - other, over the same test images."""
    values, differences = [], []
    ours = scores["tuned", "trained"]
    for (probe, weights), found in scores.items():
        for metric in TASKS[bench.target.kind].metrics:
            key = (metric, None)
            here: Floats = found[key][None]
            if not np.isfinite(here[0, 0]):
                continue
            place = {"probe": probe, "weights": weights, "metric": metric}
            ends = interval(here, groups)
            values.append({**place, "mean": ends.mean, "low": ends.low, "high": ends.high})
            if found is not ours:
                gap = interval(ours[key][None] - here, groups)
                verdict = gap.verdict(higher_is_better=higher_is_better(metric))
                differences.append(
                    {
                        **place,
                        "mean": gap.mean,
                        "low": gap.low,
                        "high": gap.high,
                        "verdict": verdict,
                    }
                )
    return {
        "split": "test",
        "images": len(bench.images.rows("test")),
        "values": values,
        "differences": differences,
    }


def _readings(bench: Bench, test: dict[str, Any] | None) -> list[dict[str, Any]]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    pairs = {(v["probe"], v["weights"]): None for v in (test or {}).get("values", [])}
    return [
        {"when": now, "probe": p, "weights": w, "label_fraction": bench.settings.fraction}
        for p, w in pairs
    ]


def _answer(found: dict[str, Any]) -> list[str]:
    """The sentences that the command prints and the page begins with."""
    from selfsight.reporting.wording import difference_text, interval_text, value_text

    metric = found["metric"]
    lines = [
        f"{counts_text(found['trials'])} in {duration(found['seconds'])}; the best one, "
        f"trial {found['best']['number']}, has {metric} "
        f"{value_text(metric, found['best']['value'])} on the images held out."
    ]
    test = found["test"]
    if test is None:
        return [*lines, "There is no test split: nothing says how much of this is chance."]
    shown = TASKS[found["task"]].headline if metric == "loss" else metric
    for value in test["values"]:
        if (value["probe"], value["weights"], value["metric"]) == ("tuned", "trained", shown):
            lines.append(
                f"On test, read once: {shown} {value_text(shown, value['mean'])} "
                f"({interval_text(shown, value['low'], value['high'])})."
            )
    for row in test["differences"]:
        if row["metric"] == shown:
            other = _other(row["probe"], row["weights"])
            verdict = {"better": "better than", "worse": "worse than"}.get(
                row["verdict"], "no better than"
            )
            lines.append(
                f"Tuned is {verdict} {other}: {difference_text(shown, row['mean'])} "
                f"({interval_text(shown, row['low'], row['high'], signed=True)})."
            )
    return lines


def _other(probe: str, weights: str) -> str:
    from selfsight.reporting.wording import probe_name, weights_name

    if probe == "tuned":
        return f"the same classifier on {weights_name(weights)}"
    return f"the default {probe_name(probe)}"
