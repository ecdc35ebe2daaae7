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


class InMemory:
    """A map-style dataset of ``(image, label)``."""

    def __init__(self, values: np.ndarray, labels: np.ndarray) -> None:
        self.values, self.labels = values, labels

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.values[index], int(self.labels[index])


IDX_CODES = {"uint8": 8, "int16": 11, "int32": 12, "float32": 13}


def as_idx(path: Path, values: np.ndarray) -> None:
    code = IDX_CODES[values.dtype.name]
    header = bytes([0, 0, code, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    path.write_bytes(header + values.astype(values.dtype.newbyteorder(">")).tobytes())


@settings(
    max_examples=16, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(dtype=st.sampled_from([*IDX_CODES]), seed=st.integers(0, 1000))
def test_idx_files_come_back(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, seed: int
) -> None:
    folder, draws = tmp_path_factory.mktemp("idx"), np.random.default_rng(seed)
    high = 1.0 if dtype == "float32" else min(np.iinfo(dtype).max, 70_000)
    written = {}
    for split in ("train", "test"):
        values = draws.uniform(0, high, (4, 16, 18)).astype(dtype)
        labels = draws.permutation(4).astype(np.uint8)
        as_idx(folder / f"{split}-images-idx3-ubyte", values)
        as_idx(folder / f"{split}-labels-idx1-ubyte", labels)
        written[split] = values, labels
    images = open_images(folder, **PLAIN)
    target = images.targets["label"]
    for split, (values, labels) in written.items():
        rows = images.rows(split)
        right = values[..., None].astype(images.pixels.dtype)
        np.testing.assert_array_equal(images.pixels[rows], right)
        assert [int(target.names[value]) for value in target.values[rows]] == labels.tolist()


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(channels=st.sampled_from([1, 3]), seed=st.integers(0, 1000))
def test_a_saved_hugging_face_set_comes_back(
    tmp_path_factory: pytest.TempPathFactory, channels: int, seed: int
) -> None:
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    folder, draws = tmp_path_factory.mktemp("saved"), np.random.default_rng(seed)
    shape = (4, 16, 18, channels) if channels > 1 else (4, 16, 18)
    written, sides = {}, {}
    for split in ("train", "test"):
        values = draws.integers(0, 256, shape, dtype=np.uint8)
        labels = draws.permutation(4).tolist()
        pictures = [Image.fromarray(value) for value in values]
        rows = {"image": pictures, "label": labels}
        sides[split] = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
        written[split] = values, labels
    datasets.DatasetDict(sides).save_to_disk(str(folder / "saved"))
    images = open_images(folder / "saved", **PLAIN)
    target = images.targets["label"]
    for split, (values, labels) in written.items():
        rows = images.rows(split)
        right = values if values.ndim == 4 else values[..., None]
        np.testing.assert_array_equal(images.pixels[rows], right)
        assert [int(target.names[value]) for value in target.values[rows]] == labels


@settings(max_examples=30, deadline=None)
@given(
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    channels=st.sampled_from([1, 3, 5]),
    kind=st.sampled_from(["array", "list", "dataset", "tensor"]),
    seed=st.integers(0, 1000),
)
def test_images_in_memory_come_back(dtype: str, channels: int, kind: str, seed: int) -> None:
    draws = np.random.default_rng(seed)
    high = 1.0 if dtype == "float32" else min(np.iinfo(dtype).max, 70_000)
    values = draws.uniform(0, high, (8, 16, 18, channels)).astype(dtype)
    labels = draws.integers(0, 3, 8)
    if kind == "tensor":
        import torch

        assume(dtype != "uint16")
        source: Any = torch.from_numpy(values)
    else:
        source = {"array": values, "list": list(values), "dataset": InMemory(values, labels)}[kind]
    images = open_images(source, **PLAIN)
    np.testing.assert_array_equal(images.pixels, values.astype(images.pixels.dtype))
    if kind == "dataset":
        target = images.targets["label"]
        assert [int(target.names[value]) for value in target.values] == labels.tolist()
