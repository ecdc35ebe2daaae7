"""What is written comes back, from every source."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from selfsight.data.request import open_images

from .brought import (
    PLAIN,
    WRITE,
    as_pngs,
    csv_text,
)


def in_tar(folder: Path, values: np.ndarray) -> Path:
    inner = as_pngs(folder, values)
    with tarfile.open(folder / "a.tar", "w") as file:
        for path in sorted(inner.iterdir()):
            file.add(path, path.name)
    return folder / "a.tar"


def in_bytes(folder: Path, values: np.ndarray) -> Path:
    inner = as_pngs(folder, values)
    content = [path.read_bytes() for path in sorted(inner.iterdir())]
    pq.write_table(pa.table({"image": content}), folder / "a.parquet")
    return folder / "a.parquet"


def in_manifest(folder: Path, values: np.ndarray) -> Path:
    inner = as_pngs(folder, values)
    rows = {"path": [f"set/{path.name}" for path in sorted(inner.iterdir())]}
    (folder / "a.csv").write_text(csv_text(rows))
    return folder / "a.csv"


ARRAYS = ("npy", "npz", "HDF5")
FILES = {
    "PNG": as_pngs, "PNG in a tar": in_tar, "PNG in Parquet": in_bytes,
    "PNG in a table": in_manifest, "TIFF": None, "TIFF in Parquet": None,
    "lists in Parquet": None,
}  # fmt: skip


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    container=st.sampled_from([*ARRAYS, *FILES]),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "int32", "float32"]),
    channels=st.sampled_from([1, 3, 5]),
    first=st.booleans(),
    data=st.data(),
)
def test_pixels_labels_and_splits_survive_every_container(
    tmp_path_factory: pytest.TempPathFactory,
    container: str,
    dtype: str,
    channels: int,
    first: bool,
    data: st.DataObject,
) -> None:
    """dtype x channels x layout x container: what is written comes back."""
    if "PNG" in container:
        assume(dtype in ("uint8", "uint16") and channels in (1, 3))
    folder = tmp_path_factory.mktemp("round")
    seed = data.draw(st.integers(0, 1000))
    low, high = (0.0, 1.0) if dtype == "float32" else (
        max(np.iinfo(dtype).min, -70_000), min(np.iinfo(dtype).max, 70_000))  # fmt: skip
    shape = (8, 16, 18, channels) if channels > 1 else (8, 16, 18)
    draws = np.random.default_rng(seed).uniform(low, high, shape)
    values = draws.astype(dtype)
    right = values if values.ndim == 4 else values[..., None]
    written = values.transpose(0, 3, 1, 2) if first and channels > 1 else values
    array = container in ARRAYS
    if not array:
        written = values
    labels = np.random.default_rng(seed).integers(0, 3, 8)
    splits = np.array(["train", "test"])[np.arange(8) // 4]
    options: dict[str, Any] = {}
    if container == "npz":
        path = folder / "a.npz"
        np.savez(path, images=written, label=labels, split=splits)
    elif container == "HDF5":
        path = folder / "a.h5"
        with h5py.File(path, "w") as file:
            file["images"], file["label"], file["split"] = written, labels, splits.astype("S")
    else:
        writer = FILES.get(container) or WRITE[container]
        path = writer(folder, written)
        ids = open_images(path, **PLAIN).row_ids
        rows = {"id": ids.tolist(), "label": labels.tolist(), "split": splits.tolist()}
        (folder / "labels.csv").write_text(csv_text(rows))
        options["labels"] = str(folder / "labels.csv")
    images = open_images(path, **PLAIN, **options)
    assert images.splits.tolist() == splits.tolist()
    target = images.targets["label"]
    assert [int(target.names[value]) for value in target.values] == labels.tolist()
    np.testing.assert_array_equal(images.pixels, right.astype(images.pixels.dtype))
    assert images.pixels.dtype in (np.uint16, dtype, np.float32)
