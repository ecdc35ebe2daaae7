from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.classification import MulticlassCalibrationError

from selfsight.fitting.metrics import (
    average_precision,
    class_metrics,
    labels_metrics,
    number_metrics,
)

ONES = np.ones((1, 300))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_class_metrics_equal_the_libraries(random: np.random.Generator) -> None:
    output = random.dirichlet(np.ones(6), 300).astype(np.float32)
    truth = random.integers(0, 5, 300)  # class 5 is predicted and never true
    guess = output.argmax(1)
    found = {key[0]: value[0] for key, value in class_metrics(output, truth, ONES).items()}
    ece = MulticlassCalibrationError(6, n_bins=15)(torch.from_numpy(output), torch.tensor(truth))
    recalls = sk.recall_score(truth, guess, average=None, labels=range(5), zero_division=0)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, guess))
    assert found["balanced_accuracy"] == pytest.approx(recalls.mean())
    assert found["macro_f1"] == pytest.approx(sk.f1_score(truth, guess, average="macro"))
    assert found["calibration_error"] == pytest.approx(float(ece), abs=1e-6)


def test_weights_are_copies_of_rows(random: np.random.Generator) -> None:
    output = random.dirichlet(np.ones(4), 300).astype(np.float32)
    truth = random.integers(0, 4, 300)
    copies = random.integers(0, 3, 300)
    weighted = class_metrics(output, truth, copies[None].astype(float))
    rows = np.repeat(np.arange(300), copies)
    plain = class_metrics(output[rows], truth[rows], np.ones((1, len(rows))))
    for key, value in plain.items():
        assert weighted[key] == pytest.approx(value), key


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_equals_scikit_learn(random: np.random.Generator, ties: bool) -> None:
    score = random.random(300)
    score = np.round(score, 1) if ties else score
    true = random.random(300) < 0.2
    copies = random.integers(0, 3, 300).astype(float)
    weights = np.stack([np.ones(300), copies])
    found = average_precision(score, true, weights)
    assert found[0] == pytest.approx(sk.average_precision_score(true, score))
    assert found[1] == pytest.approx(sk.average_precision_score(true, score, sample_weight=copies))


def test_labels_metrics_equal_scikit_learn(random: np.random.Generator) -> None:
    output = random.random((300, 4)).astype(np.float32)
    truth = (random.random((300, 4)) < [0.5, 0.2, 0.05, 0.0]).astype(np.float32)
    thresholds = np.array([0.5, 0.7, 0.9, 2.0])  # the last label is never there and never said
    said = output >= thresholds
    names = ("a", "b", "c", "d")
    found = labels_metrics(output, truth, ONES, thresholds=thresholds, names=names)
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
    found = labels_metrics(output, hidden, ONES, thresholds=thresholds, names=("a", "b"))
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
    found = number_metrics(output, truth, weights, names=("x", "y"))
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
