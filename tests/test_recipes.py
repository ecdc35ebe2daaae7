"""Recipes that need an engine of their own, on a small set."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import selfsight
from selfsight.data.imageset import ImageSet

RECIPES = Path(__file__).parents[1] / "recipes"


@pytest.mark.slow
def test_embed_on_ray(digits_run: Path, digits: ImageSet, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed")
    pytest.importorskip("ray.data")
    sys.path.insert(0, str(RECIPES))
    try:
        from embed_on_ray import embed_on_ray
    finally:
        sys.path.pop(0)
    np.savez(tmp_path / "images.npz", images=digits.pixels[:300])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        path = embed_on_ray(
            str(digits_run),
            str(tmp_path / "images.npz"),
            str(tmp_path / "out.npz"),
            parts=4,
            workers=2,
            device="cpu",
        )
    finally:
        ray.shutdown()
    expected = selfsight.embed(digits_run, tmp_path / "images.npz", device="cpu")
    with np.load(path) as arrays:
        assert (arrays["row_ids"] == expected.row_ids).all()
        np.testing.assert_allclose(
            arrays["representations"], expected.representations, rtol=1e-4, atol=1e-5
        )
