from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, r2_score

from selfsight import vocabulary
from selfsight.data.imageset import ImageSet, Target
from selfsight.evaluation.settings import Evaluate
from selfsight.fitting import probes
from selfsight.fitting.head import Fitted
from selfsight.fitting.labelled import Subset
from selfsight.fitting.probes import PROBES, probes_of
from selfsight.fitting.probes.mlp import fit, train
from selfsight.fitting.representations import Representations
from selfsight.fitting.stack import Classifier
from selfsight.fitting.tasks import activated, best_thresholds


def _subset(
    kind: Any, n: int = 120, outputs: int = 3, groups: int | None = None, **more: Any
) -> tuple[Subset, Representations]:
    random = np.random.default_rng(0)
    features = random.normal(size=(n, 10)).astype(np.float32) * 2 + 1
    logits = (features - 1) @ random.normal(size=(10, outputs)) + 2 * random.normal(
        size=(n, outputs)
    )
    if kind == "class":
        values: Any = logits.argmax(1)
    elif kind == "labels":
        values = (logits > 3).astype(np.float32)
    else:
        values = (logits * 10 + 50).astype(np.float32)
    rows = np.arange(n)
    images = ImageSet(
        "toy",
        np.zeros((n, 1, 1, 1), np.uint8),
        rows.astype(str),
        np.full(n, "train"),
        groups=None if groups is None else rows % groups,
    )
    target = Target("t", kind, values, tuple("abc"[:outputs]))
    mean, scale = torch.from_numpy(features.mean(0)), torch.tensor(2.0)
    representations = Representations(torch.from_numpy(features), rows, mean, scale)
    return Subset(images, target, rows, **more), representations


@pytest.mark.parametrize("outputs", [2, 3])
def test_linear_probabilities_equal_scikit_learn(outputs: int) -> None:
    subset, found = _subset("class", outputs=outputs)
    fitted = PROBES["linear"](subset, found)
    theirs = LogisticRegression(C=fitted.choice["C"], tol=1e-8, max_iter=5000)
    features = found.standardised(subset.rows).numpy()
    expected = theirs.fit(features, subset.values).predict_proba(features)
    np.testing.assert_allclose(fitted.predict(found.values), expected, atol=1e-3)


@pytest.mark.parametrize("outputs", [2, 3])
def test_balanced_classes_weigh_as_in_scikit_learn(outputs: int) -> None:
    subset, found = _subset("class", outputs=outputs, balanced=True)
    values = subset.target.values
    values[values == 1] *= np.arange((values == 1).sum()) % 5 == 0
    fitted = PROBES["linear"](subset, found)
    theirs = LogisticRegression(
        C=fitted.choice["C"], tol=1e-8, max_iter=5000, class_weight="balanced"
    )
    features = found.standardised(subset.rows).numpy()
    expected = theirs.fit(features, subset.values).predict_proba(features)
    np.testing.assert_allclose(fitted.predict(found.values), expected, atol=1e-3)


@pytest.mark.parametrize("probe", ["linear", "mlp"])
def test_balanced_labels_find_more_of_the_rare(probe: str) -> None:
    subset, found = _subset("labels", n=400)
    values = subset.target.values
    rare = values[:, 0] > 0.5
    values[rare, 0] = np.arange(rare.sum()) % 8 == 0
    said = [
        PROBES[probe](replace(subset, balanced=balanced), found).predict(found.values)[:, 0].numpy()
        for balanced in (False, True)
    ]
    assert said[1][rare].mean() > said[0][rare].mean() + 0.1


def test_weights_of_labels_balance_them_and_numbers_have_none() -> None:
    subset, _ = _subset("labels", balanced=True)
    subset.target.values[:30, 2] = np.nan
    weights = subset.weights()
    assert weights is not None
    positive = subset.values > 0.5
    both = (weights.numpy() * positive).sum(0), (subset.values < 0.5).sum(0)
    np.testing.assert_allclose(*both, rtol=1e-5)
    assert _subset("number", balanced=True)[0].weights() is None


def test_ridge_predictions_equal_scikit_learn_with_unknown_values() -> None:
    subset, representations = _subset("number")
    subset.target.values[:20, 1] = np.nan
    fitted = PROBES["linear"](subset, representations)
    features = representations.standardised(subset.rows).numpy().astype(np.float64)
    for output in range(3):
        known = ~np.isnan(subset.values[:, output])
        theirs = Ridge(fitted.choice["alpha"][output])
        theirs.fit(features[known], subset.values[known, output])
        found = fitted.predict(representations.values)[:, output]
        np.testing.assert_allclose(found, theirs.predict(features), rtol=1e-5)


@pytest.mark.parametrize("probe", ["knn", "linear", "mlp"])
def test_below_two_labels_a_class_nothing_is_chosen(probe: str) -> None:
    few = _subset("class", n=5)
    assert PROBES[probe](*few).choice["chosen"] is False
    assert PROBES[probe](*_subset("class", n=40, groups=1)).choice["chosen"] is False
    assert PROBES[probe](*_subset("class", n=40)).choice["chosen"] is True


@pytest.mark.parametrize("kind", ["class", "labels", "number"])
def test_the_mlp_learns_and_repeats(kind: str) -> None:
    subset, found = _subset(kind, n=400)
    before = torch.random.get_rng_state()
    fitted = PROBES["mlp"](subset, found)
    assert torch.equal(before, torch.random.get_rng_state())
    output = fitted.predict(found.values)
    assert torch.equal(output, PROBES["mlp"](subset, found).predict(found.values))
    if kind == "class":
        assert (output.argmax(1).numpy() == subset.values).mean() > 0.6
    elif kind == "labels":
        assert fitted.thresholds is not None
        said = output.numpy() >= fitted.thresholds
        assert f1_score(subset.values, said, average="micro") > 0.6
    else:
        assert r2_score(subset.values, output.numpy()) > 0.5


def test_unknown_labels_do_not_change_the_others() -> None:
    def fit(values: np.ndarray) -> Fitted:
        subset, found = _subset("labels")
        target = replace(subset.target, values=values)
        return PROBES["linear"](replace(subset, target=target), found)

    values = _subset("labels")[0].values
    hidden = values.copy()
    hidden[:, 2] = np.nan
    hidden[:4, 2] = 1.0  # always present where known
    first, second = fit(values), fit(hidden)
    if first.choice == second.choice:
        both = _subset("labels")[1].values
        np.testing.assert_allclose(
            first.predict(both)[:, :2], second.predict(both)[:, :2], atol=1e-3
        )
    assert np.isfinite(second.predict(_subset("labels")[1].values).numpy()).all()


def test_thresholds_maximise_f1() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((200, 3)) < [0.3, 0.1, 0.0]).astype(np.float32)
    likely = (random.random((200, 3)) * 0.5 + truth * 0.3).round(2).astype(np.float32)
    truth[:10, 0] = np.nan
    found = best_thresholds(likely, truth)
    for label in (0, 1):
        known = ~np.isnan(truth[:, label])
        true, score = truth[known, label], likely[known, label]
        best = max(f1_score(true, score >= t) for t in np.unique(score))
        assert f1_score(true, score >= found[label]) == pytest.approx(best)
    assert found[2] == 0.5


@pytest.mark.parametrize("kind", ["class", "labels", "number"])
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_a_linear_head_is_its_weights(kind: str, outputs: int) -> None:
    if kind == "class" and outputs == 1:
        pytest.skip("a class has two names")
    subset, found = _subset(kind, outputs=outputs)
    head = PROBES["linear"](subset, found).head
    folded = head.as_linear()
    assert folded is not None
    raw = found.values @ folded[0].T + folded[1]
    torch.testing.assert_close(raw, head.raw(found.values), rtol=1e-4, atol=1e-3)


CLASS_MEANS = '''
"""The nearest class mean."""
import torch
from selfsight.fitting.head import Fitted

TITLE = "class means"
PHRASE = "the nearest class mean"
ORDER = 25
KINDS = ("class",)

def fit(subset, representations):
    features, labels = representations.at(subset.rows), subset.truth()
    means = torch.stack([features[labels == k].mean(0) for k in range(subset.outputs)])
    return Fitted(lambda x: (-torch.cdist(x, means)).softmax(1), {"chosen": True})
'''


def test_a_probe_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "class_means.py").write_text(CLASS_MEANS)
    monkeypatch.setattr(probes, "__path__", [*probes.__path__, str(tmp_path)])
    monkeypatch.setattr(vocabulary, "PROBES", dict(vocabulary.PROBES))
    assert list(PROBES) == ["class_means", "knn", "linear", "mlp"]
    assert "class_means" in probes_of("class")
    assert "class_means" not in probes_of("labels")
    assert Evaluate(run="x", probes=("class_means",)).probes == ("class_means",)
    subset, found = _subset("class", n=400)
    output = PROBES["class_means"](subset, found).predict(found.values)
    assert (output.argmax(1).numpy() == subset.values).mean() > 0.5
    assert vocabulary.probe("class_means").phrase == "the nearest class mean"
    del sys.modules["selfsight.fitting.probes.class_means"]


def test_an_unknown_probe_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'linear'"):
        PROBES["linnear"]


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": 0},
        {"depth": 2, "width": 16, "narrowing": 0.5, "activation": "gelu"},
        {"normalisation": "batch", "activation": "tanh", "batch_size": 32},
        {"normalisation": "layer", "activation": "silu", "dropout": 0.2, "optimizer": "sgd"},
    ],
)
@pytest.mark.parametrize("kind", ["class", "labels", "number"])
def test_a_classifier_of_any_shape_becomes_a_head(kind: str, changes: dict[str, Any]) -> None:
    """The head gives the numbers of the network that was trained, in the target's unit."""
    subset, found = _subset(kind, n=200)
    settings = Classifier(lr=1e-2, epochs=20, **changes)
    nothing = np.full(len(subset), -1)
    trained = train(subset, found, settings, nothing, metric="loss")
    raw = trained.stack(found.standardised(subset.rows))[0]
    expected = activated(raw * trained.spread[0] + trained.centre[0], kind)
    head = trained.head(kind, found)
    assert head.shape == settings.shape
    torch.testing.assert_close(head(found.values), expected.detach(), rtol=1e-4, atol=1e-4)
    fitted = fit(subset, found, settings)
    if kind == "number":
        assert r2_score(subset.values, fitted.predict(found.values).numpy()) > 0.3
    elif kind == "class":
        assert (fitted.predict(found.values).argmax(1).numpy() == subset.values).mean() > 0.5
