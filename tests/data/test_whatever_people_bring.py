"""What people bring: inputs of every kind in several containers, and the right value of each.

Each row is an input, the containers that it is written into, options, and what must be read. The
numbers are those of the kinds: 1 one-hot rows, 4 and 5 names of splits, 7 and 8 types of values, 11
shards, 13 signs, 14 several labels in a cell, 15 classes and numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsight.data.notes import doubts
from selfsight.data.request import open_images

from .brought import (
    HOT,
    MAKE,
    NAN,
    PIXELS,
    PLAIN,
    PUT,
    WRITE,
    each,
    ramp,
    same,
)


def in_parts(container: str, names: Sequence[str], folder: Path) -> Path:
    """Files or folders with these names, three images in each."""
    return MAKE[container](folder / "data", names)


def in_values(container: str, values: np.ndarray, folder: Path) -> Path:
    """Images of these values."""
    whole = values.astype(np.int64) if container == "lists in Parquet" else values
    return WRITE[container](folder, whole)


# Columns: input, containers, options, the right kind, names and values.
FOUR = np.eye(4).tolist()
CHEX = [1.0, 0.0, -1.0, NAN]
COLUMNS: list[tuple[str, dict[str, list[Any]], list[str], dict[str, Any], str, Any, Any]] = [
    ("1: one-hot integers", {"y": each(HOT)}, ["npz", "hdf5", "jsonl", "parquet", "tar"], {},
     "class", ("0", "1"), each([0, 1])),
    ("1: one-hot floats of width 4", {"y": each(FOUR)}, ["npz", "hdf5", "parquet"], {},
     "class", ("0", "1", "2", "3"), each([0, 1, 2, 3])),
    ("1: one-hot of a plural name", {"defects": each(HOT)}, ["npz", "jsonl"], {},
     "labels", ("defects 0", "defects 1"), each(HOT)),
    ("1: one-hot said to be labels", {"y": each(HOT)}, ["npz", "parquet"], {"kinds": ("y:labels",)},
     "labels", ("y 0", "y 1"), each(HOT)),
    ("1: rows of 0 and 1 with two 1", {"y": each([[1, 1, 0], [0, 1, 0]])}, ["npz", "jsonl"], {},
     "labels", ("y 0", "y 1", "y 2"), each([[1, 1, 0], [0, 1, 0]])),
    ("13: CheXpert's 1, 0, -1 and blank", {"edema": each(CHEX)}, ["csv", "parquet", "npz"], {},
     "class", ("0", "1"), each([1, 0, -1, -1])),
    ("13: CheXpert, uncertain is yes", {"edema": each(CHEX)}, ["csv", "parquet"],
     {"uncertain": "yes"}, "class", ("0", "1"), each([1, 0, 1, -1])),
    ("13: CheXpert, uncertain is no", {"edema": each(CHEX)}, ["folder", "hdf5"],
     {"uncertain": "no"}, "class", ("0", "1"), each([1, 0, 0, -1])),
    ("13: CelebA's -1 and 1", {"smiling": each([-1, 1, 1])}, ["csv", "npz", "tar"], {},
     "class", ("no", "yes"), each([0, 1, 1])),
    ("13: CelebA as rows", {"attributes": each([[-1, 1], [1, 1], [-1, -1]])}, ["npz", "parquet"],
     {}, "labels", ("attributes 0", "attributes 1"), each([[0, 1], [1, 1], [0, 0]])),
    ("13: -1 beside 0 to K", {"grade": each([0, 1, 2, -1])}, ["csv", "hdf5"], {},
     "class", ("0", "1", "2"), each([0, 1, 2, -1])),
    ("14: labels with |", {"defect": each(["crack|edge", "crack", "edge"])}, ["csv", "parquet"], {},
     "labels", ("crack", "edge"), each([[1, 1], [1, 0], [0, 1]])),
    ("14: labels with ;", {"defect": each(["crack;edge", "crack", "edge"])}, ["csv", "jsonl"], {},
     "labels", ("crack", "edge"), each([[1, 1], [1, 0], [0, 1]])),
    ("14: labels with a comma", {"defect": each(["crack, edge", "crack", "edge"])},
     ["folder", "parquet"], {}, "labels", ("crack", "edge"), each([[1, 1], [1, 0], [0, 1]])),
    ("14: a comma in a name", {"place": each(["Paris, France", "Rome, Italy"])},
     ["csv", "parquet"], {}, "class", ("Paris, France", "Rome, Italy"), each([0, 1])),
    ("14: a space is no separator", {"kind": each(["red fox", "fox", "red"])}, ["csv", "tar"], {},
     "class", ("fox", "red", "red fox"), each([2, 0, 1])),
    ("14: empty is unknown", {"defect": each(["crack|edge", "crack", "edge", None])},
     ["csv", "parquet"], {}, "labels", ("crack", "edge"),
     each([[1, 1], [1, 0], [0, 1], [NAN, NAN]])),
    ("14: empty is none of them", {"defect": each(["crack|edge", "crack", "edge", None])},
     ["csv", "parquet"], {"empty": "none"}, "labels", ("crack", "edge"),
     each([[1, 1], [1, 0], [0, 1], [0, 0]])),
    ("14: no separator", {"defect": each(["a|b", "a"])}, ["csv", "jsonl"], {"separator": "none"},
     "class", ("a", "a|b"), each([1, 0])),
    ("15: grades as floats", {"grade": each([0.0, 1.0, 2.0, NAN])}, ["csv", "npz", "parquet"], {},
     "class", ("0", "1", "2"), each([0, 1, 2, -1])),
    ("15: species above 100", {"species_id": each([101, 250, 999])}, ["csv", "hdf5"], {},
     "class", ("101", "250", "999"), each([0, 1, 2])),
    ("15: a position", {"pos_y": each([3, 17, 40, 58])}, ["csv", "parquet"], {},
     "number", ("pos_y",), [[v] for v in each([3, 17, 40, 58])]),
    ("15: an integer said to be a number", {"grade": each([0, 1, 2])}, ["csv", "npz"],
     {"kinds": ("grade:number",)}, "number", ("grade",), [[v] for v in each([0, 1, 2])]),
    ("15: text nan", {"kind": each(["a", "nan", "b"])}, ["csv", "parquet", "tar"], {},
     "class", ("a", "b"), each([0, -1, 1])),
    ("15: blanks around text", {"kind": each(["cat", "cat ", "dog"])}, ["csv", "parquet", "npz"],
     {}, "class", ("cat", "dog"), each([0, 0, 1])),
    ("14: lists", {"tags": each([["a", "b"], ["a"], []])}, ["jsonl", "parquet", "tar"], {},
     "labels", ("a", "b"), each([[1, 1], [1, 0], [0, 0]])),
    ("14: lists as text", {"tags": each(["['a', 'b']", "['a']", "['b']"])}, ["csv", "parquet"], {},
     "labels", ("a", "b"), each([[1, 1], [1, 0], [0, 1]])),
    ("15: truth values", {"broken": each([True, False])}, ["jsonl", "parquet"], {},
     "class", ("false", "true"), each([1, 0])),
    ("15: people", {"who": each(["ann", "bob", "cy"])}, ["csv", "parquet"],
     {"kinds": ("who:identity",)}, "identity", ("ann", "bob", "cy"), each([0, 1, 2])),
    ("15: a measurement", {"mass": each([0.25, 1.5, NAN])}, ["csv", "npz", "hdf5"], {},
     "number", ("mass",), [[v] for v in each([0.25, 1.5, NAN])]),
]  # fmt: skip
COLUMN_CASES = [
    pytest.param(
        partial(PUT[container], columns=columns),
        options,
        {"target": (next(iter(columns)), *target), "pixels": PIXELS, "dtype": np.uint8},
        id=f"{name} in {container}",
    )
    for name, columns, containers, options, *target in COLUMNS
    for container in containers
]

# Splits by names: folders and files, options, the right counts and classes; or a sentence.
SPLIT_CASES: list[Any] = [
    pytest.param(partial(in_parts, container, names), options, right,
                 id=f"4, 5, 11: {'+'.join(names)} as {container}")
    for names, containers, options, right in [
        (["train", "test1"], ["folders", "shards", "parquet"], {},
         {"splits": {"train": 3, "test": 3}}),
        (["training_set/cats", "training_set/dogs", "test_set/cats", "test_set/dogs"],
         ["folders"], {}, {"splits": {"train": 6, "test": 6}, "classes": ("cats", "dogs")}),
        (["seg_train", "seg_test"], ["folders", "shards", "parquet"], {},
         {"splits": {"train": 3, "test": 3}}),
        (["train_images", "test_images"], ["folders", "parquet"], {},
         {"splits": {"train": 3, "test": 3}}),
        (["train", "holdout"], ["folders", "shards", "parquet"], {},
         {"splits": {"train": 3, "test": 3}}),
        (["images/train", "images/val"], ["folders"], {},
         {"splits": {"train": 3, "validation": 3}}),
        (["beach", "forest", "pool"], ["folders"], {},
         {"splits": {"train": 9}, "classes": ("beach", "forest", "pool")}),
        (["test_tube", "bottle"], ["folders"], {}, {"classes": ("bottle", "test_tube")}),
        (["cat", "dog", "test"], ["folders"], {},
         {"splits": {"train": 9}, "classes": ("cat", "dog", "test")}),
        (["train", "test", "cats"], ["folders"], {}, {"refused": "--split-column FOLDER"}),
        (["train", "test", "cats"], ["folders"], {"split_column": "none"},
         {"splits": {"train": 9}, "classes": ("cats", "test", "train")}),
        (["train", "test", "extra"], ["folders"], {"split_column": "FOLDER"},
         {"splits": {"train": 3, "test": 3}}),
        (["train-00000-of-00002", "train-00001-of-00002", "test_ood-00000-of-00001"],
         ["parquet", "shards"], {}, {"splits": {"train": 6}, "doubt": "test_ood"}),
        (["train-00000-of-00003"], ["parquet", "shards"], {},
         {"splits": {"train": 3}, "doubt": "missing"}),
        (["train", "unlabeled"], ["folders"], {}, {"splits": {"train": 3, "unlabelled": 3}}),
    ]
    for container in containers
]  # fmt: skip

# Pixels: values, the type that they come back in, containers.
PIXEL_CASES = [
    pytest.param(partial(in_values, container, values), {},
                 {"pixels": values, "dtype": np.dtype(dtype)}, id=f"{name} in {container}")
    for name, values, dtype, containers in [
        ("7: int16 below 0", ramp(-971, 3000, "int16"), "float32",
         ["TIFF", "TIFF in Parquet", "npy"]),
        ("7: int32 above 65535", ramp(0, 200_000, "int32"), "float32",
         ["TIFF", "TIFF in Parquet", "npy", "HDF5"]),
        ("7: int8", ramp(-128, 127, "int8"), "float32", ["TIFF", "npy"]),
        ("7: float64", ramp(0, 1, "float64"), "float32", ["npy", "HDF5", "TIFF"]),
        ("7: float16", ramp(0, 1, "float16"), "float32", ["npy", "HDF5"]),
        ("8: 16-bit RGB of 12 bits", ramp(0, 4095, "uint16", 3), "uint16",
         ["PNG", "PNG in Parquet", "TIFF", "npy"]),
        ("8: 16-bit grey", ramp(0, 65535, "uint16"), "uint16", ["PNG", "PNG in Parquet", "HDF5"]),
        ("7: five channels", ramp(0, 255, "uint8", 5), "uint8", ["npy", "HDF5", "TIFF"]),
        ("7: big-endian", ramp(0, 65535, ">u2"), "uint16", ["npy", "HDF5"]),
        ("7: grey bytes", ramp(0, 255, "uint8"), "uint8",
         ["npy", "HDF5", "TIFF", "lists in Parquet"]),
    ]
    for container in containers
]  # fmt: skip

BROUGHT = [*COLUMN_CASES, *SPLIT_CASES, *PIXEL_CASES]


def test_there_are_many_inputs() -> None:
    assert len(BROUGHT) >= 100


@pytest.mark.parametrize(("make", "options", "right"), BROUGHT)
def test_what_people_bring(
    tmp_path: Path,
    make: Callable[[Path], Path],
    options: dict[str, Any],
    right: dict[str, Any],
) -> None:
    """Pixels, type, target, classes, splits and doubts are the right ones; or it is refused."""
    path = make(tmp_path)
    if "refused" in right:
        with pytest.raises(ValueError, match=right["refused"]):
            open_images(path, **PLAIN, **options)
        return
    images = open_images(path, **PLAIN, **options)
    if "target" in right:
        name, kind, names, values = right["target"]
        target = images.targets[name]
        assert (target.kind, target.names) == (kind, names)
        same(target.values, values)
    if "pixels" in right:
        pixels = right["pixels"] if right["pixels"].ndim == 4 else right["pixels"][..., None]
        np.testing.assert_array_equal(images.pixels, pixels.astype(right["dtype"]))
        assert images.pixels.dtype == right["dtype"]
    if "classes" in right:
        assert images.targets["class"].names == right["classes"]
    if "splits" in right:
        words, counts = np.unique(images.splits, return_counts=True)
        wanted = dict(right["splits"])
        if not images.targets:  # without labels train is the pool
            wanted["unlabelled"] = wanted.pop("train") + wanted.get("unlabelled", 0)
        assert dict(zip(words.tolist(), counts.tolist(), strict=True)) == wanted
    if "doubt" in right:
        assert any(right["doubt"] in note for note in doubts(images.notes))
