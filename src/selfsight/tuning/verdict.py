"""The end of a study: the best trial again, its one reading of test, the files and the words."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from selfsight import vocabulary
from selfsight.console import counted, duration, say
from selfsight.data.notes import say_notes
from selfsight.data.options import Images
from selfsight.evaluation.resampling import Resampling
from selfsight.evaluation.summary import difference_interval, ends, score_interval
from selfsight.files import read_json, write_json, write_text
from selfsight.fitting.folds import groups_of
from selfsight.fitting.labelled import Rows, Subset
from selfsight.fitting.scored import Floats
from selfsight.fitting.scores import score
from selfsight.kernels.threads import threads
from selfsight.stops import raising
from selfsight.tuning.record import (
    Tuned,
    counts,
    counts_text,
    curves,
    importances,
    trial_rows,
    write_trials,
)
from selfsight.tuning.study import Problem, Search
from selfsight.tuning.workers import Prepare, make_trials
from selfsight.vocabulary import difference_text, interval_text, value_text

if TYPE_CHECKING:
    import optuna

Predictions = Mapping[tuple[str, str], tuple[np.ndarray[Any, Any], Floats | None]]
"""Of a probe and a subject: predictions ``(M, K)``, and thresholds for several labels."""


def tune(settings: Search, images: Images | None, prepare: Prepare) -> Tuned | None:
    """Makes the trials of a study and ends it.

    Args:
        settings: of the verb.
        images: what to open; None: what the settings name.
        prepare: settings and images to the problem.

    Returns:
        The finished study; None for a worker that joined.

    Raises:
        ValueError: the settings cannot be used, no worker is left, or no trial was completed.
    """
    if images is not None and settings.workers > 1:
        raise ValueError("workers: several processes open the images themselves; leave them out.")
    began, problem = time.monotonic(), prepare(settings, images)
    say_notes(problem.notes if not settings.join else ())
    search = problem.settings
    hands = f" by {counted(settings.workers, 'worker')}" * (settings.workers > 1)
    say(
        f"Up to {counted(search.trials, 'trial')}{hands}, compared by {problem.metric} on "
        "validation data"
        + (f", for {search.minutes:g} minutes at most" if search.minutes is not None else "")
        + "; then the best one once more, and test is read. "
        + f"{problem.cost} " * bool(problem.cost)
        + "After the first trial the status line says how long the others take."
    )
    with raising():
        study, reason = make_trials(settings, problem, prepare)
        if settings.join:
            say(f"Left the study: {reason}.")
            return None
        return conclude(problem, study, reason, time.monotonic() - began)


def conclude(problem: Problem, study: optuna.Study, reason: str, seconds: float) -> Tuned:
    """Writes the study's files; reads test unless this best trial has read it before.

    Raises:
        ValueError: no trial was completed.
    """
    from selfsight.reporting.tuning import write_tuning_page

    folder, rows = problem.folder, trial_rows(study, problem.space)
    write_trials(folder / "trials.csv", rows)
    if not any(row["state"] == "complete" for row in rows):
        raise ValueError(
            f"no trial of the study in {folder} was completed; {counts_text(counts(rows))}."
        )
    best = study.best_trial
    changes = problem.space.settings_of(best.params)
    text = yaml.safe_dump(problem.best_yaml(changes), sort_keys=False, allow_unicode=True)
    write_text(folder / "best.yaml", text)
    path = folder / "tuning.json"
    before = dict(read_json(path)) if path.is_file() else {}
    same = bool(before) and before["best"]["number"] == best.number
    with threads(best.user_attrs.get("threads")):
        again = problem.run_again(changes, best.number)
        if again.value != best.value:
            say(
                f"Warning: trained again, the best trial gives {again.value!r} and not "
                f"{best.value!r}; another machine or number of threads made it."
            )
        test = (before.get("test") if same else None) or problem.read_test(changes, again)
    readings = list(before.get("test_readings", []))
    if test and not (same and before.get("test")):
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        readings += test.pop("readings", None) or [
            {"when": now, "probe": probe, "subject": subject, "label_fraction": problem.fraction}
            for probe, subject in dict.fromkeys((v["probe"], v["subject"]) for v in test["values"])
        ]
    facts = problem.facts(changes, again)
    record: dict[str, Any] = {
        "verb": problem.about["verb"],
        "metric": problem.metric,
        "mode": problem.mode,
        "sampler": problem.settings.sampler,
        "pruner": problem.settings.pruner,
        "seed": problem.seed,
        "space": problem.space.plain(),
        "searched": problem.space.searched,
        "trials": counts(rows),
        "importances": importances(study),
        "epochs_without_pruning": problem.looks * counts(rows)["made"],
        "unit": problem.unit,
        "ended": reason,
        "seconds": round(seconds, 1),
        "notes": list(problem.notes),
        **facts,
        "best": {"number": best.number, "value": best.value, **facts["best"]},
        "again": {"value": again.value, "equal": again.value == best.value},
        "test": test,
        "test_readings": readings,
    }
    record["answer"] = answer(problem, record)
    record |= {"rows": rows, "curves": curves(study)}
    write_json(path, record)
    write_tuning_page(folder)
    return Tuned(folder, record)


def scored_rows(subset: Subset) -> Rows:
    """``(M,)`` test rows of the image set with a known value of the target."""
    rows = subset.images.rows("test")
    return rows[subset.target.known[rows]]


def compared(subset: Subset, seed: int, predictions: Predictions) -> dict[str, Any]:
    """Values with intervals, and paired differences tuned - other, over the same test images.

    Args:
        subset: whose images have test rows, and what was predicted.
        seed: of the bootstrap.
        predictions: of `scored_rows`; those of ``("tuned", "trained")`` among them.
    """
    images, target, rows = subset.images, subset.target, scored_rows(subset)
    resampling = Resampling.of(groups_of(images.groups, rows), seed=seed)
    scores = {
        pair: score(target, output, rows, resampling.weights, thresholds)
        for pair, (output, thresholds) in predictions.items()
    }
    ours = scores["tuned", "trained"]
    values, differences = [], []
    for (probe, subject), found in scores.items():
        for metric in vocabulary.metrics_of(target.kind):
            here: Floats = found[metric, None][None]
            if not np.isfinite(here[0, 0]):
                continue
            place = {"probe": probe, "subject": subject, "metric": metric}
            values.append({**place, **ends(score_interval(metric, here, resampling))})
            if found is not ours:
                gap = difference_interval(metric, ours[metric, None][None], here, resampling)
                higher = vocabulary.higher_is_better(metric)
                verdict = gap.verdict(higher_is_better=higher)
                differences.append({**place, **ends(gap), "verdict": verdict})
    images_read = len(images.rows("test"))
    return {"split": "test", "images": images_read, "values": values, "differences": differences}


def answer(problem: Problem, record: Mapping[str, Any]) -> list[str]:
    """The sentences that the command prints and the page begins with.

    Args:
        problem: names what stands beside the best trial.
        record: what ``tuning.json`` will hold.
    """
    metric, best, made = record["metric"], record["best"], record["trials"]
    saved = 1 - made["epochs"] / max(record["epochs_without_pruning"], 1)
    lines = [
        f"{counts_text(made)} in {duration(record['seconds'])}; ending trials early saved "
        f"{100 * saved:.0f} % of their {record['unit']}s. The best one, trial {best['number']}, "
        f"has {metric} {value_text(metric, best['value'])} ({problem.judged_by})."
    ]
    test = record["test"]
    if not test or not test["values"]:
        return [*lines, "There is no reading of test: nothing says how much of this is chance."]
    kind = record["task"]
    shown = metric if metric in vocabulary.metrics_of(kind) else vocabulary.headline(kind)
    for row in [*test["values"], *test["differences"]]:
        of_probe = f", {vocabulary.probe(row['probe']).title}" if problem.by_probe else ""
        own = row["subject"] == "trained" and (problem.by_probe or row["probe"] == "tuned")
        if row["metric"] != shown:
            continue
        if "verdict" in row:
            between = interval_text(shown, row["low"], row["high"], signed=True)
            other = problem.called(row["probe"], row["subject"]) + of_probe
            apart = difference_text(shown, row["mean"])
            if row["verdict"] == "no verdict":
                lines.append(
                    f"No verdict on tuned beside {other}: {apart}, {row.get('reason', '')}."
                )
                continue
            verdict = row["verdict"] if row["verdict"] in ("better", "worse") else "no better"
            lines.append(f"Tuned is {verdict} than {other}: {apart} ({between}).")
        elif own:
            between = interval_text(shown, row["low"], row["high"])
            between = f" ({between})" if between else f" (no interval: {row.get('reason', '')})"
            value = value_text(shown, row["mean"])
            lines.append(f"On {test['split']}, read once: {shown} {value}{between}{of_probe}.")
    return lines
