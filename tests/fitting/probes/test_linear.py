from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from selfsight.fitting import logistic
from selfsight.fitting.logistic import fit_path
from selfsight.fitting.probes.linear import ridge_path


def _classes(n: int, width: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, width)) @ random.normal(size=(width, width))
    features = (features - features.mean(0)) / features.std(0)
    logits = features @ random.normal(size=(width, classes)) + 3 * random.gumbel(size=(n, classes))
    return features, logits.argmax(1)


def _fit(features, targets, strength, **more):  # type: ignore[no-untyped-def]
    kwargs = {"tolerance": 1e-8, **more}
    return next(fit_path(torch.from_numpy(features), targets, [strength], **kwargs))


@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(("n", "width", "classes"), [(300, 20, 4), (40, 64, 5)])
def test_classes_equal_scikit_learn(n: int, width: int, classes: int, strength: float) -> None:
    features, labels = _classes(n, width, classes)
    theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(features, labels)
    ours = _fit(features, torch.from_numpy(labels), strength, outputs=classes)
    np.testing.assert_allclose(ours.weight[0], theirs.coef_, atol=1e-3)
    np.testing.assert_allclose(ours.bias[0], theirs.intercept_, atol=1e-3)


def test_two_classes_are_one_sigmoid_as_in_scikit_learn() -> None:
    features, labels = _classes(200, 10, 2)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(features, labels)
    ours = _fit(features, torch.from_numpy(labels[:, None].astype(float)), 0.5, outputs=1)
    np.testing.assert_allclose(ours.weight[0], theirs.coef_, atol=1e-3)


def test_unknown_labels_are_left_out() -> None:
    features, labels = _classes(200, 8, 3)
    targets = np.eye(3)[labels]
    targets[::3, 1] = np.nan
    ours = _fit(features, torch.from_numpy(targets), 1.0, outputs=3)
    for label in range(3):
        known = ~np.isnan(targets[:, label])
        theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000)
        theirs.fit(features[known], targets[known, label])
        np.testing.assert_allclose(ours.weight[0, label], theirs.coef_[0], atol=1e-3)


@pytest.mark.parametrize(("n", "width"), [(200, 8), (30, 50)])
def test_problems_together_equal_problems_alone(n: int, width: int) -> None:
    features, labels = _classes(n, width, 3)
    used = torch.ones(n, 3, dtype=torch.bool)
    used[: n // 3, 0] = False
    used[n // 3 :: 2, 1] = False
    together = _fit(features, torch.from_numpy(labels), 0.1, used=used, outputs=3, tolerance=1e-7)
    for problem in range(3):
        rows = used[:, problem].numpy()
        alone = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000)
        alone.fit(features[rows], labels[rows])
        np.testing.assert_allclose(together.weight[problem], alone.coef_, atol=1e-3)


def test_a_point_of_the_path_does_not_depend_on_where_the_path_began() -> None:
    features, labels = _classes(300, 20, 4)
    targets = torch.from_numpy(labels)
    tensor = torch.from_numpy(features)
    path = list(fit_path(tensor, targets, [1e-3, 0.1, 10.0], outputs=4, tolerance=1e-7))
    alone = _fit(features, targets, 10.0, outputs=4, tolerance=1e-7)
    torch.testing.assert_close(path[-1].weight, alone.weight, atol=1e-3, rtol=0)


def test_float32_is_as_good_for_predictions() -> None:
    features, labels = _classes(2000, 30, 4)
    fine = _fit(features, torch.from_numpy(labels), 1.0, outputs=4)
    wide = torch.from_numpy(np.repeat(features, 70, 0).astype(np.float32))  # over the float64 limit
    many = torch.from_numpy(np.repeat(labels, 70, 0))
    coarse = next(fit_path(wide, many, [1.0 / 70], outputs=4))
    torch.testing.assert_close(
        coarse.logits(torch.from_numpy(features), 0).softmax(1),
        fine.logits(torch.from_numpy(features), 0).softmax(1),
        atol=2e-3,
        rtol=0,
    )


@pytest.mark.parametrize("form", ["classes", "labels"])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_the_loss_is_the_one_written_out(
    form: str, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logistic, "_CACHED", 1)  # several parts
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, 7, generator=generator, dtype=torch.float64)
    targets = torch.randint(3, (600,), generator=generator)
    used = torch.rand(600, 2, generator=generator, dtype=torch.float64)
    used[:50, 1] = 0.0
    entries = torch.rand(600, 3, generator=generator, dtype=torch.float64)
    theta = scale * torch.randn(6, 8, generator=generator, dtype=torch.float64)
    theta.requires_grad_()
    logits = (x @ theta[:, :-1].T + theta[:, -1]).view(600, 2, 3)
    if form == "classes":
        right = targets[:, None].expand(600, 2)
        losses = torch.nn.functional.cross_entropy(logits.mT, right, reduction="none")
        expected = (losses * used).sum() / 600
        loss = logistic._Logistic(x, targets, used, 3, None)
    else:
        labels = torch.nn.functional.one_hot(targets, 3).double()
        right = labels[:, None].expand(600, 2, 3)
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, right, reduction="none"
        )
        expected = (losses * used[:, :, None] * entries[:, None])[100:].sum() / 600
        unknown = labels.clone()
        unknown[:100] = torch.nan
        loss = logistic._Logistic(x, unknown, used, 3, entries)
    (slope,) = torch.autograd.grad(expected, theta)
    value, gradient = loss(theta.detach())
    assert len(loss.parts) > 2
    assert value == pytest.approx(float(expected.detach()), rel=1e-12)
    torch.testing.assert_close(gradient, slope, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("n", "width"), [(100, 8), (20, 50)])
def test_the_ridge_path_equals_scikit_learn(n: int, width: int) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(n, width)) + 3
    values = features @ random.normal(size=width) + random.normal(size=n) + 100
    alphas = [0.1, 1.0, 100.0]
    weight, bias = ridge_path(torch.from_numpy(features), torch.from_numpy(values), alphas)
    for i, alpha in enumerate(alphas):
        theirs = Ridge(alpha).fit(features, values)
        np.testing.assert_allclose(weight[i], theirs.coef_, atol=1e-8)
        np.testing.assert_allclose(bias[i], theirs.intercept_, atol=1e-8)
