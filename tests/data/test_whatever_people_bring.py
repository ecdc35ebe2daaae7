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
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
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


# The value scale belongs to the run.
def opened(path: Path, first: ImageSet | None = None, **options: Any) -> ImageSet:
    """Images by the one door, in the scale of others that a run was trained on."""
    settings = DataOptions.model_validate({**PLAIN, "allow_leaks": True, **options})
    return request.open(settings, path, scale=None if first is None else first.scale)


@pytest.mark.parametrize("container", ["npy", "HDF5", "TIFF", "TIFF in Parquet"])
@pytest.mark.parametrize("dtype", ["int32", "uint16", "int16", "float32"])
def test_a_dim_image_is_dim(tmp_path: Path, container: str, dtype: str) -> None:
    bright, dim = ramp(0, 3000, dtype), ramp(0, 171, dtype)
    for name in ("bright", "dim", "both"):
        (tmp_path / name).mkdir()
    first = opened(WRITE[container](tmp_path / "bright", bright))
    alone = opened(WRITE[container](tmp_path / "dim", dim), first)
    both = opened(WRITE[container](tmp_path / "both", np.concatenate([dim, bright])), first)
    np.testing.assert_array_equal(alone.pixels[..., 0], dim.astype(first.pixels.dtype))
    np.testing.assert_array_equal(both.pixels[:4], alone.pixels)
    assert alone.scale.form == first.scale.form


@pytest.mark.parametrize("container", ["npy", "HDF5"])
def test_bytes_and_floats_meet_by_a_declared_range(tmp_path: Path, container: str) -> None:
    write = WRITE[container]
    for name in "abc":
        (tmp_path / name).mkdir()
    bytes_ = ramp(0, 255, "uint8")
    of_bytes = write(tmp_path / "a", bytes_)
    of_floats = write(tmp_path / "b", bytes_.astype("float32"))
    of_units = write(tmp_path / "c", bytes_.astype("float32") / 255)
    run = opened(of_bytes)
    with pytest.raises(ValueError, match=r"float32 of no declared range.*--value-range LO HI"):
        opened(of_floats, run)
    for path, span in ((of_floats, (0, 255)), (of_units, (0, 1))):
        there = opened(path, run, value_range=span)
        np.testing.assert_array_equal(there.pixels, run.pixels)
        assert there.pixels.dtype == np.uint8
    floats = opened(of_floats)
    with pytest.raises(ValueError, match="uint8 of 8 bits"):
        opened(of_bytes, floats)
    back = opened(of_bytes, floats, value_range=(0, 255))
    np.testing.assert_allclose(back.pixels, floats.pixels, atol=1e-4)


@pytest.mark.parametrize("container", ["npy", "PNG", "PNG in Parquet"])
def test_12_bits_in_16_and_bytes_meet_by_bits(tmp_path: Path, container: str) -> None:
    (tmp_path / "a").mkdir()
    deep = ramp(0, 4095, "uint16")
    run = opened(WRITE[container](tmp_path / "a", deep), bits=12)
    assert (run.value_scale.bits, run.value_scale.high) == (12, 4095)
    np.save(tmp_path / "bytes.npy", np.round(deep / 4095 * 255).astype("uint8"))
    bytes_ = opened(tmp_path / "bytes.npy", run)
    assert np.abs(bytes_.pixels.astype(int) - run.pixels.astype(int)).max() <= 9
    names = {"npy": "a.npy", "PNG": "set", "PNG in Parquet": "a.parquet"}
    undeclared = opened(tmp_path / "a" / names[container])
    with pytest.raises(ValueError, match="--bits N"):
        opened(tmp_path / "bytes.npy", undeclared)


def test_declared_bits_of_a_png_are_taken(tmp_path: Path) -> None:
    values = ramp(0, 4095, "uint16")
    (tmp_path / "set").mkdir()
    for i, image in enumerate(values):
        (tmp_path / "set" / f"{i}.png").write_bytes(png16(image, bits=12))
    assert open_images(tmp_path / "set").value_scale.bits == 12


def test_a_pool_of_another_type_is_converted_or_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "floats.npy", ramp(0, 255, "float32"))
    floats = opened(tmp_path / "floats.npy")
    folder_of(tmp_path / "pool", 4)
    with pytest.raises(ValueError, match="--value-range"):
        request.open_pool(DataOptions(), str(tmp_path / "pool"), floats)
    pool = request.open_pool(DataOptions(value_range=(0, 255)), str(tmp_path / "pool"), floats)
    assert 200 < pool.images.pixels.max() <= 255


def test_one_folder_of_several_types_has_one_scale(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    bytes_ = (picture(0, channels=1) // 2 + 120).astype(np.uint8)
    deep = bytes_.astype(np.uint16) * 257
    Image.fromarray(bytes_).save(folder / "0.png")
    (folder / "1.png").write_bytes(png16(deep))
    images = open_images(folder, **PLAIN)
    np.testing.assert_array_equal(images.pixels[0], images.pixels[1])
    tiff(folder / "2.tif", bytes_.astype(np.float32) / 255)
    with pytest.raises(ValueError, match=r"no declared range, and .* has .*--value-range LO HI"):
        open_images(folder, **PLAIN, max_unreadable=0)
    images = open_images(folder, **PLAIN, value_range=(0, 1), bits=16)
    assert np.abs(np.diff(np.asarray(images.pixels, np.float64), axis=0)).max() <= (
        0.01 * images.pixels.max()
    )


def test_dim_16_bits_beside_8_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    Image.fromarray(picture(0, channels=1)).save(folder / "0.png")
    (folder / "1.png").write_bytes(png16(ramp(0, 4095, "uint16")[0]))
    with pytest.raises(ValueError, match=r"0\.png has 8 bits, and 1\.png .*--bits 12 or"):
        open_images(folder, **PLAIN)
    np.testing.assert_allclose(open_images(folder, **PLAIN, bits=12).pixels.max(), 4095, atol=20)


@pytest.mark.parametrize("kind", ["jpg", "tif", "png", "webp"])
@pytest.mark.parametrize("container", ["folder", "parquet"])
def test_portraits_are_upright(tmp_path: Path, kind: str, container: str) -> None:
    """Orientation 6: the stored picture is 30 wide and 20 high, the upright one 20 by 30."""
    stored = np.zeros((20, 30, 3), np.uint8)
    stored[:10, :15] = 250  # at the top left as stored: at the top right when upright
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    options = {"lossless": True} if kind == "webp" else {"quality": 95} if kind == "jpg" else {}
    names = {"jpg": "jpeg", "tif": "tiff"}
    Image.fromarray(stored).save(buffer, names.get(kind, kind), exif=exif, **options)
    if container == "folder":
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / f"a.{kind}").write_bytes(buffer.getvalue())
        path = tmp_path / "set"
    else:
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({"image": [buffer.getvalue()]}), path)
    images = open_images(path, **PLAIN)
    assert images.pixels.shape[1:3] == (30, 20)
    corners = images.pixels[0, [2, 2, -3, -3], [2, -3, 2, -3]].mean(axis=-1)
    assert (corners > 128).tolist() == [False, True, False, False]


# Tables beside images.
@pytest.mark.parametrize("name", ["train/metadata.csv", "train/labels.csv", "labels.csv"])
def test_a_table_in_the_folder_is_read_and_what_it_leaves_out_is_counted(
    tmp_path: Path, name: str
) -> None:
    names = folder_of(tmp_path / "train")
    folder_of(tmp_path / "test", 4)
    prefix = "" if name.startswith("train/") else "train/"
    table = {"file_name": [prefix + n for n in names[:10]], "kind": each(["a", "b"])[:10]}
    (tmp_path / name).write_text(csv_text(table))
    images = open_images(tmp_path, **PLAIN)
    target = images.targets["kind"]
    assert target.known.sum() == 10 and len(images) == COUNT + 4
    assert [target.names[v] for v in target.values[target.known]] == each(["a", "b"])[:10]
    assert any("names 10 of" in note for note in images.notes)
    assert any("labels" in note.setting for note in doubts(images.notes))
    none = open_images(tmp_path, **PLAIN, labels="none")
    assert not none.targets


def test_a_manifest_that_names_half_the_images_says_so(tmp_path: Path) -> None:
    names = folder_of(tmp_path / "images")
    rows = {"path": [f"images/{n}" for n in names[:10]], "y": each(["a", "b"])[:10]}
    (tmp_path / "a.csv").write_text(csv_text(rows))
    images = open_images(tmp_path / "a.csv", **PLAIN)
    assert len(images) == 10
    assert any("10 images beside those" in note for note in images.notes)


@pytest.mark.parametrize("container", ["csv", "folder", "labels"])
def test_long_form_becomes_several_labels(tmp_path: Path, container: str) -> None:
    names = folder_of(tmp_path / "set", 3)
    rows = {
        "file_name": [names[0], names[0], names[1], names[2]],
        "defect": ["crack", "edge", "edge", "crack"],
        "area": [1.5, 2.5, 3.5, 4.5],
    }
    options: dict[str, Any] = {}
    path = tmp_path / "set"
    if container == "csv":
        rows["file_name"] = [f"set/{name}" for name in rows["file_name"]]
        path = tmp_path / "table.csv"
        path.write_text(csv_text(rows))
    elif container == "folder":
        (path / "table.csv").write_text(csv_text(rows))
    else:
        (tmp_path / "table.csv").write_text(csv_text(rows))
        options["labels"] = str(tmp_path / "table.csv")
    images = open_images(path, **PLAIN, **options)
    target = images.targets["defect"]
    assert (target.kind, target.names) == ("labels", ("crack", "edge"))
    same(target.values, [[1, 1], [0, 1], [1, 0]])
    assert any("several rows for an image" in note for note in images.notes)


DIALECTS: dict[str, Callable[[str], bytes]] = {
    "semicolons and decimal commas": lambda t: t.replace(",", ";").replace(".5", ",5").encode(),
    "tabs": lambda t: t.replace(",", "\t").encode(),
    "UTF-16": lambda t: t.encode("utf-16"),
    "Latin-1": lambda t: t.encode("latin-1"),
    "a byte order mark": lambda t: t.encode("utf-8-sig"),
    "Windows line ends": lambda t: t.replace("\n", "\r\n").encode(),
    "trailing commas": lambda t: t.replace("\n", ",\n").encode(),
    "backslashes": lambda t: t.replace("images/", "images\\").encode(),
    "no header": lambda t: t.partition("\n")[2].encode(),
    "an empty last line": lambda t: (t + "\n\n").encode(),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_spreadsheet_however_it_was_saved(tmp_path: Path, dialect: str) -> None:
    names = folder_of(tmp_path / "images")
    rows = {
        "path": [f"images/{name}" for name in names],
        "mass": [i + 0.5 for i in range(COUNT)],
        "kind": each(["Öl", "Wasser"]),
    }
    (tmp_path / "t.csv").write_bytes(DIALECTS[dialect](csv_text(rows)))
    images = open_images(tmp_path / "t.csv", **PLAIN)
    number, kind = ("column 2", "column 3") if dialect == "no header" else ("mass", "kind")
    same(images.targets[number].values[:, 0], rows["mass"])
    assert images.targets[kind].names == ("Wasser", "Öl")
    assert images.row_ids[0] == "images/000.png"


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ("Image Index", lambda name: name),
        ("id", lambda name: name.removesuffix(".png")),
        ("id", lambda name: str(int(name.removesuffix(".png")))),
        ("filename", lambda name: f"C:\\data\\{name}"),
        ("image_id", lambda name: f"./images/{name}"),
    ],
)
def test_names_of_images_in_other_spellings(
    tmp_path: Path, column: str, shown: Callable[[str], str]
) -> None:
    names = folder_of(tmp_path / "images")
    rows = {column: [shown(name) for name in names], "kind": each(["a", "b", "c"])}
    (tmp_path / "t.csv").write_text(csv_text(rows))
    images = open_images(tmp_path / "t.csv", **PLAIN)
    assert images.targets["kind"].values.tolist() == each([0, 1, 2])
    np.testing.assert_array_equal(images.pixels, PIXELS)
    joined = open_images(tmp_path / "images", **PLAIN, labels=str(tmp_path / "t.csv"))
    assert joined.targets["kind"].values.tolist() == each([0, 1, 2])


def test_a_table_names_images_of_one_folder_among_others(tmp_path: Path) -> None:
    """Names alone, beside a second folder whose names stand twice."""
    names = folder_of(tmp_path / "photos")
    tree(tmp_path / "others", ["a", "b"])
    rows = {"Image Index": names, "kind": each(["a", "b", "c"])}
    (tmp_path / "t.csv").write_text(csv_text(rows))
    images = open_images(tmp_path / "t.csv", **PLAIN)
    assert images.row_ids.tolist() == [f"photos/{name}" for name in names]
    assert images.targets["kind"].values.tolist() == each([0, 1, 2])
    assert any("6 images below" in note for note in images.notes)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / names[0]).write_bytes(PNGS[1])
    with pytest.raises(ValueError, match="none of the 20 images can be read"):
        open_images(tmp_path / "t.csv", **PLAIN)


def test_accents_in_both_unicode_forms(tmp_path: Path) -> None:
    import unicodedata

    word = unicodedata.normalize("NFD", "möwe")
    for i in range(4):
        save(tmp_path / "images" / f"{word}{i}.png", i)
    text = unicodedata.normalize("NFC", "\n".join(f"images/möwe{i}.png,{i % 2}" for i in range(4)))
    (tmp_path / "t.csv").write_text("path,label\n" + text + "\n", encoding="utf-8")
    images = open_images(tmp_path / "t.csv", **PLAIN)
    assert len(images) == 4 and images.targets["label"].values.tolist() == [0, 1, 0, 1]


def test_a_table_that_names_nothing_says_what_it_holds(tmp_path: Path) -> None:
    folder_of(tmp_path, 3)
    (tmp_path / "t.csv").write_text("colour,weight\nred,1.5\nblue,2.5\n")
    with pytest.raises(ValueError, match=r"colour \('red'\).*--image-column"):
        open_images(tmp_path / "t.csv")


@pytest.mark.parametrize("container", ["csv", "parquet"])
def test_a_split_column_that_holds_something_else_is_none(tmp_path: Path, container: str) -> None:
    columns = {"split": each(["adult", "child"]), "kind": each(["a", "b", "c"])}
    images = open_images(PUT[container](tmp_path, columns), **PLAIN)
    assert len(images.rows("train")) == COUNT
    assert any("is not taken as the split" in note for note in images.notes)
    columns["split"] = each(["train", "test", "test_ood", "train"])
    (tmp_path / "b").mkdir()
    images = open_images(PUT[container](tmp_path / "b", columns), **PLAIN)
    assert [len(images.rows(s)) for s in ("train", "test")] == [10, 5]
    assert any("test_ood" in note for note in doubts(images.notes))
    every = open_images(PUT[container](tmp_path / "b", columns), **PLAIN, split_column="none")
    assert len(every.rows("train")) == COUNT


# Array files.
def test_groups_and_keys_of_array_files_give_all_splits(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/images"], file["train/y"] = PIXELS[:12], np.arange(12) % 2
        file["test/images"], file["test/y"] = PIXELS[12:], np.arange(8) % 2
    images = open_images(tmp_path / "a.h5", validation=0)
    assert [len(images.rows(s)) for s in ("train", "test")] == [12, 8]
    np.savez(tmp_path / "b.npz", x_train=PIXELS[:12], y_train=np.arange(12) % 2,
             x_test=PIXELS[12:])  # fmt: skip
    images = open_images(tmp_path / "b.npz", validation=0)
    target = images.targets["y"]
    assert [len(images.rows(s)) for s in ("train", "test")] == [12, 8]
    assert target.known[images.rows("train")].all()
    assert not target.known[images.rows("test")].any()
    assert any("x_test has no y" in note for note in doubts(images.notes))


@pytest.mark.parametrize("container", ["npy", "HDF5"])
def test_axes_are_said_and_overruled(tmp_path: Path, container: str) -> None:
    values = np.random.default_rng(0).integers(0, 255, (6, 5, 16, 16)).astype(np.uint8)
    images = open_images(WRITE[container](tmp_path, values))
    assert images.pixels.shape == (6, 16, 16, 5)
    assert any("--axes NHWC" in note for note in images.notes)
    (tmp_path / "b").mkdir()
    images = open_images(WRITE[container](tmp_path / "b", values), axes="NHWC")
    assert images.pixels.shape == (6, 5, 16, 16)
    (tmp_path / "c").mkdir()
    last = WRITE[container](tmp_path / "c", values.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(
        open_images(last, axes="HWCN").pixels, values.transpose(0, 2, 3, 1)
    )


# What lies beside images.
def test_tar_keys_with_dots_are_whole_names(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for i in range(COUNT):
            for name, content in ((f"2024.05.{i:02}_coil.png", PNGS[i]),
                                  (f"2024.05.{i:02}_coil.cls", str(i % 2).encode())):  # fmt: skip
                info = tarfile.TarInfo(name)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    images = open_images(tmp_path / "a.tar", **PLAIN)
    assert len(images) == COUNT
    assert images.targets["cls"].values.tolist() == each([0, 1])


@pytest.mark.parametrize("suffix", [".CLS", ".class.txt", "class folder"])
def test_classes_in_tars_by_other_names(tmp_path: Path, suffix: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for i in range(COUNT):
            kind = ["cat", "dog"][i % 2]
            members = {f"{kind}/{i:03}.png": PNGS[i]}
            if suffix != "class folder":
                members = {f"{i:03}.png": PNGS[i], f"{i:03}{suffix}": kind.encode()}
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    target = next(iter(open_images(tmp_path / "a.tar", **PLAIN).targets.values()))
    assert target.names == ("cat", "dog") and target.values.tolist() == each([0, 1])


@pytest.mark.parametrize("layout", ["suffix", "word", "folder"])
def test_masks_beside_photos_are_left_out_and_said(tmp_path: Path, layout: str) -> None:
    for i in range(6):
        save(tmp_path / "photos" / f"{i}.jpg", i)
        mask = Image.fromarray((picture(i, channels=1) > 128).astype(np.uint8))
        name = {"suffix": f"photos/{i}.png", "word": f"photos/{i}_mask.png",
                "folder": f"masks/{i}.png"}[layout]  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        mask.save(tmp_path / name)
    images = open_images(tmp_path, **PLAIN)
    assert len(images) == 6 and all(row.endswith(".jpg") for row in images.row_ids)
    note = next(note for note in images.notes if "look like masks" in note)
    assert note.number == 6 and "--masks" in note
    assert len(open_images(tmp_path, **PLAIN, masks=True)) == 12


@pytest.mark.parametrize("names", [("label_image", "pixel_values"), ("mask", "image")])
def test_the_column_of_images_among_several(tmp_path: Path, names: tuple[str, str]) -> None:
    blank = png(np.zeros((12, 12), np.uint8))
    pq.write_table(pa.table({names[0]: [blank] * COUNT, names[1]: PNGS}), tmp_path / "a.parquet")
    images = open_images(tmp_path / "a.parquet", **PLAIN)
    np.testing.assert_array_equal(images.pixels, PIXELS)
    assert any(f"--image-column {names[0]}" in note for note in images.notes)
    other = open_images(tmp_path / "a.parquet", **PLAIN, image_column=names[0])
    assert other.pixels.max() == 0


def test_files_that_disagree_are_reconciled_or_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name, part in (("train", slice(0, 12)), ("test", slice(12, 20))):
        words = ["cat", "dog"] if name == "train" else ["dog", "cat"]
        features = {"image": {"_type": "Image"},
                    "label": {"_type": "ClassLabel", "names": words}}  # fmt: skip
        table = pa.table(
            {
                "image": PNGS[part],
                "label": each([0, 1])[part],
                **({"mass": [0.5 + i for i in range(12)]} if name == "train" else {}),
            }
        )
        meta = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
        pq.write_table(table.replace_schema_metadata(meta), folder / f"{name}.parquet")
    images = open_images(folder, validation=0)
    target = images.targets["label"]
    shown = [target.names[v] for v in target.values]
    assert dict(zip(images.row_ids, shown, strict=True)) == {
        **{f"train.parquet#{i}": ["cat", "dog"][i % 2] for i in range(12)},
        **{f"test.parquet#{i}": ["dog", "cat"][i % 2] for i in range(8)},
    }
    assert any("mass is not in test.parquet" in note for note in doubts(images.notes))
    pq.write_table(pa.table({"image": PNGS[12:], "label": ["cat"] * 8}), folder / "test.parquet")
    with pytest.raises(ValueError, match=r"column label holds (text|numbers) in (test|train)"):
        open_images(folder)


@pytest.mark.parametrize("container", ["npz", "hdf5"])
def test_splits_of_different_ranges_are_doubtful(tmp_path: Path, container: str) -> None:
    parts = {"train": ramp(0, 1, "float32"), "test": ramp(0, 255, "float32")}
    if container == "npz":
        path = tmp_path / "a.npz"
        np.savez(path, **{f"x_{name}": values for name, values in parts.items()})
    else:
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            for name, values in parts.items():
                file[f"{name}/images"] = values
    notes = doubts(open_images(path).notes)
    assert any("different ways" in note and "test" in note.about for note in notes)


@pytest.mark.parametrize("container", ["npy", "HDF5", "TIFF"])
@pytest.mark.parametrize("value", ["nan", "-9999"])
def test_nodata_is_filled_and_counted(tmp_path: Path, container: str, value: str) -> None:
    values = ramp(1, 2, "float32").copy()
    values[1, :3] = float(value)
    path = WRITE[container](tmp_path, values)
    doubtful = next(note for note in doubts(open_images(path, **PLAIN).notes))
    assert doubtful.number == 1 and f"--nodata {value}" in doubtful
    filled = open_images(path, **PLAIN, nodata=value)
    assert np.isfinite(filled.pixels).all() and filled.pixels.min() >= 1
    np.testing.assert_allclose(filled.pixels[1, :3], values[1, 3:].mean(), rtol=1e-5)


def test_formats_by_content_and_what_is_left_out_by_name(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 0)
    (tmp_path / "noname").write_bytes(png(picture(1)))
    (tmp_path / "odd.image").write_bytes(png(picture(2)))
    (tmp_path / "IM.000001").write_bytes(png(picture(3)))
    save(tmp_path / "b.jp2", 4)
    save(tmp_path / "c.avif", 5)
    (tmp_path / "d.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "more.zip").write_bytes(b"PK\x03\x04")
    for hidden in ("@eaDir", "$RECYCLE.BIN", ".thumbs"):
        save(tmp_path / hidden / "x.png", 9)
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    images = open_images(tmp_path, **PLAIN, max_unreadable=0)
    assert set(images.row_ids) == {"a.png", "noname", "odd.image", "IM.000001", "b.jp2", "c.avif"}
    text = " ".join(images.notes)
    for word in ("d.heic", "selfsight[heif]", "notes.txt", "more.zip", "@eaDir", "again"):
        assert word in text, word


def test_animations_give_their_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(picture(i)) for i in range(3)]
    for kind in ("gif", "png", "webp"):
        options = {"lossless": True} if kind == "webp" else {}
        frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:], **options)
    images = open_images(tmp_path, **PLAIN)
    assert len(images) == 3
    np.testing.assert_array_equal(images.pixels[1], picture(0))
    assert any("3 files hold several frames" in note for note in images.notes)


def test_very_large_images_need_a_flag(tmp_path: Path) -> None:
    save(tmp_path / "small.png", 0)
    Image.new("L", (1000, 600)).save(tmp_path / "wide.png")
    with pytest.raises(ValueError, match="--max-pixels"):
        open_images(tmp_path, max_pixels=100_000)
    assert len(open_images(tmp_path, max_pixels=600_000)) == 2


def test_idx_files_as_of_mnist(tmp_path: Path) -> None:
    import gzip

    def idx(array: np.ndarray) -> bytes:
        head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
        return head + array.astype(np.uint8).tobytes()

    grey = PIXELS[..., 0]
    labels = np.arange(COUNT) % 10
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(grey[:12]))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels[:12]))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(grey[12:])))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels[12:])))
    images = open_images(tmp_path, validation=0)
    assert len(images) == COUNT and images.targets["label"].known.all()
    assert len(images.rows("test")) == 8


def test_people_in_folders(tmp_path: Path) -> None:
    for place, name in enumerate(("ann", "bob", "cy")):
        for i in range(4):
            save(tmp_path / name / f"{i}.png", 10 * place + i)
    images = open_images(tmp_path, **PLAIN, target="FOLDER:identity")
    assert images.targets["FOLDER"].kind == "identity"
    grouped = open_images(tmp_path, **PLAIN, group="FOLDER")
    assert grouped.groups is not None and len(np.unique(grouped.groups)) == 3


def test_pickles_and_archives_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(ValueError, match=r"pickled.*never loaded"):
        open_images(tmp_path)
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="unpack it"):
        open_images(tmp_path / "x.zip")


def test_a_guess_is_recorded_and_later_files_are_held_to_it(tmp_path: Path) -> None:
    from selfsight.data.notes import guesses
    from selfsight.data.reading import held_to

    columns = {"y": each(HOT), "grade": each([0, 1, 2])}
    images = open_images(in_npz(tmp_path, columns), **PLAIN)
    recorded = guesses(images.notes)
    assert set(recorded["kinds"]) == {"y:class", "grade:class"}
    later = {"y": each([[1, 1], [0, 1]]), "grade": each([0.5, 1.5])}
    changes = held_to({"kinds": ()}, recorded)
    with pytest.raises(ValueError, match="more or less than one 1"):
        open_images(in_npz(tmp_path, later), **PLAIN, **changes)


@pytest.mark.parametrize("splits", [True, False])
def test_folders_that_hugging_face_saved(tmp_path: Path, splits: bool) -> None:
    datasets = pytest.importorskip("datasets", reason="selfsight[hub] is not installed")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )

    def part(rows: slice) -> Any:
        images = [{"bytes": content, "path": None} for content in PNGS[rows]]
        labels = each([0, 1])[rows]
        return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)

    saved = part(slice(0, COUNT))
    if splits:
        saved = datasets.DatasetDict(train=part(slice(0, 12)), test=part(slice(12, COUNT)))
    saved.save_to_disk(str(tmp_path / "saved"))
    images = open_images(tmp_path / "saved", **PLAIN)
    np.testing.assert_array_equal(images.pixels, PIXELS)
    assert images.targets["label"].names == ("cat", "dog")
    assert images.targets["label"].values.tolist() == each([0, 1])
    assert len(images.rows("test")) == (8 if splits else 0)


@pytest.mark.parametrize("verb", ["embed", "predict"])
def test_verbs_that_look_leave_no_image_out(tmp_path: Path, verb: str) -> None:
    """Folders that only some are named after splits: a training asks, `embed` takes all."""
    from selfsight.runs.frame import Frame
    from selfsight.runs.request import images_in

    tree(tmp_path / "set", ["train", "test", "extra"])
    with pytest.raises(ValueError, match="--split-column"):
        open_images(tmp_path / "set")
    frame = Frame(height=12, width=12, channels=3, dtype="uint8")
    assert len(images_in(frame, verb, DataOptions(), str(tmp_path / "set"))) == 9


CASES = [
    ("doubtful split", lambda f: parquets(f / "d", ["train-00000-of-00003"]), 1, "missing"),
    ("half a table", lambda f: _half_named(f), 1, "names 5 of 20 images"),
    ("not a number", lambda f: _with_hole(f), 1, "--nodata nan"),
    ("a guess", lambda f: in_npz(f, {"y": each(HOT)}), 0, "y has a single 1"),
    ("left out", lambda f: _with_text(f), 0, "readme.txt"),
]


def _half_named(folder: Path) -> Path:
    names = folder_of(folder / "set")[:5]
    table = csv_text({"file_name": names, "kind": each(["a", "b"])[:5]})
    (folder / "set" / "t.csv").write_text(table)
    return folder / "set"


def _with_hole(folder: Path) -> Path:
    values = np.random.default_rng(0).random((COUNT, 12, 12)).astype(np.float32)
    values[3, 0, 0] = np.nan
    return as_npy(folder, values)


def _with_text(folder: Path) -> Path:
    folder_of(folder / "set")
    (folder / "set" / "readme.txt").write_text("hello")
    return folder / "set"


@pytest.mark.parametrize(
    ("make", "code", "text"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_audit_shows_guesses_and_what_is_left_out(
    tmp_path: Path, make: Callable[[Path], Path], code: int, text: str
) -> None:
    from selfsight.cli import main

    path = make(tmp_path)
    assert main(["audit", str(path), "--out", str(tmp_path / "audit"), "--no-near"]) == code
    readings = json.loads((tmp_path / "audit" / "audit.json").read_text())["readings"]
    reading = next(reading for reading in readings if text in reading["text"])
    assert reading["kind"] != "fact" and reading["doubtful"] == bool(code)
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert "How the images were read" in page and reading["about"] in page


def test_a_run_records_its_guesses_and_holds_later_files_to_them(tmp_path: Path) -> None:
    """A run on 0/1 rows with a single 1: a later file with two of them is refused, not re-read."""
    from selfsight.cli import main
    from selfsight.runs.request import RunData, images_of
    from selfsight.runs.run import load_run

    path = in_npz(tmp_path, {"y": each(HOT)})
    quick = ["--epochs", "1", "--batch-size", "4", "--backbone", "resnet20", "--device", "cpu"]
    quick += ["--network.widths", "8", "--network.depths", "1", "--out", str(tmp_path / "run")]
    assert main(["pretrain", "simclr", str(path), *quick]) == 0
    run = load_run(tmp_path / "run")
    assert run.environment["data"]["guesses"]["kinds"] == ["y:class"]
    assert run.environment["data"]["value_type"] == "uint8"
    (tmp_path / "later").mkdir()
    later = in_npz(tmp_path / "later", {"y": each([[1, 1], [0, 1]])})
    with pytest.raises(ValueError, match="more or less than one 1"):
        images_of(run, RunData(run=str(tmp_path / "run"), data=str(later)))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    container=st.sampled_from(["npy", "npz", "HDF5", "TIFF", "PNG", "lists in Parquet"]),
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
    if container == "PNG":
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
    array = container in ("npy", "npz", "HDF5")
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
        writer = as_pngs if container == "PNG" else WRITE[container]
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


def as_pngs(folder: Path, values: np.ndarray) -> Path:
    if values.dtype == np.uint16:
        return as_png16(folder, values)
    (folder / "set").mkdir()
    for i, image in enumerate(values):
        Image.fromarray(image).save(folder / "set" / f"{i}.png")
    return folder / "set"


def dicom(path: Path, values: np.ndarray, bits: int, **attributes: Any) -> None:
    pydicom = pytest.importorskip("pydicom", reason="selfsight[dicom] is not installed")
    from pydicom.uid import ExplicitVRLittleEndian

    kind = "1.2.840.10008.5.1.4.1.1.7"
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, "1.2.3"
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = kind, "1.2.3"
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
    data.PixelRepresentation = 0
    for name, value in attributes.items():
        setattr(data, name, value)
    data.PixelData = values.tobytes()
    data.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize(
    ("attributes", "right"),
    [
        ({}, lambda values: values),
        (
            {"RescaleSlope": 1, "RescaleIntercept": -1024},
            lambda values: values.astype(float) - 1024,
        ),
        ({"PhotometricInterpretation": "MONOCHROME1"}, lambda values: 4095 - values),
    ],
    ids=["12 bits", "Hounsfield units", "inverted"],
)
def test_dicom_values(
    tmp_path: Path, attributes: dict[str, Any], right: Callable[[np.ndarray], np.ndarray]
) -> None:
    values = ramp(0, 4095, "uint16")[0]
    dicom(tmp_path / "noname", values, 12, **attributes)
    images = open_images(tmp_path, **PLAIN)
    np.testing.assert_array_equal(images.pixels[0, ..., 0], right(values))


def test_dicom_without_its_reader_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from selfsight.data.pixels import formats

    save(tmp_path / "a.png")
    (tmp_path / "b.dcm").write_bytes(bytes(128) + b"DICM" + bytes(20))
    plain = formats.find_spec
    monkeypatch.setattr(
        formats, "find_spec", lambda name: None if name == "pydicom" else plain(name)
    )
    images = open_images(tmp_path, **PLAIN)
    assert len(images) == 1
    assert any("b.dcm" in n and "selfsight[dicom]" in n for n in doubts(images.notes))
