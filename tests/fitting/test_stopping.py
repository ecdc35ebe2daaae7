"""The early-stopping rule."""

from __future__ import annotations

import json
import math

import pytest

from selfsight.fitting.stopping import Mode, Stopping, StoppingRule


def stops_at(values: list[float], **options: object) -> int | None:
    rule = StoppingRule(**options)  # type: ignore[arg-type]
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
    rule = StoppingRule(patience=2)
    assert not rule.step(bad)
    assert rule.best is None
    assert rule.best_at == 0
    assert rule.step(bad)


def test_the_best_value_is_kept_even_where_it_did_not_count() -> None:
    rule = StoppingRule(patience=5, min_improvement=1.0)
    rule.steps([1.0, 1.5, 1.2])
    assert (rule.best, rule.best_at, rule.waited) == (1.5, 2, 2)
    assert not rule.is_best
    rule.step(2.5)
    assert rule.is_best
    assert rule.waited == 0


@pytest.mark.parametrize("mode", ["highest", "lowest"])
@pytest.mark.parametrize("cut", range(1, 9))
def test_restored_it_goes_on_as_if_never_left(mode: Mode, cut: int) -> None:
    values = [0.5, 0.7, 0.6, 0.9, 0.2, 0.9, 0.8, 0.1, 0.85, 0.3]
    options = Stopping(patience=4, min_improvement=0.05)
    whole, first, second = (options.rule(mode) for _ in range(3))
    expected = [whole.step(value) for value in values]
    found = [first.step(value) for value in values[:cut]]
    second.restore(json.loads(json.dumps(first.state())))
    found += [second.step(value) for value in values[cut:]]
    assert found == expected
    assert second.state() == whole.state()


def test_mistakes_are_one_sentence() -> None:
    with pytest.raises(ValueError, match="patience: must be at least 1"):
        StoppingRule(patience=0)
    with pytest.raises(ValueError, match="min_improvement: must not be negative"):
        StoppingRule(patience=1, min_improvement=-0.1)
