"""Near-duplicates are found after shifting, JPEG and brightening, and others are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfsight.data.imageset import ImageSet
from selfsight.data.near_duplicates import _best, _lone, near_duplicates
from selfsight.data.request import open_images

Disguise = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def image_set(pixels: np.ndarray) -> ImageSet:
    ids = np.array([f"made#{i}" for i in range(len(pixels))])
    return ImageSet("made", pixels, ids, np.full(len(pixels), "train"))


def textures(count: int, side: int, channels: int, seed: int = 0) -> np.ndarray:
    """Random images with the 1/f spectrum of natural ones and channels that go together, uint8."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)) + 1 / side
    noise = np.fft.fft2(random.normal(size=(count, channels, side, side))) / frequency
    values = np.fft.ifft2(noise).real.transpose(0, 2, 3, 1)
    values = values[..., :1] + 0.3 * values[..., ::-1]
    low = values.min(axis=(1, 2, 3), keepdims=True)
    high = values.max(axis=(1, 2, 3), keepdims=True)
    return ((values - low) / (high - low) * 255).astype(np.uint8)


def disguised(image: np.ndarray, random: np.random.Generator, quality: int = 75) -> np.ndarray:
    """Shifted by up to a sixteenth of the side, re-encoded as JPEG, brighter."""
    margin = max(1, image.shape[0] // 16)
    down, across = random.integers(-margin, margin + 1, 2)
    wide = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    moved = wide[margin + down :, margin + across :][: image.shape[0], : image.shape[1]]
    bright = np.clip(moved * random.uniform(1.1, 1.3), 0, 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(bright.squeeze()).save(buffer, "jpeg", quality=quality)
    return np.asarray(Image.open(buffer)).reshape(image.shape)


def recall(images: np.ndarray, sources: np.ndarray, seed: int = 0) -> tuple[float, int]:
    """Share of disguised copies that are found, and how many pairs have no copy in them."""
    random = np.random.default_rng(seed)
    copies = np.stack([disguised(images[row], random) for row in sources])
    both = np.concatenate([images, copies])
    found = near_duplicates(image_set(both), np.arange(len(both))).rows
    pairs = {(int(a), int(b)) for a, b in found}
    hits = sum((int(row), len(images) + i) in pairs for i, row in enumerate(sources))
    return hits / len(sources), sum(b < len(images) for _, b in pairs)


@pytest.mark.parametrize(("side", "channels"), [(32, 3), (32, 1), (96, 3), (20, 1)])
def test_disguised_copies_are_found_and_nothing_else(side: int, channels: int) -> None:
    share, others = recall(textures(200, side, channels), np.arange(0, 120, 3))
    assert share >= 0.95
    assert others == 0


def test_other_types_and_channels() -> None:
    pixels = np.concatenate([textures(100, 32, 3, seed) for seed in (0, 1)], axis=3)
    pixels = pixels.astype(np.float32) / 1e6
    pixels = np.concatenate([pixels, np.roll(pixels[:10], 1, axis=1) * 1.2])
    found = near_duplicates(image_set(pixels), np.arange(len(pixels)))
    assert {(i, 100 + i) for i in range(10)} == {(int(a), int(b)) for a, b in found.rows}
    assert (found.similarity > 0.9).all()
    assert (np.diff(found.similarity) <= 0).all()


def test_only_the_rows_asked_for() -> None:
    pixels = textures(20, 32, 1)
    pixels[10:] = pixels[:10]
    found = near_duplicates(image_set(pixels), np.array([0, 1, 2, 11, 12, 15]))
    assert sorted(map(tuple, found.rows.tolist())) == [(1, 11), (2, 12)]


def test_tiny_images_and_single_ones() -> None:
    tiny = near_duplicates(image_set(textures(5, 8, 1)), np.arange(5))
    assert "too small" in tiny.notes[0]
    assert not len(near_duplicates(image_set(textures(5, 32, 1)), np.arange(1)).rows)


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image.squeeze()).save(buffer, "jpeg", quality=quality)
    return np.asarray(Image.open(buffer)).reshape(image.shape)


def cropped(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Nine tenths of the side, brought back to full size."""
    side = image.shape[0]
    part = round(0.9 * side)
    down, across = random.integers(0, side - part + 1, 2)
    inside = Image.fromarray(image[down : down + part, across : across + part].squeeze())
    return np.asarray(inside.resize((side, side), Image.Resampling.BICUBIC)).reshape(image.shape)


def marked(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A white box with a black line over 30 x 12 % of the frame."""
    made, side = image.copy(), image.shape[0]
    width, height = int(0.3 * side), max(4, int(0.12 * side))
    down, across = random.integers(0, side - height), random.integers(0, side - width)
    made[down : down + height, across : across + width] = 255
    made[down + height // 2, across + 1 : across + width - 1] = 0
    return made


DISGUISES: dict[str, tuple[float, Disguise]] = {
    "mirrored": (0.95, lambda image, random: image[:, ::-1].copy()),
    "turned by 90 degrees": (0.95, lambda image, random: np.rot90(image).copy()),
    "turned by 180 degrees": (0.95, lambda image, random: np.rot90(image, 2).copy()),
    "upside down": (0.95, lambda image, random: image[::-1].copy()),
    "cropped by a tenth": (0.9, cropped),
    "JPEG of quality 20": (0.95, lambda image, random: compressed(image, 20)),
    "watermark": (0.8, marked),
    "darker": (0.95, lambda image, random: (image * 0.7).astype(np.uint8)),
}
"""What it is called -> the recall to reach, and how it is made."""


def recall_of(images: np.ndarray, disguise: Disguise) -> tuple[float, float]:
    """Recall over all images, and the share of images that got a twin which is not theirs."""
    random = np.random.default_rng(1)
    copies = np.stack([disguise(image, random) for image in images])
    count = len(images)
    own = near_duplicates(image_set(images), np.arange(count)).rows
    known = {(int(a), int(b)) for a, b in own}
    both = np.concatenate([images, copies])
    pairs = {
        (int(a), int(b)) for a, b in near_duplicates(image_set(both), np.arange(2 * count)).rows
    }
    hits = sum((row, row + count) in pairs for row in range(count))
    wrong: set[int] = set()
    for a, b in pairs:
        originals = (min(a % count, b % count), max(a % count, b % count))
        if a % count != b % count and originals not in known:
            wrong |= {a, b}
    return hits / count, len(wrong) / (2 * count)


@pytest.mark.parametrize("name", DISGUISES)
def test_each_disguise_is_seen_through(name: str) -> None:
    least, disguise = DISGUISES[name]
    share, wrong = recall_of(textures(60, 64, 1), disguise)
    assert share >= least
    assert wrong == 0.0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("folder", ["cifar10", "lfw", "xsdd"])
@pytest.mark.parametrize("name", DISGUISES)
def test_recall_on_real_images(name: str, folder: str, shared_data: Path) -> None:
    images = open_images(shared_data / folder)
    rows = np.random.default_rng(0).choice(images.rows("train"), 500, replace=False)
    least, disguise = DISGUISES[name]
    share, wrong = recall_of(np.asarray(images.pixels[np.sort(rows)]), disguise)
    assert share >= least
    assert wrong <= 0.01


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_cifar10(shared_data: Path) -> None:
    images = open_images(shared_data / "cifar10" / "test.parquet", test=0, validation=0)
    natural = near_duplicates(images, np.arange(len(images)))
    assert len(natural.rows) <= 0.01 * len(images)
    sources = np.random.default_rng(1).choice(len(images), 500, replace=False)
    share, others = recall(images.pixels, sources)
    assert share >= 0.95
    assert abs(others - len(natural.rows)) <= 0.001 * len(images)


def test_lone_pairs_need_no_significance_and_crowds_do() -> None:
    """Copies come in pairs; images that resemble many others are no copies for that."""
    pairs = {(0, 1): 0.9, (2, 3): 0.85, (4, 5): 0.7}
    assert _lone(pairs) == {(0, 1), (2, 3)}  # 0.7 is a resemblance
    triple = {(0, 1): 0.9, (0, 2): 0.9, (1, 2): 0.9}
    assert len(_lone(triple)) == 3
    crowd = {(a, b): 0.95 for a in range(6) for b in range(a + 1, 6)}
    assert _lone(crowd) == set()
    assert _lone(crowd | {(10, 11): 0.95}) == set()  # most of the set looks alike


def test_the_best_partners_of_each_other_need_less_than_others() -> None:
    chances = {
        (0, 1): 0.01,
        (1, 2): 0.012,
        (2, 3): 0.014,
        (4, 5): 0.001,
        (5, 6): 0.005,
        (7, 8): 0.1,
    }
    assert _best(chances) == {(0, 1), (4, 5)}  # 1 has a better partner than 2, and 2 than 3
    assert _best({(0, 1): 0.01, (1, 2): 0.01}) == {(0, 1), (1, 2)}  # equally good
