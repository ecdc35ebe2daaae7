"""Numbers, shares and titles as people read them."""

from __future__ import annotations

import math

import pytest

from selfsight.reporting import words


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
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(21.74, "21.7 s"), (725, "12 min 5 s"), (12000, "3 h 20 min"), (None, "–")],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


def test_shares_of_labels() -> None:
    assert words.labels_text(0.01, 15) == "1\xa0% of the labels (15)"
    assert words.labels_text(1.0, 1437) == "all 1,437 labels"
    assert words.labels_text(1.0, None) == "all labels"
    assert words.labels_text(None, 0) == "no labels"
    assert words.share_text(1.0) == "all labels"
    assert words.share_text(None) == "no labels"
    assert words.fraction_text(0.005) == "0.5\xa0%"


def test_a_title_keeps_its_own_capitals() -> None:
    assert words.capital("linear probe") == "Linear probe"
    assert words.capital("kNN") == "kNN"
    assert words.capital("mAP@R") == "mAP@R"
    assert words.with_article("accuracy") == "an accuracy"
    assert words.with_article("macro F1") == "a macro F1"


def test_lists() -> None:
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"], "or") == "a, b or c"
