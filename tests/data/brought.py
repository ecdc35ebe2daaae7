"""What people bring, written into many containers: for the tests beside this file."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

COUNT = 20
NAN = float("nan")
HOT = [[1, 0], [0, 1]]
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


def as_pngs(folder: Path, values: np.ndarray) -> Path:
    if values.dtype == np.uint16:
        return as_png16(folder, values)
    (folder / "set").mkdir()
    for i, image in enumerate(values):
        Image.fromarray(image).save(folder / "set" / f"{i}.png")
    return folder / "set"
