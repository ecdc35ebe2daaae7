from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet, Target
from selfsight.fitting.labelled import Subset
from selfsight.fitting.probes import PROBES
from selfsight.fitting.representation_choice import best_representation
from selfsight.fitting.representations import Representations

COUNT = 80


def labelled(values: NDArray[Any], kind: str, count: int = COUNT) -> Subset:
    """A subset of ``count`` images whose pixels play no part."""
    names = ("a", "b") if kind != "number" else ("a",)
    target = Target("target", kind, values, names)  # type: ignore[arg-type]
    images = ImageSet(
        "made",
        np.zeros((COUNT, 1, 1, 1), np.uint8),
        np.array([str(i) for i in range(COUNT)]),
        np.full(COUNT, "train"),
        targets={"target": target},
    )
    return Subset(images, target, np.arange(count))


def truth_of(kind: str) -> NDArray[Any]:
    classes = np.arange(COUNT) // 3 % 2
    if kind == "class":
        return classes.astype(np.int64)
    if kind == "labels":
        return np.stack([classes, 1 - classes], 1).astype(np.float32)
    return (classes + np.arange(COUNT) / COUNT).astype(np.float32)[:, None]


def representations(signal: NDArray[Any] | None, seed: int) -> Representations:
    """Noise, with the truth in the first feature where there is a signal."""
    values = np.random.default_rng(seed).normal(size=(COUNT, 6)).astype(np.float32)
    if signal is not None:
        values[:, 0] = 4.0 * signal.reshape(COUNT, -1)[:, 0]
    rows = np.arange(COUNT)
    return Representations.of(torch.from_numpy(values), rows, rows)


@pytest.mark.parametrize("probe", ["knn", "linear", "mlp"])
@pytest.mark.parametrize("better", ["stages", "mean"])
def test_the_one_that_predicts_held_out_labels_is_taken(probe: str, better: str) -> None:
    truth = truth_of("class")
    subset = labelled(truth, "class")
    candidates = {
        name: representations(truth if name == better else None, seed)
        for seed, name in enumerate(("stages", "mean"))
    }
    name, fitted = best_representation(PROBES[probe], subset, candidates)
    assert name == better == fitted.choice["representation"]
    right = fitted.predict(candidates[name].values).argmax(1).numpy() == truth
    assert right.mean() > 0.95


@pytest.mark.parametrize("kind", ["labels", "number"])
@pytest.mark.parametrize("better", ["stages", "mean"])
def test_labels_and_numbers_choose_too(kind: str, better: str) -> None:
    truth = truth_of(kind)
    candidates = {
        name: representations(truth if name == better else None, seed)
        for seed, name in enumerate(("stages", "mean"))
    }
    name, fitted = best_representation(PROBES["linear"], labelled(truth, kind), candidates)
    assert name == better
    assert fitted.held_out_score is not None
    assert fitted.held_out_score[0] > 0.6


def test_rows_outside_the_subset_have_no_say() -> None:
    truth = truth_of("class")
    inside = 40
    mixed = representations(truth, 0).values.clone()
    mixed[inside:, 0] *= -1.0  # right on the labelled rows alone
    rows = np.arange(COUNT)
    candidates = {
        "stages": representations(None, 1),
        "mean": Representations.of(mixed, rows, rows),
    }
    subset = labelled(truth, "class", inside)
    assert best_representation(PROBES["linear"], subset, candidates)[0] == "mean"


def test_too_few_labels_take_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = truth_of("class")
    candidates = {"stages": representations(None, 1), "mean": representations(truth, 0)}
    name, fitted = best_representation(PROBES["linear"], labelled(truth, "class", 3), candidates)
    assert (name, fitted.choice["chosen"]) == ("stages", False)
    assert fitted.choice["representation"] == "stages"


def test_a_single_candidate_is_no_choice() -> None:
    truth = truth_of("class")
    fit = PROBES["linear"]
    name, fitted = best_representation(
        fit, labelled(truth, "class"), {"mean": representations(truth, 0)}
    )
    assert name == "mean"
    assert "representation" not in fitted.choice
