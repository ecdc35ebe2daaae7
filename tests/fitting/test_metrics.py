from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.classification import MulticlassCalibrationError

from selfsight import vocabulary
from selfsight.data.imageset import Target
from selfsight.fitting import metrics
from selfsight.fitting.metrics import FUNCTIONS
from selfsight.fitting.scored import Floats, Scored
from selfsight.fitting.scores import Values, score

ONES = np.ones((1, 300))


def scores(kind: Any, output: Any, truth: Any, weights: Floats = ONES, **more: Any) -> Values:
    """`score` of a target that these rows are all of."""
    names = more.pop("names", tuple(map(str, range(output.shape[1]))))
    truth = truth.astype(np.int64 if kind == "class" else np.float32)
    return score(Target("t", kind, truth, names), output, np.arange(len(truth)), weights, **more)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_class_metrics_equal_the_libraries(random: np.random.Generator) -> None:
    output = random.dirichlet(np.ones(6), 300).astype(np.float32)
    truth = random.integers(0, 5, 300)  # class 5 is predicted and never true
    guess = output.argmax(1)
    found = {key[0]: value[0] for key, value in scores("class", output, truth).items()}
    ece = MulticlassCalibrationError(6, n_bins=15)(torch.from_numpy(output), torch.tensor(truth))
    recalls = sk.recall_score(truth, guess, average=None, labels=range(5), zero_division=0)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, guess))
    assert found["balanced_accuracy"] == pytest.approx(recalls.mean())
    assert found["macro_f1"] == pytest.approx(
        sk.f1_score(truth, guess, average="macro", labels=range(5))
    )
    assert found["calibration_error"] == pytest.approx(float(ece), abs=1e-6)


def test_a_label_that_is_known_nowhere_is_undefined(random: np.random.Generator) -> None:
    """As where a model has a label that other images have not: the others count."""
    output, truth = random.random((20, 3)).astype(np.float32), random.integers(0, 2, (20, 3)) * 1.0
    ones, limits = np.ones((1, 20)), np.full(3, 0.5)
    two = scores("labels", output[:, [0, 2]], truth[:, [0, 2]], ones, thresholds=limits[:2])
    truth[:, 1] = np.nan
    found = scores("labels", output, truth, ones, thresholds=limits)
    assert np.isnan(found["average_precision", "1"]).all()
    for metric in ("mAP", "roc_auc", "micro_f1"):
        assert found[metric, None] == pytest.approx(two[metric, None])


def test_weights_are_copies_of_rows(random: np.random.Generator) -> None:
    output = random.dirichlet(np.ones(4), 300).astype(np.float32)
    truth = random.integers(0, 4, 300)
    copies = random.integers(0, 3, 300)
    weighted = scores("class", output, truth, copies[None].astype(float))
    rows = np.repeat(np.arange(300), copies)
    plain = scores("class", output[rows], truth[rows], np.ones((1, len(rows))))
    for key, value in plain.items():
        assert weighted[key] == pytest.approx(value), key


@pytest.mark.parametrize("ties", [False, True])
def test_ranking_metrics_equal_scikit_learn(random: np.random.Generator, ties: bool) -> None:
    output = random.random(300)
    output = np.round(output, 1) if ties else output
    true = random.random(300) < 0.2
    copies = random.integers(0, 3, 300).astype(float)
    weights = np.stack([np.ones(300), copies])
    found = scores("labels", output[:, None], true[:, None], weights)
    for name, reference in (
        ("average_precision", sk.average_precision_score),
        ("roc_auc", sk.roc_auc_score),
    ):
        place = name, ("0" if name == "average_precision" else None)
        assert found[place][0] == pytest.approx(reference(true, output))
        assert found[place][1] == pytest.approx(reference(true, output, sample_weight=copies))


@pytest.mark.parametrize("classes", [2, 5])
def test_roc_auc_of_a_class_is_that_of_scikit_learn(
    random: np.random.Generator, classes: int
) -> None:
    truth = random.integers(0, classes, 300)
    output = random.dirichlet(np.ones(classes), 300) + 0.5 * np.eye(classes)[truth]
    output = (output / output.sum(1, keepdims=True)).round(2)
    output[:, 0] += 1 - output.sum(1)
    found = scores("class", output, truth)["roc_auc", None][0]
    theirs = output[:, 1] if classes == 2 else output
    assert found == pytest.approx(sk.roc_auc_score(truth, theirs, multi_class="ovr"))
    assert 0.6 < found < 1.0


def test_roc_auc_is_not_defined_without_two_sides(random: np.random.Generator) -> None:
    output, one = random.random((300, 2)), np.zeros((300, 2))
    one[:100, 0] = 1
    found = scores("labels", output, one)
    assert np.isnan(found["roc_auc", "1"][0])
    assert found["roc_auc", None][0] == pytest.approx(found["roc_auc", "0"][0])
    alone = scores("class", output, np.ones(300, np.int64))
    assert np.isnan(alone["roc_auc", None][0])
    many = np.arange(300)
    assert np.isnan(scores("class", random.random((300, 300)), many)["roc_auc", None][0])


def test_labels_metrics_equal_scikit_learn(random: np.random.Generator) -> None:
    output = random.random((300, 4)).astype(np.float32)
    truth = (random.random((300, 4)) < [0.5, 0.2, 0.05, 0.0]).astype(np.float32)
    thresholds = np.array([0.5, 0.7, 0.9, 2.0])  # the last label is never there and never said
    said = output >= thresholds
    names = ("a", "b", "c", "d")
    found = scores("labels", output, truth, thresholds=thresholds, names=names)
    precision = sk.average_precision_score(truth[:, :3], output[:, :3])
    each = sk.f1_score(truth, said, average=None, zero_division=0)
    assert found["mAP", None][0] == pytest.approx(precision)
    assert found["micro_f1", None][0] == pytest.approx(sk.f1_score(truth, said, average="micro"))
    assert found["macro_f1", None][0] == pytest.approx(each.mean())
    assert found["hamming", None][0] == pytest.approx(sk.hamming_loss(truth, said))
    assert found["f1", "b"][0] == pytest.approx(each[1])
    assert np.isnan(found["average_precision", "d"][0])


def test_unknown_labels_count_nowhere(random: np.random.Generator) -> None:
    output = random.random((300, 2)).astype(np.float32)
    truth = (random.random((300, 2)) < 0.4).astype(np.float32)
    hidden = truth.copy()
    hidden[:100, 0] = np.nan
    thresholds = np.array([0.5, 0.5])
    found = scores("labels", output, hidden, thresholds=thresholds, names=("a", "b"))
    assert found["average_precision", "a"][0] == pytest.approx(
        sk.average_precision_score(truth[100:, 0], output[100:, 0])
    )
    wrong = (output >= 0.5) != (truth > 0.5)
    wrong[:100, 0] = False
    assert found["hamming", None][0] == pytest.approx(wrong.sum() / 500)


def test_number_metrics_equal_scikit_learn(random: np.random.Generator) -> None:
    truth = (random.normal(size=(300, 2)) + 1e4).astype(np.float32)
    output = (truth + random.normal(size=(300, 2))).astype(np.float32)
    copies = random.integers(0, 3, 300).astype(float)
    truth[:50, 1] = np.nan
    weights = np.stack([np.ones(300), copies])
    found = scores("number", output, truth, weights, names=("x", "y"))
    for name, first in (("x", 0), ("y", 50)):
        column = ("x", "y").index(name)
        t, o = truth[first:, column], output[first:, column]
        for draw, w in enumerate(weights):
            kwargs = {"sample_weight": w[first:]}
            assert found["r2", name][draw] == pytest.approx(sk.r2_score(t, o, **kwargs), abs=1e-4)
            expected = sk.mean_absolute_error(t, o, **kwargs)
            assert found["mae", name][draw] == pytest.approx(expected, rel=1e-4)
            expected = sk.root_mean_squared_error(t, o, **kwargs)
            assert found["rmse", name][draw] == pytest.approx(expected, rel=1e-4)
    assert found["r2", None][0] == pytest.approx((found["r2", "x"][0] + found["r2", "y"][0]) / 2)


def test_one_number_is_recorded_once(random: np.random.Generator) -> None:
    output, truth = random.random((300, 1)), random.random((300, 1))
    assert set(scores("number", output, truth)) == {("r2", None), ("mae", None), ("rmse", None)}


@pytest.fixture
def entry() -> Iterator[None]:
    before = dict(vocabulary.METRICS)
    yield
    for name in vocabulary.METRICS.keys() - before.keys():
        del vocabulary.METRICS[name], FUNCTIONS[name]


@pytest.mark.usefixtures("entry")
def test_a_metric_is_one_entry(random: np.random.Generator) -> None:
    """A function with its words is scored, titled and placed like those that are there."""

    @metrics.metric("top-2 error", kinds=("class",), higher_is_better=False)
    def top_2_error(scored: Scored) -> Floats:
        near = np.argsort(-scored.output, 1)[:, :2]
        wrong = (near != scored.truth[:, None]).all(1).astype(np.float64)
        return scored.weights @ wrong / scored.weights.sum(1)

    output, truth = random.dirichlet(np.ones(4), 300), random.integers(0, 4, 300)
    found = scores("class", output, truth)["top_2_error", None][0]
    assert found == pytest.approx(1 - sk.top_k_accuracy_score(truth, output, k=2))
    assert vocabulary.value_text("top_2_error", 0.25) == "25.0\N{NO-BREAK SPACE}%"
    assert not vocabulary.higher_is_better("top_2_error")
    assert vocabulary.metrics_of("class")[-1] == "top_2_error"


def test_each_metric_of_a_kind_has_a_function() -> None:
    scored = {
        name for kind in ("class", "labels", "number") for name in vocabulary.metrics_of(kind)
    }
    assert scored == FUNCTIONS.keys()
    heads = [vocabulary.headline(kind) for kind in ("class", "labels", "number", "identity")]
    assert heads == ["accuracy", "mAP", "r2", "recall_at_1"]
