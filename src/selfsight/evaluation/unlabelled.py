"""Results for which no label is learned from: measures without labels, clusters, retrieval."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import Target
from selfsight.evaluation.intervals import bootstrap_weights, interval
from selfsight.evaluation.labelfree import label_free
from selfsight.evaluation.results import Results, Row
from selfsight.evaluation.retrieval import retrieval_scores
from selfsight.evaluation.subjects import Subject
from selfsight.evaluation.tasks import higher_is_better

_NO_LABELS: Row = {"label_fraction": 0.0, "num_labels": 0, "label": None}


def without_labels(
    results: Results, data: str, found: Sequence[Subject], rows: NDArray[np.int64], *, seed: int
) -> None:
    """RankMe, alpha-ReQ and uniformity of the rows that pretraining saw."""
    results.shown.append((data, None))
    about = {"data": data, "task": "none", "target": None, "probe": "none", "split": "train"}
    about |= _NO_LABELS
    for subject in found:
        for metric, value in label_free(subject.at(0), rows, seed).items():
            if not np.isfinite(value):
                continue
            here = {**about, "weights": subject.name, "metric": metric}
            results.records.append({**here, "label_seed": 0, "value": value})
            results.values.append({**here, "draws": 1, "mean": value, "low": None, "high": None})


def retrieved(
    results: Results,
    place: Row,
    target: Target,
    found: Sequence[Subject],
    rows: NDArray[np.int64],
    *,
    seed: int,
) -> None:
    """Recall at 1 and mAP@R on the scored split; intervals by a bootstrap over identities."""
    labels = np.unique(target.values[rows], return_inverse=True)[1].astype(np.int64)
    about = {**place, "probe": "retrieval", **_NO_LABELS}
    scored: dict[str, dict[str, NDArray[np.float64]]] = {}
    groups = 0
    for subject in found:
        scores, queries = retrieval_scores(subject.at(0).at(rows), labels)
        if not len(queries):
            results.notes.append(f"{target.name}: no two {place['split']} images share one.")
            return
        weights = bootstrap_weights(labels[queries], seed=seed)
        groups = len(np.unique(labels[queries]))
        scored[subject.name] = {}
        for metric, each in scores.items():
            values = (weights @ each / weights.sum(1))[None]
            scored[subject.name][metric] = values
            here = {**about, "weights": subject.name, "metric": metric}
            results.records.append({**here, "label_seed": seed, "value": float(values[0, 0])})
            _add(results.values, {**here, "draws": 1}, values, groups)
        if place["split"] == "test":
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            results.test_readings.append(
                {"when": now, **about, "weights": subject.name, "label_seed": seed}
            )
    for control in list(scored)[1:]:
        for metric, values in scored[control].items():
            here = {**about, "control": control, "metric": metric, "draws": 1}
            difference = scored[found[0].name][metric] - values
            _add(results.differences, here, difference, groups)
            verdict = interval(difference, groups).verdict(
                higher_is_better=higher_is_better(metric)
            )
            results.differences[-1]["verdict"] = verdict


def _add(rows: list[Row], about: Row, values: NDArray[np.float64], groups: int) -> None:
    found = interval(values, groups)
    rows.append({**about, "mean": found.mean, "low": found.low, "high": found.high})
