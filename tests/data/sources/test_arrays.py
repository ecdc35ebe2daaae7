"""Array files: layouts, types, keys, HDF5, and what is never done with them."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsight.data.request import open_images

RANDOM = np.random.default_rng(0)


def notes(images: Any) -> str:
    return " ".join(images.notes)


def test_npy_grey_and_memory_mapped(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (30, 9, 7), dtype=np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    images = open_images(tmp_path / "a.npy")
    assert images.pixels.shape == (30, 9, 7, 1)
    assert isinstance(images.pixels, np.memmap)
    assert (images.pixels[..., 0] == pixels).all()
    assert images.row_ids[4] == "#4"


def test_channels_first_is_guessed_and_said(tmp_path: Path) -> None:
    pixels = RANDOM.normal(size=(6, 8, 20, 21)).astype(np.float32)
    np.save(tmp_path / "a.npy", pixels)
    images = open_images(tmp_path / "a.npy")
    assert images.pixels.shape == (6, 20, 21, 8)
    assert (images.pixels == pixels.transpose(0, 2, 3, 1)).all()
    assert "(N, C, H, W): 8 channels" in notes(images)
    np.save(tmp_path / "b.npy", pixels.transpose(0, 2, 3, 1))
    assert open_images(tmp_path / "b.npy").pixels.shape == (6, 20, 21, 8)


@pytest.mark.parametrize(
    ("given", "top", "wanted", "said"),
    [
        ("float64", 1, "float32", "float64 values were made float32"),
        ("int64", 255, "uint8", "int64 values from"),
        ("int32", 4095, "uint16", "were made uint16"),
        ("int16", -100, "float32", "were made float32"),
        ("bool", 1, "uint8", "Truth values"),
        (">u2", 65535, "uint16", ""),
        ("<f4", 1, "float32", "Values go from"),
    ],
)
def test_types(tmp_path: Path, given: str, top: int, wanted: str, said: str) -> None:
    pixels = (RANDOM.random((5, 8, 8)) * top).round(1 if "f" in given else 0).astype(given)
    pixels[0, 0, 0] = top
    np.save(tmp_path / "a.npy", pixels)
    images = open_images(tmp_path / "a.npy")
    assert images.pixels.dtype == np.dtype(wanted)
    factor = 255 if given == "bool" else 1
    np.testing.assert_allclose(images.pixels[..., 0], pixels.astype(float) * factor, rtol=1e-6)
    assert said in notes(images)


def test_npz_keys(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        images=RANDOM.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8),
        kind=RANDOM.integers(0, 3, 40),
        kind_names=np.array(["a", "b", "c"]),
        mass=RANDOM.normal(size=40),
        groups=np.arange(40) // 4,
        splits=np.array(["train"] * 30 + ["test"] * 10),
        hot=RANDOM.integers(0, 2, (40, 3)),
        other=np.arange(3),
    )
    images = open_images(tmp_path / "a.npz", split_column="splits")
    assert {n: t.kind for n, t in images.targets.items()} == {
        "kind": "class",
        "mass": "number",
        "hot": "labels",
    }
    assert images.targets["kind"].names == ("a", "b", "c")
    assert images.group_name == "groups"
    assert len(images.rows("test")) == 10


def test_npz_with_a_key_for_each_split(tmp_path: Path) -> None:
    def some(count: int) -> np.ndarray:
        return RANDOM.integers(0, 256, (count, 8, 8), dtype=np.uint8)

    np.savez(
        tmp_path / "medical.npz",
        train_images=some(20), train_labels=RANDOM.integers(0, 2, (20, 1)),
        val_images=some(6), val_labels=RANDOM.integers(0, 2, (6, 1)),
        test_images=some(8), test_labels=RANDOM.integers(0, 2, (8, 1)),
    )  # fmt: skip
    images = open_images(tmp_path / "medical.npz")
    assert [len(images.rows(s)) for s in ("train", "validation", "test")] == [20, 6, 8]
    assert images.targets["labels"].kind == "class"
    np.savez(
        tmp_path / "keras.npz",
        x_train=some(9), y_train=np.arange(9) % 3, x_test=some(4), y_test=np.arange(4) % 3,
    )  # fmt: skip
    images = open_images(tmp_path / "keras.npz")
    assert len(images.rows("test")) == 4
    assert images.targets["y"].known.all()


def test_resized(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RANDOM.integers(0, 65536, (5, 30, 40), dtype=np.uint16))
    images = open_images(tmp_path / "a.npy", image_size=16)
    assert images.pixels.shape == (5, 16, 16, 1)
    assert images.pixels.dtype == np.uint16
    assert "(30x40) were resized" in notes(images)


class Dangerous:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    objects = np.array([Dangerous()], dtype=object)
    np.save("a.npy", objects, allow_pickle=True)
    np.savez("a.npz", images=objects)
    Path("b.npy").write_bytes(pickle.dumps(Dangerous()))
    for name in ("a.npy", "a.npz", "b.npy"):
        with pytest.raises(ValueError, match=rf"{name}"):
            open_images(tmp_path / name)
    assert not Path("unpickled").exists()


@pytest.mark.parametrize(
    ("shape", "match"),
    [((10, 784), "has the shape of images"), ((10, 2, 2), "too small"), ((0, 8, 8), "shape")],
)
def test_shapes_that_are_no_images(tmp_path: Path, shape: tuple[int, ...], match: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=match):
        open_images(tmp_path / "a.npy")


def test_damaged_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((9, 8, 8), np.uint8))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:200])
    (tmp_path / "b.npz").write_bytes(b"PK nothing")
    (tmp_path / "c.npy").write_bytes(b"")
    for name in ("a.npy", "b.npz", "c.npy"):
        with pytest.raises(ValueError, match=f"{name} is not a readable array file"):
            open_images(tmp_path / name)


def jets(path: Path, count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Simulated 8-channel calorimeter images of two kinds of jet, with a mass."""
    h5py = pytest.importorskip("h5py")
    kinds = np.arange(count) % 2
    masses = RANDOM.gamma(2.0, 40.0, count).astype(np.float32)
    pixels = RANDOM.exponential(0.01, (count, 125, 125, 8)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file["X_jets"] = pixels
        file["y"] = kinds
        file["mass"] = masses
    return pixels, kinds


def test_hdf5(tmp_path: Path) -> None:
    pixels, kinds = jets(tmp_path / "jets.h5")
    images = open_images(tmp_path / "jets.h5", target="y")
    assert images.pixels.shape == (24, 125, 125, 8)
    assert images.pixels.dtype == np.float32
    assert (images.pixels == pixels).all()
    assert (images.targets["y"].values == kinds).all()
    assert images.targets["mass"].kind == "number"
    some = open_images(tmp_path / "jets.h5", target="y", limit=5)
    assert len(some.pool) == 5
    place = int(some.row_ids[0].split("#")[1])
    assert (some.pixels[0] == pixels[place]).all()


def test_hdf5_never_follows_to_another_file(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    jets(tmp_path / "secret.h5", 4)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "X_jets")
        file["soft"] = h5py.SoftLink("/images")
        (tmp_path / "raw.bin").write_bytes(bytes(4 * 8 * 8))
        file.create_dataset(
            "pixels", (4, 8, 8), "u1", external=[(str(tmp_path / "raw.bin"), 0, 256)]
        )
        layout = h5py.VirtualLayout((4, 125, 125, 8), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "X_jets", (4, 125, 125, 8))
        file.create_virtual_dataset("x", layout)
    with pytest.raises(ValueError, match="no array in it has the shape of images"):
        open_images(tmp_path / "a.h5")


def test_hdf5_without_h5py_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"install selfsight\[hdf5\]"):
        open_images(tmp_path / "a.h5")
