"""Results for which no label is learned from: measures without labels, clusters, retrieval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selfsight.console import progress
from selfsight.data.imageset import Target
from selfsight.evaluation import clusters
from selfsight.evaluation.representation_measures import label_free
from selfsight.evaluation.resampling import Resampling
from selfsight.evaluation.result_tables import Row
from selfsight.evaluation.results import Results
from selfsight.evaluation.retrieval import retrieval_scores
from selfsight.evaluation.subject import Subject
from selfsight.evaluation.summary import Scores, record, summarise
from selfsight.fitting.chance import retrieval_by_chance
from selfsight.fitting.scored import weighted_mean
from selfsight.fitting.scores import Values

_NO_LABELS: Row = {"label_fraction": 0.0, "num_labels": 0}
_CLASSES = 200  # above which clusters are not compared with classes


def without_labels(
    results: Results, place: Row, found: Sequence[Subject], rows: NDArray[np.int64], *, seed: int
) -> None:
    """RankMe, alpha-ReQ, uniformity and alignment of the rows that pretraining saw."""
    about = {**place, "task": "none", "target": None, "probe": "none", "split": "train"}
    about |= {**_NO_LABELS, "label": None}
    for subject in found:
        with progress(f"measures without labels, {subject.name}"):
            measures = label_free(subject.at(0), rows, seed, subject.views())
        for metric, value in measures.items():
            if not np.isfinite(value):
                continue
            here = {**about, "subject": subject.name, "metric": metric}
            results.records.append({**here, "label_seed": seed, "value": value})
            results.values.append({**here, "draws": 1, "mean": value, "low": None, "high": None})


def clustered(
    results: Results,
    place: Row,
    target: Target,
    found: Sequence[Subject],
    train: NDArray[np.int64],
    rows: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    draws: int,
    seed: int,
) -> None:
    """k-means and HDBSCAN beside the classes; the only thing they know of them is how many."""
    truth = target.values[rows]
    count = len(np.unique(truth))
    if not 2 <= count <= _CLASSES:
        return
    place = {**place, "task": "clusters"}
    resampling = Resampling.of(groups, seed=seed)
    weights = resampling.weights
    near = clusters.dense_rows(rows, seed)
    of_near = np.searchsorted(rows, near)
    scores = []
    for subject in found:
        means = Scores("k_means", subject.name)
        for draw in range(draws):
            representations = subject.at(draw)
            assigned = clusters.k_means(representations, train, rows, count, seed + draw)
            values = clusters.cluster_metrics(assigned, truth, weights)
            each = clusters.silhouette(representations, near, assigned[of_near])
            values["silhouette", None] = weighted_mean(each, weights[:, of_near])
            means.of_draw.append(values)
            record(results, _about(place, means, seed + draw), values)
        dense = Scores("hdbscan", subject.name)
        assigned = clusters.hdbscan(subject.at(0), near)
        values = clusters.cluster_metrics(assigned, truth[of_near], weights[:, of_near])
        dense.of_draw.append(values)
        record(results, _about(place, dense, seed), values)
        scores += [means, dense]
    summarise(results, place, scores, resampling)


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
    scores = []
    resampling = Resampling.of(labels, seed=seed)
    for subject in found:
        each, queries = retrieval_scores(subject.at(0).at(rows), labels)
        if not len(queries):
            results.notes.append(f"{target.name}: no two {place['split']} images share one.")
            return
        resampling = Resampling.of(labels[queries], seed=seed)
        weights = resampling.weights
        values: Values = {
            (name, None): weighted_mean(value, weights) for name, value in each.items()
        }
        scores.append(Scores("retrieval", subject.name, of_draw=[values]))
        record(results, _about(place, scores[-1], seed), values)
    expected = retrieval_by_chance(labels).items()
    by_chance: Values = {(name, None): weighted_mean(v, resampling.weights) for name, v in expected}
    chance = Scores("retrieval", "chance", of_draw=[by_chance])
    record(results, _about(place, chance, seed), by_chance)
    summarise(results, place, [*scores, chance], resampling)


def _about(place: Row, scores: Scores, seed: int) -> Row:
    return {
        **place,
        "probe": scores.probe,
        "subject": scores.subject,
        **_NO_LABELS,
        "label_seed": seed,
    }
