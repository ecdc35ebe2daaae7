"""What people bring: inputs of every kind in several containers, and the right value of each."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from selfsight.data import request
from selfsight.data.imageset import ImageSet
from selfsight.data.notes import doubts
from selfsight.data.request import DataOptions, open_images

COUNT = 20
NAN = float("nan")
PLAIN = {"validation": 0.0, "test": 0.0}


def picture(seed: int, side: int = 12, channels: int = 3) -> np.ndarray:
    shape = (side, side, channels) if channels > 1 else (side, side)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def png(values: np.ndarray, kind: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


PNGS = [png(picture(i)) for i in range(COUNT)]
PIXELS = np.stack([picture(i) for i in range(COUNT)])


def save(path: Path, seed: int = 0, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path, **options)
    return path


def folder_of(folder: Path, count: int = COUNT) -> list[str]:
    names = [f"{i:03}.png" for i in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        (folder / name).write_bytes(PNGS[i % COUNT] if i < COUNT else png(picture(i)))
    return names


def cell(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def csv_text(columns: Mapping[str, Sequence[Any]], separator: str = ",") -> str:
    rows = [separator.join(columns)]
    for values in zip(*columns.values(), strict=True):
        cells = [cell(value) for value in values]
        quoted = [f'"{c}"' if separator in c else c for c in cells]
        rows.append(separator.join(quoted))
    return "\n".join(rows) + "\n"


def in_folder(folder: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    """Images, and ``labels.csv`` among them."""
    names = folder_of(folder / "set")
    (folder / "set" / "labels.csv").write_text(csv_text({"file_name": names, **columns}))
    return folder / "set"


def in_csv(folder: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    names = folder_of(folder / "images")
    path = folder / "table.csv"
    path.write_text(csv_text({"path": [f"images/{name}" for name in names], **columns}))
    return path


def in_jsonl(folder: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    names = folder_of(folder / "images")
    rows = zip(*columns.values(), strict=True)
    lines = [
        json.dumps({"path": f"images/{name}", **dict(zip(columns, row, strict=True))})
        for name, row in zip(names, rows, strict=True)
    ]
    (folder / "table.jsonl").write_text("\n".join(lines))
    return folder / "table.jsonl"


def in_parquet(folder: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    table = pa.table({"image": [{"bytes": b, "path": None} for b in PNGS], **columns})
    pq.write_table(table, folder / "table.parquet")
    return folder / "table.parquet"


def in_npz(folder: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    np.savez(folder / "a.npz", images=PIXELS, **{k: np.array(v) for k, v in columns.items()})
    return folder / "a.npz"


def in_hdf5(folder: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["images"] = PIXELS
        for name, values in columns.items():
            array = np.array(values)
            file[name] = array.astype("S") if array.dtype.kind == "U" else array
    return folder / "a.h5"


def in_tar(folder: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    with tarfile.open(folder / "a.tar", "w") as file:
        for i in range(COUNT):
            row = {name: values[i] for name, values in columns.items()}
            members = {f"{i:03}.png": PNGS[i], f"{i:03}.json": json.dumps(row).encode()}
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return folder / "a.tar"


PUT = {
    "folder": in_folder, "csv": in_csv, "jsonl": in_jsonl, "parquet": in_parquet, "npz": in_npz,
    "hdf5": in_hdf5, "tar": in_tar,
}  # fmt: skip


def each(values: Sequence[Any]) -> list[Any]:
    """As many as there are images."""
    return [values[i % len(values)] for i in range(COUNT)]


def same(found: Any, right: Any) -> None:
    np.testing.assert_array_equal(np.asarray(found, np.float64), np.asarray(right, np.float64))


# Columns: input, containers, options, the right kind, names and values.
HOT = [[1, 0], [0, 1]]
FOUR = np.eye(4).tolist()
CHEX = [1.0, 0.0, -1.0, NAN]
COLUMNS: list[tuple[str, dict[str, list[Any]], list[str], dict[str, Any], str, Any, Any]] = [
    ("one-hot integers", {"y": each(HOT)}, ["npz", "hdf5", "jsonl", "parquet", "tar"], {},
     "class", ("0", "1"), each([0, 1])),
    ("one-hot floats of width 4", {"y": each(FOUR)}, ["npz", "hdf5", "parquet"], {},
     "class", ("0", "1", "2", "3"), each([0, 1, 2, 3])),
    ("one-hot of a plural name", {"defects": each(HOT)}, ["npz", "jsonl"], {},
     "labels", ("defects 0", "defects 1"), each(HOT)),
    ("one-hot said to be labels", {"y": each(HOT)}, ["npz", "parquet"], {"kinds": ("y:labels",)},
     "labels", ("y 0", "y 1"), each(HOT)),
    ("rows of 0 and 1 with two 1", {"y": each([[1, 1, 0], [0, 1, 0]])}, ["npz", "jsonl"], {},
     "labels", ("y 0", "y 1", "y 2"), each([[1, 1, 0], [0, 1, 0]])),
    ("CheXpert's 1, 0, -1 and blank", {"edema": each(CHEX)}, ["csv", "parquet", "npz"], {},
     "class", ("0", "1"), each([1, 0, -1, -1])),
    ("CheXpert, uncertain is yes", {"edema": each(CHEX)}, ["csv", "parquet"],
     {"uncertain": "yes"}, "class", ("0", "1"), each([1, 0, 1, -1])),
    ("CheXpert, uncertain is no", {"edema": each(CHEX)}, ["folder", "hdf5"],
     {"uncertain": "no"}, "class", ("0", "1"), each([1, 0, 0, -1])),
    ("CelebA's -1 and 1", {"smiling": each([-1, 1, 1])}, ["csv", "npz", "tar"], {},
     "class", ("no", "yes"), each([0, 1, 1])),
    ("CelebA as rows", {"attributes": each([[-1, 1], [1, 1], [-1, -1]])}, ["npz", "parquet"], {},
     "labels", ("attributes 0", "attributes 1"), each([[0, 1], [1, 1], [0, 0]])),
    ("-1 beside 0 to K", {"grade": each([0, 1, 2, -1])}, ["csv", "hdf5"], {},
     "class", ("0", "1", "2"), each([0, 1, 2, -1])),
    ("labels with |", {"defect": each(["crack|edge", "crack", "edge"])}, ["csv", "parquet"], {},
     "labels", ("crack", "edge"), each([[1, 1], [1, 0], [0, 1]])),
    ("labels with ;", {"defect": each(["crack;edge", "crack", "edge"])}, ["csv", "jsonl"], {},
     "labels", ("crack", "edge"), each([[1, 1], [1, 0], [0, 1]])),
    ("labels with a comma", {"defect": each(["crack, edge", "crack", "edge"])},
     ["folder", "parquet"], {}, "labels", ("crack", "edge"), each([[1, 1], [1, 0], [0, 1]])),
    ("a comma in a name", {"place": each(["Paris, France", "Rome, Italy"])},
     ["csv", "parquet"], {}, "class", ("Paris, France", "Rome, Italy"), each([0, 1])),
    ("a space is no separator", {"kind": each(["red fox", "fox", "red"])}, ["csv", "tar"], {},
     "class", ("fox", "red", "red fox"), each([2, 0, 1])),
    ("empty is unknown", {"defect": each(["crack|edge", "crack", "edge", None])},
     ["csv", "parquet"], {}, "labels", ("crack", "edge"),
     each([[1, 1], [1, 0], [0, 1], [NAN, NAN]])),
    ("empty is none of them", {"defect": each(["crack|edge", "crack", "edge", None])},
     ["csv", "parquet"], {"empty": "none"}, "labels", ("crack", "edge"),
     each([[1, 1], [1, 0], [0, 1], [0, 0]])),
    ("no separator", {"defect": each(["a|b", "a"])}, ["csv", "jsonl"], {"separator": "none"},
     "class", ("a", "a|b"), each([1, 0])),
    ("grades as floats", {"grade": each([0.0, 1.0, 2.0, NAN])}, ["csv", "npz", "parquet"], {},
     "class", ("0", "1", "2"), each([0, 1, 2, -1])),
    ("species above 100", {"species_id": each([101, 250, 999])}, ["csv", "hdf5"], {},
     "class", ("101", "250", "999"), each([0, 1, 2])),
    ("a position", {"pos_y": each([3, 17, 40, 58])}, ["csv", "parquet"], {},
     "number", ("pos_y",), [[v] for v in each([3, 17, 40, 58])]),
    ("an integer said to be a number", {"grade": each([0, 1, 2])}, ["csv", "npz"],
     {"kinds": ("grade:number",)}, "number", ("grade",), [[v] for v in each([0, 1, 2])]),
    ("text nan", {"kind": each(["a", "nan", "b"])}, ["csv", "parquet", "tar"], {},
     "class", ("a", "b"), each([0, -1, 1])),
    ("blanks around text", {"kind": each(["cat", "cat ", "dog"])}, ["csv", "parquet", "npz"], {},
     "class", ("cat", "dog"), each([0, 0, 1])),
    ("lists", {"tags": each([["a", "b"], ["a"], []])}, ["jsonl", "parquet", "tar"], {},
     "labels", ("a", "b"), each([[1, 1], [1, 0], [0, 0]])),
    ("lists as text", {"tags": each(["['a', 'b']", "['a']", "['b']"])}, ["csv", "parquet"], {},
     "labels", ("a", "b"), each([[1, 1], [1, 0], [0, 1]])),
    ("truth values", {"broken": each([True, False])}, ["jsonl", "parquet"], {},
     "class", ("false", "true"), each([1, 0])),
    ("people", {"who": each(["ann", "bob", "cy"])}, ["csv", "parquet"],
     {"kinds": ("who:identity",)}, "identity", ("ann", "bob", "cy"), each([0, 1, 2])),
    ("a measurement", {"mass": each([0.25, 1.5, NAN])}, ["csv", "npz", "hdf5"], {},
     "number", ("mass",), [[v] for v in each([0.25, 1.5, NAN])]),
]  # fmt: skip
COLUMN_CASES = [
    pytest.param(columns, container, *rest, id=f"{name} in {container}")
    for name, columns, containers, *rest in COLUMNS
    for container in containers
]


@pytest.mark.parametrize(
    ("columns", "container", "options", "kind", "names", "values"), COLUMN_CASES
)
def test_a_column_means_the_same_in_every_container(
    tmp_path: Path,
    columns: dict[str, list[Any]],
    container: str,
    options: dict[str, Any],
    kind: str,
    names: tuple[str, ...],
    values: Any,
) -> None:
    images = open_images(PUT[container](tmp_path, columns), **PLAIN, **options)
    target = images.targets[next(iter(columns))]
    assert (target.kind, target.names) == (kind, names)
    same(target.values, values)
    np.testing.assert_array_equal(images.pixels, PIXELS)


def test_there_are_many_inputs() -> None:
    assert len(COLUMN_CASES) + len(SPLIT_CASES) + len(PIXEL_CASES) >= 60


# Splits by names: folders, the right counts, the right classes; or a sentence.
def tree(folder: Path, names: Sequence[str], each_: int = 3) -> Path:
    for place, name in enumerate(names):
        for i in range(each_):
            save(folder / name / f"{i}.png", 100 * place + i)
    return folder


def shards(folder: Path, names: Sequence[str], each_: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    for place, name in enumerate(names):
        with tarfile.open(folder / f"{name.replace('/', '_')}.tar", "w") as file:
            for i in range(each_):
                content = png(picture(100 * place + i))
                info = tarfile.TarInfo(f"{place}-{i}.png")
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return folder


def parquets(folder: Path, names: Sequence[str], each_: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    for place, name in enumerate(names):
        content = [png(picture(100 * place + i)) for i in range(each_)]
        pq.write_table(pa.table({"image": content}), folder / f"{name}.parquet")
    return folder


MAKE = {"folders": tree, "shards": shards, "parquet": parquets}
SPLIT_CASES: list[Any] = [
    pytest.param(container, names, options, right, id=f"{'+'.join(names)} as {container}")
    for names, containers, options, right in [
        (["train", "test1"], ["folders", "shards", "parquet"], {}, {"train": 3, "test": 3}),
        (["training_set/cats", "training_set/dogs", "test_set/cats", "test_set/dogs"],
         ["folders"], {}, {"train": 6, "test": 6, "classes": ("cats", "dogs")}),
        (["seg_train", "seg_test"], ["folders", "shards", "parquet"], {},
         {"train": 3, "test": 3}),
        (["train_images", "test_images"], ["folders", "parquet"], {}, {"train": 3, "test": 3}),
        (["train", "holdout"], ["folders", "shards", "parquet"], {}, {"train": 3, "test": 3}),
        (["images/train", "images/val"], ["folders"], {}, {"train": 3, "validation": 3}),
        (["beach", "forest", "pool"], ["folders"], {},
         {"train": 9, "classes": ("beach", "forest", "pool")}),
        (["test_tube", "bottle"], ["folders"], {}, "test_tube"),
        (["cat", "dog", "test"], ["folders"], {},
         {"train": 9, "classes": ("cat", "dog", "test")}),
        (["train", "test", "cats"], ["folders"], {}, "--split-column FOLDER"),
        (["train", "test", "cats"], ["folders"], {"split_column": "none"},
         {"train": 9, "classes": ("cats", "test", "train")}),
        (["train", "test", "extra"], ["folders"], {"split_column": "FOLDER"},
         {"train": 3, "test": 3}),
        (["train-00000-of-00002", "train-00001-of-00002", "test_ood-00000-of-00001"],
         ["parquet", "shards"], {}, {"train": 6, "note": "test_ood"}),
        (["train-00000-of-00003"], ["parquet", "shards"], {}, {"train": 3, "note": "missing"}),
        (["train", "unlabeled"], ["folders"], {}, {"train": 3, "unlabelled": 3}),
    ]
    for container in containers
]  # fmt: skip


@pytest.mark.parametrize(("container", "names", "options", "right"), SPLIT_CASES)
def test_names_say_splits_only_where_all_do(
    tmp_path: Path, container: str, names: list[str], options: dict[str, Any], right: Any
) -> None:
    path = MAKE[container](tmp_path / "data", names)
    if right == "test_tube":
        images = open_images(path, **PLAIN, **options)
        assert images.targets["class"].names == ("bottle", "test_tube")
        return
    if isinstance(right, str):
        with pytest.raises(ValueError, match=right):
            open_images(path, **PLAIN, **options)
        return
    images = open_images(path, **PLAIN, **options)
    counts = {k: v for k, v in right.items() if k not in ("classes", "note")}
    labelled = "class" in images.targets
    if not labelled:  # without labels train is the pool
        counts["unlabelled"] = counts.pop("train", 0) + counts.get("unlabelled", 0)
    found = {split: len(images.rows(split)) for split in ("train", "validation", "test",
                                                          "unlabelled")}  # fmt: skip
    assert {k: v for k, v in found.items() if v} == counts
    if "classes" in right:
        assert images.targets["class"].names == right["classes"]
    if "note" in right:
        assert any(right["note"] in note for note in doubts(images.notes))


# Pixels: a file, how it is written, and the pixels that must come back.
def tiff(path: Path, values: np.ndarray, **options: Any) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, values, **options)


def png16(values: np.ndarray, bits: int | None = None) -> bytes:
    """A 16-bit PNG of grey or RGB, by hand: Pillow writes no 16-bit colour."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data)
        )  # fmt: skip

    height, width = values.shape[:2]
    colour = 2 if values.ndim == 3 else 0
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    said = b"" if bits is None else chunk(b"sBIT", bytes([bits] * (3 if colour else 1)))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + said
        + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )  # fmt: skip


def ramp(low: float, high: float, dtype: str, channels: int = 1) -> np.ndarray:
    shape = (4, 12, 12, channels) if channels > 1 else (4, 12, 12)
    values = np.linspace(low, high, int(np.prod(shape))).reshape(shape)
    return values.astype(dtype)


def as_tiffs(folder: Path, values: np.ndarray) -> Path:
    (folder / "set").mkdir()
    for i, image in enumerate(values):
        options = {}
        if image.ndim == 3:
            photometric = "rgb" if image.shape[2] == 3 else "minisblack"
            options = {"photometric": photometric, "planarconfig": "contig"}
        tiff(folder / "set" / f"{i}.tif", image, **options)
    return folder / "set"


def as_png16(folder: Path, values: np.ndarray) -> Path:
    (folder / "set").mkdir()
    for i, image in enumerate(values):
        (folder / "set" / f"{i}.png").write_bytes(png16(image))
    return folder / "set"


def as_png16_bytes(folder: Path, values: np.ndarray) -> Path:
    pq.write_table(pa.table({"image": [png16(image) for image in values]}), folder / "a.parquet")
    return folder / "a.parquet"


def as_tiff_bytes(folder: Path, values: np.ndarray) -> Path:
    as_tiffs(folder, values)
    content = [(folder / "set" / f"{i}.tif").read_bytes() for i in range(len(values))]
    pq.write_table(pa.table({"image": content}), folder / "a.parquet")
    return folder / "a.parquet"


def as_npy(folder: Path, values: np.ndarray) -> Path:
    np.save(folder / "a.npy", values)
    return folder / "a.npy"


def as_h5(folder: Path, values: np.ndarray) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["images"] = values
    return folder / "a.h5"


def as_nested(folder: Path, values: np.ndarray) -> Path:
    pq.write_table(pa.table({"pixels": values.tolist()}), folder / "a.parquet")
    return folder / "a.parquet"


WRITE = {
    "TIFF": as_tiffs, "TIFF in Parquet": as_tiff_bytes, "npy": as_npy, "HDF5": as_h5,
    "PNG": as_png16, "PNG in Parquet": as_png16_bytes, "lists in Parquet": as_nested,
}  # fmt: skip
PIXEL_CASES = [
    pytest.param(container, values, dtype, id=f"{name} in {container}")
    for name, values, dtype, containers in [
        ("int16 below 0", ramp(-971, 3000, "int16"), "float32", ["TIFF", "TIFF in Parquet", "npy"]),
        ("int32 above 65535", ramp(0, 200_000, "int32"), "float32",
         ["TIFF", "TIFF in Parquet", "npy", "HDF5"]),
        ("int8", ramp(-128, 127, "int8"), "float32", ["TIFF", "npy"]),
        ("float64", ramp(0, 1, "float64"), "float32", ["npy", "HDF5", "TIFF"]),
        ("float16", ramp(0, 1, "float16"), "float32", ["npy", "HDF5"]),
        ("16-bit RGB of 12 bits", ramp(0, 4095, "uint16", 3), "uint16",
         ["PNG", "PNG in Parquet", "TIFF", "npy"]),
        ("16-bit grey", ramp(0, 65535, "uint16"), "uint16", ["PNG", "PNG in Parquet", "HDF5"]),
        ("five channels", ramp(0, 255, "uint8", 5), "uint8", ["npy", "HDF5", "TIFF"]),
        ("big-endian", ramp(0, 65535, ">u2"), "uint16", ["npy", "HDF5"]),
        ("grey bytes", ramp(0, 255, "uint8"), "uint8",
         ["npy", "HDF5", "TIFF", "lists in Parquet"]),
    ]
    for container in containers
]  # fmt: skip


@pytest.mark.parametrize(("container", "values", "dtype"), PIXEL_CASES)
def test_values_are_exact(tmp_path: Path, container: str, values: np.ndarray, dtype: str) -> None:
    if container == "lists in Parquet":
        values = values.astype(np.int64)
    images = open_images(WRITE[container](tmp_path, values), **PLAIN)
    assert images.pixels.dtype == dtype
    right = values if values.ndim == 4 else values[..., None]
    np.testing.assert_array_equal(images.pixels, right.astype(dtype))
