"""What lies beside images: masks, hidden files, archives, formats; nothing is lost in silence."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from selfsight.data.notes import doubts
from selfsight.data.request import open_images

from .brought import (
    COUNT,
    PIXELS,
    PLAIN,
    PNGS,
    WRITE,
    each,
    picture,
    png,
    ramp,
    save,
)


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
    no_heif = find_spec("pillow_heif") is None
    if no_heif:
        (tmp_path / "d.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "more.zip").write_bytes(b"PK\x03\x04")
    for hidden in ("@eaDir", "$RECYCLE.BIN", ".thumbs"):
        save(tmp_path / hidden / "x.png", 9)
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    images = open_images(tmp_path, **PLAIN, max_unreadable=0)
    assert set(images.row_ids) == {"a.png", "noname", "odd.image", "IM.000001", "b.jp2", "c.avif"}
    text = " ".join(images.notes)
    lacking = ("d.heic", "selfsight[heif]") if no_heif else ()
    for word in (*lacking, "notes.txt", "more.zip", "@eaDir", "again"):
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
