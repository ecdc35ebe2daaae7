"""The recipe for a Ray cluster, on a local one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from selfsight.cli import main
from selfsight.data.imageset import ImageSet

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "embed_on_ray.py"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
]


def on_ray(run: Path, images: Path, out: Path) -> subprocess.CompletedProcess[str]:
    words = [str(RECIPE), str(run), str(images), "--out", str(out), "--parts", "5"]
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=280)


@pytest.fixture
def images(digits: ImageSet, tmp_path: Path) -> Path:
    """Forty images in files."""
    (tmp_path / "images").mkdir()
    for row in range(40):
        Image.fromarray(digits.pixels[row, :, :, 0]).save(tmp_path / "images" / f"{row:02}.png")
    return tmp_path / "images"


def test_rows_and_values_are_those_of_embed(digits_run: Path, images: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "r.parquet"
    assert main(["embed", str(digits_run), str(images), "--out", str(whole)]) == 0
    done = on_ray(digits_run, images, out)
    assert done.returncode == 0, done.stderr
    assert "40 rows in 5 parts." in done.stderr
    one, two = pq.read_table(whole), pq.read_table(out)
    assert one.schema == two.schema
    assert one["row_id"].to_pylist() == two["row_id"].to_pylist()
    values = [np.stack(table["representation"].to_numpy()) for table in (one, two)]
    np.testing.assert_allclose(values[1], values[0], rtol=1e-5, atol=1e-6)

    # A part that is lost and one that is damaged are made again, and no other.
    parts = sorted((tmp_path / "r.parquet.parts").glob("*.npz"))
    parts[1].unlink()
    parts[3].write_bytes(parts[3].read_bytes()[:99])
    before = {part: part.stat().st_mtime_ns for part in parts if part.is_file()}
    done = on_ray(digits_run, images, out)
    assert done.returncode == 0, done.stderr
    again = {part for part in parts if part.stat().st_mtime_ns != before.get(part)}
    assert again == {parts[1], parts[3]}
    assert pq.read_table(out) == two


def test_a_part_that_fails_ends_with_the_sentence_of_embed(images: Path, tmp_path: Path) -> None:
    done = on_ray(tmp_path / "nothing", images, tmp_path / "r.parquet")
    assert done.returncode != 0
    assert "nothing" in done.stderr and "ValueError" in done.stderr
    assert not (tmp_path / "r.parquet").exists()
