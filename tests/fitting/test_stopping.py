"""The early-stopping rule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from selfsight.fitting.stopping import Looks, Mode, Stopping
from selfsight.settings import sentence


def stops_at(values: list[float], mode: Mode = "highest", **options: Any) -> int | None:
    rule = Stopping(**options).rule(mode)
    return next((at for at, value in enumerate(values, 1) if rule.step(value)), None)


def test_stops_after_patience_values_without_improvement() -> None:
    assert stops_at([1.0, 2.0, 2.0, 1.5, 1.9], patience=3) == 5
    assert stops_at([1.0, 2.0, 2.0, 1.5, 2.1, 2.0], patience=3) is None
    assert stops_at([3.0, 2.0, 2.0, 2.5], patience=2, mode="lowest") == 4


def test_small_steps_add_up_to_an_improvement() -> None:
    creeping = [0.004 * step for step in range(10)]
    assert stops_at(creeping, patience=3, min_improvement=0.01) is None
    assert stops_at(creeping, patience=2, min_improvement=0.01) == 3


def test_without_patience_it_never_stops() -> None:
    assert stops_at([1.0] * 500, patience=None) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_improves(bad: float) -> None:
    rule = Stopping(patience=2).rule("highest")
    assert not rule.step(bad)
    assert rule.step(bad)


def seen(looks: Looks, values: list[float], losses: list[float]) -> bool:
    output = np.zeros((1, 1), np.float32)
    return any(
        looks.see(value, loss, output + at, lambda at=at: at)
        for at, (value, loss) in enumerate(zip(values, losses, strict=True), 1)
    )


def test_the_best_look_is_kept_and_equal_values_are_told_apart_by_the_loss() -> None:
    looks = Looks("accuracy")
    assert not seen(looks, [0.5, 0.8, 0.8, 0.8, 0.7], [1.0, 0.9, 0.4, 0.6, 0.1])
    assert (looks.best, looks.value, looks.loss, looks.state) == (3, 0.8, 0.4, 3)
    assert looks.output is not None and looks.output[0, 0] == 3
    assert looks.curve == [0.5, 0.8, 0.8, 0.8, 0.7]


def test_a_training_may_be_watched_by_its_loss() -> None:
    looks = Looks("accuracy", Stopping(patience=2), "loss")
    assert seen(looks, [0.5, 0.6, 0.9, 0.95], [1.0, 0.5, 0.6, 0.7])
    assert looks.stopped
    assert (looks.best, looks.value) == (2, 0.6)


def test_what_was_seen_is_reported_with_the_best_value_so_far() -> None:
    reported: list[tuple[int, float]] = []
    looks = Looks("loss", Stopping(), report=lambda number, best: reported.append((number, best)))
    seen(looks, [3.0, math.nan, 2.0, 2.5], [0.0] * 4)
    assert reported == [(1, 3.0), (2, 3.0), (3, 2.0), (4, 2.0)]
    none = Looks("accuracy", Stopping())
    seen(none, [math.nan] * 3, [1.0, 0.5, 0.2])
    assert none.best == 0 and math.isnan(none.value) and none.state is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"patience": 0}, "patience: must be at least 1 (got 0)"),
        ({"min_improvement": -0.1}, "min_improvement: must be at least 0.0 (got -0.1)"),
    ],
)
def test_mistakes_are_one_sentence(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        Stopping(**wrong)
    assert sentence(error.value) == said
