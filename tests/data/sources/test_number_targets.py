"""Numbers that float32 cannot hold are no targets, and say so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from selfsight.data.imageset import Target
from selfsight.data.notes import doubts
from selfsight.data.request import open_images
from selfsight.data.sources.steps.number_targets import known_texts
from selfsight.data.sources.steps.targets import as_target, targets_of

Z = np.random.default_rng(0).normal(size=200)


@pytest.mark.parametrize(
    "values",
    [1e9 + 60 * Z, 5.3e6 + 2 * Z, 1.7e9 + 3600 * np.abs(Z), 1e-60 * Z, 1e12 + 50 * Z],
)
def test_numbers_that_differ_too_little_are_doubted(values: np.ndarray) -> None:  # type: ignore[type-arg]
    """Rounded to float32 they gave chance an R2 of -2.2, and every probe a false `better`."""
    targets, notes = targets_of({"z": pa.array(values)}, {})
    assert not targets
    (note,) = doubts(notes)
    assert note.startswith("z is no target: its values differ too little for their size (mean ")
    assert "subtract a constant" in note
    for column in (pa.array(values), pa.array([[v, 1.0] for v in values.tolist()])):
        with pytest.raises(ValueError, match=r"^target 'z': its values.* differ too little"):
            targets_of({"z": column}, {}, "z")
    both = {"z": pa.array(values), "y": pa.array(Z)}
    with pytest.raises(ValueError, match=r"^target 'y,z': its values of z differ too little"):
        targets_of(both, {}, "y,z")


@pytest.mark.parametrize(
    "values",
    [Z, 125.1e9 + 1e9 * Z, 1e9 * Z, 1.7e9 + 86400 * 30 * Z, 1e-30 * Z, np.full(200, 0.1), 172 + Z],
)
def test_other_numbers_are_kept(values: np.ndarray) -> None:  # type: ignore[type-arg]
    found, _ = as_target("z", pa.array(values), asked=True, kind="number")
    assert isinstance(found, Target)
    np.testing.assert_allclose(found.values[:, 0], values, rtol=1e-6)


def test_numbers_that_are_too_large_are_named() -> None:
    targets, notes = targets_of({"z": pa.array(Z * 1e300)}, {})
    assert not targets and "and float32 holds 3.4e+38; divide them" in doubts(notes)[0]
    infinite = pa.array(np.where(np.arange(200) == 3, np.inf, Z))
    vector = pa.array([[v, 0.5] for v in infinite.to_pylist()])
    for column in (infinite, vector):
        found, _ = as_target("z", column, kind="number")
        assert isinstance(found, Target) and np.isnan(found.values[3, 0])
        assert np.isfinite(found.values[4]).all()


def test_classes_that_differ_in_a_late_digit_are_not_one() -> None:
    values = np.array([-1000001.0, -1000002.0, np.nan, -1000001.0])
    assert known_texts(values) == ["-1000001.0", "-1000002.0", None, "-1000001.0"]
    assert known_texts(np.array([0.5, 2.0])) == ["0.5", "2"]
    found, _ = as_target("code", pa.array([-1000001, -1000002] * 9), kind="class")
    assert isinstance(found, Target) and len(found.names) == 2


def test_the_door_says_it(tmp_path: Path) -> None:
    x = np.random.default_rng(1).integers(0, 255, (200, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=x, mass=1e9 + 60 * Z)
    images = open_images(tmp_path / "a.npz")
    assert not images.targets and "float32" in doubts(images.notes)[0]
    with pytest.raises(ValueError, match="target 'mass': its values differ too little"):
        open_images(tmp_path / "a.npz", target="mass")
