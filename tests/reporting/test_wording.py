"""Numbers and names are said as people read them."""

from __future__ import annotations

import math

import pytest

from selfsight.reporting import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1437, "1,437"),
        (21.74, "21.7"),
        (0.00812, "0.00812"),
        (0.5, "0.5"),
        (-0.25, "−0.25"),
        (123456.7, "123,457"),
        (3e-7, "3e−07"),
        (0, "0"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("accuracy", 0.8314, "83.1\xa0%"),
        ("accuracy", 1.0, "100.0\xa0%"),
        ("r2", -0.0314, "−0.031"),
        ("rmse", 12.34, "12.3"),
        ("mae", 1234567.0, "1,234,567"),
        ("accuracy", None, "–"),
    ],
)
def test_value(metric: str, value: float | None, text: str) -> None:
    assert wording.value_text(metric, value) == text


def test_differences_bear_their_sign() -> None:
    assert wording.difference_text("accuracy", 0.214) == "+21.4"
    assert wording.difference_text("accuracy", -0.004) == "−0.4"
    assert wording.interval_text("accuracy", -0.004, 0.01, signed=True) == "−0.4 to +1.0"
    assert wording.interval_text("accuracy", 0.802, 0.86) == "80.2–86.0"
    assert wording.interval_text("r2", -0.2, 0.1) == "−0.200 to 0.100"
    assert wording.interval_text("r2", None, 0.1) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(21.74, "21.7 s"), (725, "12 min 5 s"), (12000, "3 h 20 min"), (None, "–")],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert wording.duration(seconds) == text


def test_shares_of_labels() -> None:
    assert wording.labels_text(0.01, 15) == "1\xa0% (15 labels)"
    assert wording.share_text(1.0) == "all labels"
    assert wording.share_text(None) == "no labels"
    assert wording.fraction_text(0.005) == "0.5\xa0%"
