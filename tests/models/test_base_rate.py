"""The base rate of each kind of target, and the warning of a model that does not beat it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from selfsight.data.imageset import Target
from selfsight.models.base_rate import base_rate, no_better

ROWS = np.arange(1000)


def test_of_a_class() -> None:
    values = np.array([0] * 700 + [1] * 200 + [-1] * 100)
    base = base_rate(Target("t", "class", values, ("a", "b")), ROWS)
    assert base is not None and base[0] == pytest.approx(7 / 9)
    assert no_better("class", 0.78, base) and not no_better("class", 0.85, base)


def test_of_labels_it_is_the_map_of_random_scores() -> None:
    draw = np.random.default_rng(0)
    values = (draw.random((1000, 3)) < [0.1, 0.3, 0.0]).astype(np.float32)
    base = base_rate(Target("t", "labels", values, ("a", "b", "c")), ROWS)
    assert base is not None
    scores = draw.random((1000, 2))
    found = np.mean([average_precision_score(values[:, k], scores[:, k]) for k in (0, 1)])
    assert abs(found - base[0]) < 4 * base[1]
    warning = no_better("labels", 0.2, base)
    assert warning.startswith("Warning") and "mAP 0.2" in warning and "random scores" in warning
    assert not no_better("labels", 0.5, base)


def test_of_numbers_and_of_nothing() -> None:
    values = np.full((1000, 1), np.nan, np.float32)
    assert base_rate(Target("t", "number", values, ("x",)), ROWS) is None
    values[:10] = 1.0
    base = base_rate(Target("t", "number", values, ("x",)), ROWS)
    assert base == (0.0, 0.0)
    assert no_better("number", -0.2, base) and not no_better("number", 0.3, base)


def test_a_head_on_noise_is_warned_of(
    make_run: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import selfsight
    from selfsight.data.imageset import ImageSet

    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 255, (300, 8, 8, 1), np.uint8)
    noise = Target("t", "class", draw.integers(0, 3, 300), ("a", "b", "c"))
    splits = np.array(["train"] * 150 + ["validation"] * 150)
    ids = np.array([f"i{i}" for i in range(300)])
    images = ImageSet("noise", pixels, ids, splits, {"t": noise})
    run = make_run(images)  # type: ignore[operator]
    selfsight.finetune(run, images, out=tmp_path / "model", head_only="linear")
    assert "no better than its base rate" in capsys.readouterr().err
