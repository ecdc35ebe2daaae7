"""Labels that are probably wrong: those that predictions and neighbours disagree with.

A label is suspicious where a probe that never saw it is confident of another class, by the
thresholds of confident learning (Northcutt, Jiang and Chuang, "Confident Learning: Estimating
Uncertainty in Dataset Labels", JAIR 2021, equation 1), or where most of the nearest images have
another label (Wilson, "Asymptotic properties of nearest neighbor rules using edited data", 1972).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfsight.fitting.folds import groups_of, held_out
from selfsight.kernels.nearest import nearest

FOLDS = 5
NEIGHBOURS = 10
PENALTIES = (0.001, 0.01, 0.1, 1.0)
"""Of the logistic regression (scikit-learn's C on features of unit variance)."""


@dataclass(frozen=True)
class LabelChecks:
    """What speaks against each label, of N images.

    Attributes:
        predicted: ``(N,)`` class that the out-of-fold prediction favours.
        given_probability: ``(N,)`` out-of-fold probability of the given label.
        predicted_probability: ``(N,)`` of the predicted class.
        agreeing: ``(N,)`` share of the nearest other images with the same label.
        suspicion: ``(N,)`` from 0 to 1: 1 - the mean of ``given_probability`` and ``agreeing``.
        suspicious: ``(N,)`` whether the prediction or the neighbours disagree.
    """

    predicted: NDArray[np.int64]
    given_probability: NDArray[np.float64]
    predicted_probability: NDArray[np.float64]
    agreeing: NDArray[np.float64]
    suspicion: NDArray[np.float64]
    suspicious: NDArray[np.bool_]


def check_labels(
    representations: Tensor,
    classes: NDArray[np.int64],
    groups: NDArray[np.int64] | None = None,
    *,
    seed: int = 0,
) -> LabelChecks:
    """Compares each label with a probe and with neighbours that have not seen it.

    Args:
        representations: ``(N, F)``, finite.
        classes: ``(N,)`` from 0.
        groups: ``(N,)``, -1 for none: images of one group are never in two folds, nor neighbours of
            each other, so that copies with the same wrong label do not confirm one another.
        seed: of the folds.

    Raises:
        ValueError: there are fewer than two classes with two images, or a single group.
    """
    if (np.bincount(classes) > 1).sum() < 2:
        raise ValueError("labels: two classes with at least two images each are needed.")
    own = groups_of(groups, np.arange(len(classes)))
    fold = held_out(classes, own, folds=FOLDS, seed=seed)
    if fold.max(initial=0) == 0:
        raise ValueError("labels: all images are in one group, so no prediction is independent.")
    features = representations.double().numpy()
    features = (features - features.mean(0)) / np.maximum(features.std(0), 1e-9)
    probabilities = _out_of_fold(features, classes, fold)
    rows = np.arange(len(classes))
    given = probabilities[rows, classes]
    predicted = probabilities.argmax(1)
    thresholds = np.array([
        probabilities[classes == c, c].mean() if (classes == c).any() else np.inf
        for c in range(probabilities.shape[1])
    ])  # fmt: skip
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    best = confident.argmax(1)
    disagrees = (confident.max(1) >= 0) & (best != classes)
    agreeing, outvoted = _neighbours(torch.from_numpy(features).float(), classes, own)
    return LabelChecks(
        predicted=predicted.astype(np.int64),
        given_probability=given,
        predicted_probability=probabilities[rows, predicted],
        agreeing=agreeing,
        suspicion=1.0 - (given + agreeing) / 2,
        suspicious=disagrees | outvoted,
    )


def _out_of_fold(
    features: NDArray[np.float64], classes: NDArray[np.int64], fold: NDArray[np.int64]
) -> NDArray[np.float64]:
    """``(N, K)`` probabilities by logistic regressions that never saw the fold.

    The penalty is the one with the smallest log-loss of these very predictions: labels that are
    wrong ask for a stronger one.
    """
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if features.shape[1] > 256 and len(features) > 256:  # no label is read for it
        features = PCA(256, svd_solver="randomized", random_state=0).fit_transform(features)
        features = features / features.std()
    count = int(classes.max()) + 1
    best: tuple[float, NDArray[np.float64]] | None = None
    rows = np.arange(len(classes))
    for penalty in PENALTIES:
        probabilities = np.zeros((len(classes), count))
        for number in range(int(fold.max()) + 1):
            inside, outside = fold != number, fold == number
            model = LogisticRegression(C=penalty, max_iter=300)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(features[inside], classes[inside])
            probabilities[np.ix_(outside, model.classes_)] = model.predict_proba(features[outside])
        loss = float(-np.log(probabilities[rows, classes].clip(1e-6)).mean())
        if best is None or loss < best[0]:
            best = loss, probabilities
    assert best is not None
    return best[1]


def _neighbours(
    features: Tensor, classes: NDArray[np.int64], groups: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """``(N,)`` share of the nearest images of other groups with the same label; ``(N,)`` whether
    more than half of them agree on another one.
    """
    most = min(NEIGHBOURS + int(np.bincount(groups).max()), len(classes))
    agreeing = np.zeros(len(classes))
    outvoted = np.zeros(len(classes), np.bool_)
    first = 0
    for cosines, places in nearest(features, features, most):
        order = cosines.argsort(1, descending=True)
        near = places.gather(1, order).numpy()
        for row, others in enumerate(near, first):
            others = others[groups[others] != groups[row]][:NEIGHBOURS]
            if len(others):
                votes = np.bincount(classes[others])
                agreeing[row] = (classes[others] == classes[row]).mean()
                outvoted[row] = (
                    votes.max() > len(others) / 2 and int(votes.argmax()) != classes[row]
                )
        first += len(near)
    return agreeing, outvoted
