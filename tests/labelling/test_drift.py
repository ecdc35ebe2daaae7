"""`audit A --against B`: words, JSON, CSV and page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.csv as pc
import pytest
from scipy.stats import binom

import selfsight
from selfsight.cli import main
from selfsight.data.imageset import ImageSet
from selfsight.files import read_json
from selfsight.labelling.audit import AuditedWithRun, AuditImages, audit_images
from selfsight.labelling.drift import drift
from selfsight.neighbours.encoder import Encoder


@pytest.fixture(scope="module")
def encoder(digits_run: Path) -> Encoder:
    return Encoder.load(digits_run, device="cpu")


def halves_of(digits: ImageSet, seed: int) -> tuple[ImageSet, ImageSet]:
    """The test and validation images, which no training saw, in random halves."""
    rows = np.random.default_rng(seed).permutation(digits.rows("test", "validation"))
    first, second = np.sort(rows[::2]), np.sort(rows[1::2])
    one = digits.take(first).changed(name="this year", targets={})
    other = digits.take(second).changed(name="last year", targets={})
    return one, other


@pytest.fixture(scope="module")
def halves(digits: ImageSet) -> tuple[ImageSet, ImageSet]:
    return halves_of(digits, 0)


def test_halves_of_one_set_drift_as_rarely_as_is_stated(
    digits: ImageSet, encoder: Encoder, tmp_path: Path
) -> None:
    called, novel = 0, []
    for seed in range(20):
        first, second = halves_of(digits, seed)
        result = drift(first, second, encoder, tmp_path, run="runs/digits", seed=seed)
        called += result.comparison.differ
        novel.append(result.record.novel / len(first))
        assert ("No drift is seen" in str(result)) == (not result.comparison.differ)
        assert result.record.seen == (0, 0) and "The training of" not in str(result)
    assert called <= binom.ppf(0.999, 20, 0.05)
    assert np.mean(novel) < 0.02
    record = read_json(tmp_path / "drift.json")
    assert (record["differ"], record["images"]) == (result.comparison.differ, len(first))
    table = pc.read_csv(tmp_path / "drift.csv").to_pydict()
    assert sorted(map(str, table["row_id"])) == sorted(first.row_ids.tolist())
    assert table["distance"] == sorted(table["distance"], reverse=True)
    assert sum(table["novel"]) == result.record.novel


@pytest.mark.parametrize("change", ["inverted", "noise", "brighter"])
def test_changed_images_drift(
    halves: tuple[ImageSet, ImageSet], encoder: Encoder, tmp_path: Path, change: str
) -> None:
    first, second = halves
    pixels = {
        "noise": np.random.default_rng(0).integers(0, 256, first.pixels.shape, dtype=np.uint8),
        "inverted": 255 - first.pixels,
        "brighter": (first.pixels // 2 + 127).astype(np.uint8),
    }[change]
    result = drift(first.changed(pixels=pixels), second, encoder, tmp_path, run="runs/digits")
    assert result.comparison.differ and result.comparison.low > 0.9
    assert "Drift: a classifier tells this year from last year" in str(result)


def test_some_new_images_among_the_usual_ones_come_first(
    halves: tuple[ImageSet, ImageSet], encoder: Encoder, tmp_path: Path
) -> None:
    first, second = halves
    pixels = first.pixels.copy()
    new = np.arange(0, len(first), 10)
    pixels[new] = 255 - pixels[new]
    result = drift(first.changed(pixels=pixels), second, encoder, tmp_path, run="runs/digits")
    listed = result.table["row_id"].to_pylist()[: len(new)]
    assert np.isin(listed, first.row_ids[new]).mean() > 0.6
    page = (tmp_path / "drift.html").read_text()
    assert page.count("data:image/png") == min(result.record.novel, 60) > 0
    assert listed[0] in page and "Audit of this year against last year" in page


def test_the_verb(digits: ImageSet, digits_run: Path, tmp_path: Path) -> None:
    wish = AuditImages(
        data="digits", run=str(digits_run), out=str(tmp_path), near=False, against="digits"
    )
    found = audit_images(wish.updated({"device": "cpu"}), digits)
    assert isinstance(found, AuditedWithRun) and found.drift is not None
    assert found.labels is not None and (tmp_path / "labels.html").is_file()
    assert not found.drift.comparison.differ  # from itself
    assert "The training of" in str(found)  # it saw these images


def test_without_labels_only_drift_is_looked_for(
    halves: tuple[ImageSet, ImageSet], digits_run: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "first.npy", halves[0].pixels)
    np.save(tmp_path / "second.npy", 255 - halves[1].pixels)
    words = [str(tmp_path / "first.npy"), "--against", str(tmp_path / "second.npy"), "--no-near"]
    words += ["--run", str(digits_run), "--out", str(tmp_path / "audit"), "--device", "cpu"]
    assert main(["audit", *words]) in (0, 1)
    assert {path.name for path in (tmp_path / "audit").glob("drift.*")} == {
        "drift.csv",
        "drift.html",
        "drift.json",
    }
    assert not (tmp_path / "audit" / "labels.csv").exists()


def test_mistakes_are_sentences(
    halves: tuple[ImageSet, ImageSet], encoder: Encoder, digits_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="give --run too"):
        selfsight.audit("digits", against="digits")
    few = halves[0].take(np.arange(5))
    with pytest.raises(ValueError, match=r"against: .* the first set has 5 independent images"):
        drift(few, halves[1], encoder, tmp_path, run="r")
    with pytest.raises(ValueError, match="nowhere"):
        selfsight.audit("digits", run=digits_run, against="nowhere", near=False, out=tmp_path)
