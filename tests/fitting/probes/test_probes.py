from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, r2_score

from selfsight.fitting.probes import PROBES, Fitted, Subset, best_thresholds


def _subset(kind: Any, n: int = 120, outputs: int = 3, groups: int | None = None) -> Subset:
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
    return Subset(
        kind=kind,
        features=torch.from_numpy(features),
        mean=torch.from_numpy(features.mean(0)),
        scale=torch.tensor(2.0),
        values=values,
        groups=np.arange(n) if groups is None else np.arange(n) % groups,
        outputs=outputs,
        seed=0,
    )


@pytest.mark.parametrize("outputs", [2, 3])
def test_linear_probabilities_equal_scikit_learn(outputs: int) -> None:
    subset = _subset("class", outputs=outputs)
    fitted = PROBES["linear"](subset)
    theirs = LogisticRegression(C=fitted.choice["C"], tol=1e-8, max_iter=5000)
    theirs.fit(subset.standardised.numpy(), subset.values)
    expected = theirs.predict_proba(subset.standardised.numpy())
    np.testing.assert_allclose(fitted.predict(subset.features), expected, atol=1e-3)


@pytest.mark.parametrize("outputs", [2, 3])
def test_balanced_classes_weigh_as_in_scikit_learn(outputs: int) -> None:
    subset = replace(_subset("class", outputs=outputs), balanced=True)
    subset.values[subset.values == 1] *= np.arange((subset.values == 1).sum()) % 5 == 0
    fitted = PROBES["linear"](subset)
    theirs = LogisticRegression(
        C=fitted.choice["C"], tol=1e-8, max_iter=5000, class_weight="balanced"
    )
    theirs.fit(subset.standardised.numpy(), subset.values)
    expected = theirs.predict_proba(subset.standardised.numpy())
    np.testing.assert_allclose(fitted.predict(subset.features), expected, atol=1e-3)


@pytest.mark.parametrize("probe", ["linear", "mlp"])
def test_balanced_labels_find_more_of_the_rare(probe: str) -> None:
    subset = _subset("labels", n=400)
    rare = subset.values[:, 0] > 0.5
    subset.values[rare, 0] = np.arange(rare.sum()) % 8 == 0
    said = [
        PROBES[probe](replace(subset, balanced=balanced)).predict(subset.features).numpy()[:, 0]
        for balanced in (False, True)
    ]
    assert said[1][rare].mean() > said[0][rare].mean() + 0.1


def test_weights_of_labels_balance_them_and_numbers_have_none() -> None:
    subset = replace(_subset("labels"), balanced=True)
    subset.values[:30, 2] = np.nan
    weights = subset.weights()
    assert weights is not None
    positive = subset.values > 0.5
    both = (weights.numpy() * positive).sum(0), (subset.values < 0.5).sum(0)
    np.testing.assert_allclose(*both, rtol=1e-5)
    assert replace(_subset("number"), balanced=True).weights() is None


def test_ridge_predictions_equal_scikit_learn_with_unknown_values() -> None:
    subset = _subset("number")
    subset.values[:20, 1] = np.nan
    fitted = PROBES["linear"](subset)
    features = subset.standardised.numpy().astype(np.float64)
    for output in range(3):
        known = ~np.isnan(subset.values[:, output])
        theirs = Ridge(fitted.choice["alpha"][output])
        theirs.fit(features[known], subset.values[known, output])
        found = fitted.predict(subset.features)[:, output]
        np.testing.assert_allclose(found, theirs.predict(features), rtol=1e-5)


@pytest.mark.parametrize("probe", ["knn", "linear", "mlp"])
def test_below_two_labels_a_class_nothing_is_chosen(probe: str) -> None:
    few = _subset("class", n=5)
    assert PROBES[probe](few).choice["chosen"] is False
    assert PROBES[probe](_subset("class", n=40, groups=1)).choice["chosen"] is False
    assert PROBES[probe](_subset("class", n=40)).choice["chosen"] is True


@pytest.mark.parametrize("kind", ["class", "labels", "number"])
def test_the_mlp_learns_and_repeats(kind: str) -> None:
    subset = _subset(kind, n=400)
    before = torch.random.get_rng_state()
    fitted = PROBES["mlp"](subset)
    assert torch.equal(before, torch.random.get_rng_state())
    output = fitted.predict(subset.features)
    assert torch.equal(output, PROBES["mlp"](subset).predict(subset.features))
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
        subset = _subset("labels")
        return PROBES["linear"](Subset(**{**vars(subset), "values": values}))

    values = _subset("labels").values
    hidden = values.copy()
    hidden[:, 2] = np.nan
    hidden[:4, 2] = 1.0  # always present where known
    first, second = fit(values), fit(hidden)
    if first.choice == second.choice:
        both = _subset("labels").features
        np.testing.assert_allclose(
            first.predict(both)[:, :2], second.predict(both)[:, :2], atol=1e-3
        )
    assert np.isfinite(second.predict(_subset("labels").features).numpy()).all()


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
