"""Features on images with blur, noise, JPEG and less light."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selfsight.data.imageset import ImageSet
from selfsight.data.statistics import Statistics
from selfsight.evaluation.corruptions import STRENGTHS, corrupt, kinds_for
from selfsight.evaluation.protocol import evaluate
from selfsight.evaluation.results import Results
from selfsight.evaluation.settings import Evaluate
from selfsight.reporting.report import write_report

MakeRun = Callable[..., Path]


def images(dtype: str, channels: int, side: int = 24) -> np.ndarray:
    values = np.random.default_rng(0).random((3, side, side, channels))
    scale = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    return (values * scale).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("kind", STRENGTHS)
def test_each_is_stronger_than_the_last(kind: str, dtype: str) -> None:
    if kind == "jpeg" and dtype != "uint8":
        return
    plain = images(dtype, 3)
    statistics = Statistics((0.5,) * 3, (0.3,) * 3)
    apart = []
    for strength in (1, 2, 3):
        made = corrupt(plain, kind, strength, statistics)
        assert made.dtype == plain.dtype and made.shape == plain.shape
        apart.append(np.abs(made.astype(np.float64) - plain.astype(np.float64)).mean())
    assert 0 < apart[0] < apart[1] < apart[2]
    again = corrupt(plain, kind, 3, statistics)
    assert np.array_equal(again, made)


@pytest.mark.parametrize("shape", [(8, 8, 1), (5, 31, 2), (2, 2, 1)])
def test_small_and_narrow_images(shape: tuple[int, int, int]) -> None:
    plain = np.random.default_rng(1).integers(0, 255, (2, *shape)).astype(np.uint8)
    statistics = Statistics((0.5,) * shape[2], (0.3,) * shape[2])
    for kind in kinds_for(ImageSet("x", plain, np.array(["a", "b"]), np.array(["train"] * 2))):
        assert corrupt(plain, kind, 3, statistics).shape == plain.shape


def test_noise_does_not_depend_on_the_batch() -> None:
    plain, statistics = images("uint8", 1), Statistics((0.5,), (0.3,))
    whole = corrupt(plain, "noise", 2, statistics)
    assert np.array_equal(whole[1:], corrupt(plain[1:], "noise", 2, statistics, 1))
    assert not np.array_equal(whole[0], whole[1])


def test_where_probes_choose_the_corrupted_images_are_those_of_the_mean(
    digits: ImageSet, make_run: MakeRun
) -> None:
    """The probe on corruptions is that of the mean, however wide the stages are."""
    wish = Evaluate(
        run=str(make_run(digits)), fractions=(1.0,), probes=("linear",), controls=(),
        clusters=False, corruptions=True,
    )  # fmt: skip
    mean, chosen = (
        evaluate(wish.updated({"representation": kind}), digits).corruptions
        for kind in ("mean", "auto")
    )
    assert [row["mean"] for row in chosen] == pytest.approx([row["mean"] for row in mean], abs=0.02)


def test_the_table_and_the_chart(
    digits: ImageSet, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfsight.reporting.page.plotly_source", lambda: "/* left out */")
    run = make_run(digits)
    wish = Evaluate(
        run=str(run), fractions=(1.0,), probes=("linear",), clusters=False, corruptions=True
    )
    results = evaluate(wish, digits)
    rows = results.corruptions
    assert {row["subject"] for row in rows} == {"trained", "untrained"}
    assert len(rows) == 2 * (1 + 3 * len(STRENGTHS))
    clean = next(row for row in rows if row["subject"] == "trained" and not row["strength"])
    plain = next(
        v
        for v in results.values
        if (v["subject"], v["probe"], v["metric"]) == ("trained", "linear", "accuracy")
    )
    assert clean["mean"] == plain["mean"]
    worst = next(r for r in rows if (r["corruption"], r["strength"]) == ("noise", 3))
    assert worst["mean"] < clean["mean"]
    readings = [r["corruption"] for r in results.test_readings if r.get("corruption")]
    assert len(readings) == len(rows) and "noise 3" in readings
    assert "corrupted test images, linear probe" in results.table()
    page = write_report([run]).read_text()
    assert "On images with a corruption" in page and "quality 10" in page
    kept = json.loads(results.path.read_text())
    assert len(kept["corruptions"]) == len(rows)
    evaluate(wish.updated({"corruptions": False}), digits)  # which erases none of them
    assert len(Results.read(results.path).corruptions) == len(rows)
