"""Which verdict counts: the primary one, Holm's for the others, none where test cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfsight.evaluation.resampling import Resampling
from selfsight.evaluation.results import Results
from selfsight.evaluation.summary import Scores, summarise
from selfsight.evaluation.verdicts import holm

PLACE = {"data": "d", "task": "class", "target": "t", "split": "test"}


def scores(probe: str, subject: str, right: list[int], resampling: Resampling) -> Scores:
    weights = resampling.weights
    value = weights @ np.array(right, float) / weights.sum(1)
    return Scores(probe, subject, 1.0, 40, of_draw=[{("accuracy", None): value}])


def test_holm_against_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.5, 0.9]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_never_lowers_and_keeps_the_order(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(a >= v for a, v in zip(adjusted, values, strict=True))
    assert all(0 <= a <= 1 for a in adjusted)
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_the_primary_verdict_is_not_adjusted_and_the_others_are() -> None:
    """The same difference, just significant by itself: primary better, the secondary ones not."""
    rng = np.random.default_rng(0)
    resampling = Resampling.of(np.arange(100))
    control = rng.random(100) < 0.5
    ours = control.copy()
    ours[np.flatnonzero(~control)[:9]] = True
    ours[np.flatnonzero(control)[:1]] = False
    found = []
    for probe in ("knn", "linear", "mlp"):
        found.append(scores(probe, "trained", ours.tolist(), resampling))
        found.append(scores(probe, "untrained", control.tolist(), resampling))
    results = Results("results.json")  # type: ignore[arg-type]
    summarise(results, PLACE, found, resampling)
    by_probe = {row["probe"]: row for row in results.differences}
    assert [by_probe[probe]["primary"] for probe in by_probe] == [False, True, False]
    ends = {(row["low"], row["high"]) for row in by_probe.values()}
    assert len(ends) == 1  # intervals stay raw
    low, _ = ends.pop()
    assert low > 0
    assert by_probe["linear"]["verdict"] == "better"
    assert by_probe["linear"]["p"] < 0.05
    for probe in ("knn", "mlp"):
        assert by_probe[probe]["p"] == pytest.approx(min(2 * by_probe["linear"]["p"], 1.0))
    expected = "better" if 2 * by_probe["linear"]["p"] < 0.05 else "no better than the control"
    assert by_probe["knn"]["verdict"] == by_probe["mlp"]["verdict"] == expected


def test_the_primary_control_is_the_start_where_there_is_one() -> None:
    resampling = Resampling.of(np.arange(40))
    right = ([1, 0] * 20, [1, 0, 0, 0] * 10, [0, 1, 0, 0] * 10)
    names = ("trained", "untrained", "start")
    found = [scores("linear", n, r, resampling) for n, r in zip(names, right, strict=True)]
    results = Results("results.json")  # type: ignore[arg-type]
    summarise(results, PLACE, found, resampling)
    assert {row["control"]: row["primary"] for row in results.differences} == {
        "untrained": False,
        "start": True,
    }


@pytest.mark.parametrize("groups", [1, 2])
def test_one_and_two_groups_give_no_interval_and_say_so(groups: int) -> None:
    resampling = Resampling.of(np.arange(40) % groups)
    rng = np.random.default_rng(1)
    found = [
        scores("linear", name, (rng.random(40) < share).astype(int).tolist(), resampling)
        for name, share in (("trained", 0.9), ("untrained", 0.3))
    ]
    results = Results("results.json")  # type: ignore[arg-type]
    summarise(results, PLACE, found, resampling)
    (difference,) = results.differences
    assert difference["verdict"] == "no verdict"
    assert difference["low"] is difference["high"] is None
    assert difference["reason"] == f"{groups} test group{'s' * (groups > 1)}"
    for row in results.values:
        assert row["low"] is None and row["reason"] == difference["reason"]


def test_initialisations_are_a_factor_of_their_own() -> None:
    """Five untrained networks that differ widen the interval of trained - untrained."""
    resampling = Resampling.of(np.arange(200))
    rng = np.random.default_rng(2)
    weights = resampling.weights

    def accuracy(share: float) -> np.ndarray:
        right = (np.arange(200) < 200 * share).astype(float)
        return weights @ rng.permutation(right) / weights.sum(1)

    trained = Scores("linear", "trained", 1.0, 9, [{("accuracy", None): accuracy(0.6)}])
    widths = []
    for shares in ([0.4] * 5, [0.2, 0.3, 0.4, 0.5, 0.6]):
        values = [{("accuracy", None): accuracy(share)} for share in shares]
        untrained = Scores("linear", "untrained", 1.0, 9, values, of_seeds=True)
        results = Results("results.json")  # type: ignore[arg-type]
        summarise(results, PLACE, [trained, untrained], resampling)
        (difference,) = results.differences
        assert difference["mean"] == pytest.approx(0.2)
        assert difference["draws"] == 1
        widths.append(difference["high"] - difference["low"])
    assert widths[1] > 1.5 * widths[0]
