"""The door: what it opens and keeps, and which leaks stop it, are dropped, or are allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsight.data import request
from selfsight.data.imageset import ImageSet, Scale
from selfsight.data.leaks import Seen
from selfsight.data.options import Data, DataOptions
from selfsight.data.pixels.values import ValueScale
from selfsight.data.pool import open_pool
from selfsight.data.request import open_images
from selfsight.data.sides import Sides


def noise(count: int, side: int = 8, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (count, side, side, channels)
    return np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8)


@pytest.fixture
def leaking() -> ImageSet:
    """Twelve images; a test image is in train too, and group 77 stands on two sides."""
    pixels = noise(12)
    pixels[10] = pixels[2]
    splits = np.array(["train"] * 6 + ["validation"] * 3 + ["test"] * 3)
    groups = np.arange(12)
    groups[[4, 7]] = 77
    ids = np.array([f"{i}.png" for i in range(12)])
    return ImageSet("made", pixels, ids, splits, groups=groups, group_name="coil")


def leaky_npz(folder: Path) -> Path:
    """60 images of three classes; the first five of train are test images too."""
    x, y = noise(60), np.arange(60) % 3
    x[40:45] = x[:5]
    path = folder / "leaky.npz"
    np.savez(path, train_images=x[:40], train_labels=y[:40], test_images=x[40:], test_labels=y[40:])
    return path


def test_a_leak_stops(leaking: ImageSet) -> None:
    with pytest.raises(ValueError, match=r"made leaks across its splits.*--drop-leaks") as caught:
        request.open(DataOptions(), leaking)
    assert "2.png" in str(caught.value)
    assert "coil" in str(caught.value)


def test_dropping_takes_the_train_copies(leaking: ImageSet) -> None:
    kept = request.open(DataOptions(drop_leaks=True), leaking)
    assert kept.leaks == ()
    assert sorted(set(leaking.row_ids) - set(kept.row_ids)) == ["2.png", "4.png"]
    again = request.open(DataOptions(), kept)
    assert again.row_ids.tolist() == kept.row_ids.tolist()


def test_allowing_says_each(leaking: ImageSet) -> None:
    kept = request.open(DataOptions(allow_leaks=True), leaking)
    assert len(kept) == 12
    assert len(kept.leaks) == 2
    with pytest.raises(ValueError, match="leaks across"):  # allowed once is not allowed for good
        request.open(DataOptions(), kept)


def test_a_file_leaks_like_a_set(tmp_path: Path) -> None:
    path = leaky_npz(tmp_path)
    with pytest.raises(ValueError, match="leaky leaks across its splits"):
        request.open(Data(data=str(path)))
    assert len(request.open(Data(data=str(path), drop_leaks=True)).rows("train")) < 40
    looked_at = open_images(path)  # to look at: what leaks is said, and a verb refuses it
    assert len(looked_at.leaks) == 5
    with pytest.raises(ValueError, match="leaky leaks across its splits"):
        open_images(path, allow_leaks=False)


def test_a_set_that_was_opened_so_comes_back_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, noise(40))
    settings = Data(data=str(path), tile=8, limit=20)
    images = request.open(settings)
    assert request.open(settings, images) is images
    other = images.changed(splits=np.roll(images.splits, 1))
    assert request.open(settings, other) is not other
    tiled = request.open(settings.updated({"seed": 3}), images)
    assert tiled.row_ids.tolist() == images.row_ids.tolist()  # tiles are not cut again


def test_a_pool_holds_no_test_images(leaking: ImageSet) -> None:
    images = request.open(DataOptions(drop_leaks=True), leaking)
    splits = np.full(12, "unlabelled")
    pool = replace(leaking, name="pool", splits=splits, groups=None, group_name=None)
    with pytest.raises(ValueError, match="pool pool: 7 of its images"):
        open_pool(DataOptions(), pool, images)
    dropped = open_pool(DataOptions(drop_leaks=True), pool, images)
    assert dropped.left_out == 7
    assert dropped.rows.tolist() == [0, 1, 3, 4, 5]
    allowed = open_pool(DataOptions(allow_leaks=True), pool, images)
    assert len(allowed.rows) == 12
    assert allowed.leaks == ("pool pool: 7 of its images are validation or test images of made.",)


def test_blank_images_leak_nothing(leaking: ImageSet) -> None:
    pixels = leaking.pixels.copy()
    pixels[[0, 9]] = 255
    images = request.open(DataOptions(drop_leaks=True), replace(leaking, pixels=pixels))
    assert "0.png" in images.row_ids
    white = ImageSet("white", pixels[:1], np.array(["w"]), np.array(["unlabelled"]))
    assert open_pool(DataOptions(), white, images).rows.tolist() == [0]


class Pairs:
    """A map-style dataset, as torch's are."""

    def __init__(self, images: Any, labels: Any = None, classes: Any = None) -> None:
        self.images, self.labels = images, labels
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Any:
        if row >= len(self.images):
            raise IndexError
        return self.images[row] if self.labels is None else (self.images[row], self.labels[row])


def tensors(x: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy())


def dataset(x: np.ndarray) -> Any:
    from torch.utils.data import TensorDataset

    return TensorDataset(tensors(x))


SOURCES: dict[str, Callable[[np.ndarray], Any]] = {
    "an array": lambda x: x,
    "channels first": lambda x: x.transpose(0, 3, 1, 2),
    "a tensor": tensors,
    "a list of arrays": list,
    "a list of tensors": lambda x: list(tensors(x)),
    "a dataset of images": Pairs,
    "a dataset of tuples of one": dataset,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_in_memory_goes_through_the_same_door(kind: str) -> None:
    x = noise(50)
    images = open_images(SOURCES[kind](x))
    assert (np.asarray(images.pixels) == x).all()
    assert (len(images.rows("test")), len(images.rows("validation"))) == (10, 4)
    assert len(set(images.row_ids.tolist())) == 50
    twice = request.open(DataOptions(limit=20), SOURCES[kind](np.concatenate([x, x])))
    assert twice.leaks == ()  # a cut of ours parts no copies


def test_a_dataset_gives_labels() -> None:
    x, y = noise(60), [("cat", "dog", "owl")[i % 3] for i in range(60)]
    images = open_images(Pairs(x, y))
    target = images.targets["label"]
    assert [target.names[v] for v in target.values] == y
    assert len(images.rows("test")) == 12
    named = open_images(Pairs(x, [i % 3 for i in range(60)], classes=["cat", "dog", "owl"]))
    assert named.targets["label"].names == ("cat", "dog", "owl")
    numbers = open_images(Pairs(x, np.linspace(0.1, 1.7, 60)))
    assert numbers.targets["label"].kind == "number"
    unknown = open_images(Pairs(x, [None if i % 2 else "ab"[i % 4 // 2] for i in range(60)]))
    assert int(unknown.targets["label"].known.sum()) == 30


def test_torchs_own_datasets(tmp_path: Path) -> None:
    import torch
    from torch.utils.data import Subset, TensorDataset

    x = noise(40)
    whole = TensorDataset(tensors(x), torch.arange(40) % 4)
    images = open_images(whole)
    assert images.name == "TensorDataset" and (images.pixels == x).all()
    assert images.targets["label"].values.tolist() == [i % 4 for i in range(40)]
    part = open_images(Subset(whole, [5, 7, 9]), validation=0, test=0)
    assert (part.pixels == x[[5, 7, 9]]).all()
    with pytest.raises(ValueError, match="an image, or an image and its label"):
        open_images(TensorDataset(tensors(x), torch.arange(40), torch.arange(40)))


def test_a_list_of_many_sizes_becomes_one() -> None:
    random = np.random.default_rng(0)
    sizes = [(20 + i, 30, 3) for i in range(10)]
    several = [random.integers(0, 255, size).astype(np.uint8) for size in sizes]
    images = open_images(several)
    assert images.height == images.width == 24
    assert "10 sizes" in " ".join(images.notes)
    assert open_images(several, image_size=16).height == 16
    floats = open_images([a.astype(np.float64) / 255 for a in several], image_size=16)
    assert floats.pixels.dtype == np.float32


def test_a_dataset_too_large_for_memory_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFSIGHT_MEMORY", "2000")
    monkeypatch.setenv("SELFSIGHT_CACHE", str(tmp_path / "cache"))
    x = noise(40)
    images = open_images(Pairs(x, [i % 2 for i in range(40)]))
    assert isinstance(images.pixels, np.memmap)
    assert (np.asarray(images.pixels) == x).all()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (np.zeros((3, 4)), r"images: pixels of shape \(3, 4\)"),
        ([], "it holds no images"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 1), np.uint8)], "images#1: it has 1"),
        ([np.zeros((8, 8)), np.zeros((8, 8), np.uint8)], "images#1: it has 1 channels of uint8"),
        (["a.png", "b.png"], "images#0: .* is no image"),
        ({"a": 1}, "images are a path, an array"),
        (Pairs(noise(4), ["a", 1, "b", 2]), "its labels cannot be read"),
        (7, "images are a path"),
    ],
    ids=["shape", "empty", "channels", "types", "paths", "a dict", "labels", "a number"],
)
def test_sentences_for_what_is_no_image(source: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        open_images(source)


def test_options_of_an_open_set(leaking: ImageSet) -> None:
    given = DataOptions(drop_leaks=True, group="coil")
    assert request.open(given, leaking).group_name == "coil"
    with pytest.raises(ValueError, match="group 'board': made is open already"):
        request.open(given.updated({"group": "board"}), leaking)
    with pytest.raises(ValueError, match="there is no setting 'tiles'; did you mean 'tile'"):
        open_images(leaking, tiles=8)


def test_recorded_sides_are_taken_by_row_id(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=noise(40), label=np.arange(40) % 2)
    before = request.open(Data(data=str(path)))
    ids = before.row_ids[::-1]
    splits = np.where(np.arange(40) < 30, "train", "test")
    sides = Sides("runs/a", ids, splits, np.arange(40) // 2, "board", before.fingerprint())
    after = request.open(Data(data=str(path), test=0.5, seed=7), sides=sides)
    assert after.splits.tolist() == splits[::-1].tolist()
    assert after.group_name == "board" and after.groups is not None
    assert after.groups.tolist() == (np.arange(40) // 2)[::-1].tolist()
    fewer = replace(sides, row_ids=ids[:30], splits=splits[:30], groups=None, fingerprint=None)
    some = request.open(Data(data=str(path)), sides=fewer)
    assert len(some) == 30
    assert "10 images have no split in runs/a and are left out." in some.notes
    with pytest.raises(ValueError, match="not those that runs/a was trained on"):
        request.open(Data(data=str(path)), sides=replace(sides, fingerprint="0" * 16))


def test_a_scale_is_what_values_are_brought_to(tmp_path: Path) -> None:
    np.save(tmp_path / "grey.npy", noise(10, 12, 1)[..., 0])
    unsaid = Scale("runs/a", 8, 8, 3, "uint16")
    with pytest.raises(ValueError, match=r"grey.npy: .* 8 bits, and runs/a has uint16 of no"):
        request.open(Data(data=str(tmp_path / "grey.npy")), scale=unsaid)
    scale = replace(unsaid, values=ValueScale.of("uint16", 16))
    images = request.open(Data(data=str(tmp_path / "grey.npy")), scale=scale)
    assert images.scale.form == scale.form
    with pytest.raises(ValueError, match="image_size 12: runs/a takes images of 8x8"):
        request.open(Data(data=str(tmp_path / "grey.npy"), image_size=12), scale=scale)


def seen_of(images: ImageSet, seen: list[int], labelled: list[int]) -> Seen:
    digests = images.content.digests
    return Seen("runs/a", images.scale, digests[seen], digests[labelled])


def plain(count: int = 20) -> ImageSet:
    """Ten train and ten test images."""
    splits = np.where(np.arange(count) < count // 2, "train", "test")
    ids = np.array([f"{i}.png" for i in range(count)])
    return ImageSet("other", noise(count), ids, splits)


def test_test_images_that_were_trained_on_with_their_label_stop() -> None:
    images = plain()
    seen = (seen_of(images, [0, 11, 12, 13, 14], [0, 11, 12, 13, 14]),)
    with pytest.raises(ValueError, match=r"other: runs/a was trained on 4 of the 10 test") as error:
        request.open(DataOptions(), images, seen=seen)
    assert "11.png, 12.png, 13.png and 1 more" in str(error.value)
    dropped = request.open(DataOptions(drop_leaks=True), images, seen=seen)
    assert len(dropped.rows("test")) == 6 and len(dropped.rows("train")) == 10
    allowed = request.open(DataOptions(allow_leaks=True), images, seen=seen)
    assert len(allowed) == 20 and len(allowed.leaks) == 1 and allowed.cautions == ()


def test_those_that_were_trained_on_without_it_are_said() -> None:
    images = plain()
    seen = (seen_of(images, [0, 1, 15, 16], [0, 1]),)
    warned = request.open(DataOptions(), images, seen=seen)
    assert len(warned) == 20 and warned.leaks == ()
    (caution,) = warned.cautions
    assert "runs/a was trained on 2 of the 10 test images of other, without their labels" in caution
    assert len(request.open(DataOptions(drop_leaks=True), images, seen=seen).rows("test")) == 8
    clean = request.open(DataOptions(), images, seen=(seen_of(images, [0, 1], [0, 1]),))
    assert clean.cautions == () and clean.leaks == ()
    every = (seen_of(images, list(range(20)), []),)
    with pytest.raises(ValueError, match="runs/a was trained on every test image"):
        request.open(DataOptions(drop_leaks=True), images, seen=every)


def test_what_was_seen_in_another_form_is_found_in_that_form(tmp_path: Path) -> None:
    """The ancestor took smaller images; the source is read once more, in its form."""
    pixels = np.random.default_rng(3).integers(0, 255, (30, 16, 16, 3)).astype(np.uint8)
    path = tmp_path / "a.npz"
    np.savez(path, images=pixels, label=np.arange(30) % 2)
    small = request.open(Data(data=str(path), image_size=8))
    seen = (seen_of(small, small.rows("test").tolist()[:3], []),)
    large = request.open(Data(data=str(path)), seen=seen)
    assert large.height == 16
    assert "trained on 3 of the" in large.cautions[0]
