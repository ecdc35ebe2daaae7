"""``hf:owner/name``: through `datasets`, here with a loader that never asks the network."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selfsight.data.request import open_images

datasets = pytest.importorskip("datasets", reason="the extra selfsight[hub] is not installed")


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(seed)).save(buffer, "png")
    return buffer.getvalue()


def part(first: int, count: int, path: str | None = None) -> Any:
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog", "owl"]),
            "tags": datasets.List(datasets.ClassLabel(names=["big", "wet"])),
            "mass": datasets.Value("float32"),
        }
    )
    images = [{"bytes": png(first + i), "path": None} for i in range(count)]
    if path is not None:
        images[0] = {"bytes": None, "path": path}
    rows = {
        "image": images,
        "label": [i % 2 for i in range(count)],
        "tags": [[], [1], [0, 1], None][:4] * (count // 4) + [[]] * (count % 4),
        "mass": [i / 3 for i in range(count)],
    }
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture(autouse=True)
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Replaces the loader; the calls that it got."""
    calls: list[tuple[Any, ...]] = []
    parts = datasets.DatasetDict(train=part(0, 40), test=part(40, 10), extra=part(50, 5))

    def load(name: str, config: str | None = None, streaming: bool = False) -> Any:
        calls.append((name, config, streaming))
        if name == "someone/missing":
            raise FileNotFoundError("Couldn't find 'someone/missing'.\nmore")
        if streaming:
            return datasets.IterableDatasetDict(
                {split: data.to_iterable_dataset(num_shards=2) for split, data in parts.items()}
            )
        return parts

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setenv("SELFSIGHT_CACHE", str(tmp_path / "cache"))
    return calls


def test_splits_targets_and_pixels(loader: list[tuple[Any, ...]]) -> None:
    images = open_images("hf:someone/pets?config=plain", validation=0)
    assert loader == [("someone/pets", "plain", False)]
    assert images.name == "pets"
    assert [len(images.rows(s)) for s in ("train", "test")] == [40, 10]
    assert images.targets["label"].names == ("cat", "dog", "owl")
    assert images.targets["tags"].kind == "labels"
    assert images.targets["tags"].names == ("big", "wet")
    assert images.targets["mass"].kind == "number"
    assert images.row_ids[40] == "test#0"
    assert all((images.pixels[row] == pixels(row)).all() for row in (0, 39, 40, 49))
    assert "Split extra of someone/pets is left out: 5 images." in images.notes


def test_a_stream_is_copied_once(loader: list[tuple[Any, ...]], tmp_path: Path) -> None:
    images = open_images("hf:someone/pets?rows=8", validation=0)
    assert loader == [("someone/pets", None, True)]
    assert [len(images.rows(s)) for s in ("train", "test")] == [8, 8]
    known = {pixels(i).tobytes() for i in range(40)}
    assert all(images.pixels[row].tobytes() in known for row in images.rows("train"))
    kept = sorted(path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir())
    again = open_images("hf:someone/pets?rows=8", validation=0)
    assert again.fingerprint() == images.fingerprint()
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()) == kept


def test_paths_in_the_rows_stay_inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(1))
    parts = datasets.DatasetDict(train=part(0, 40, path=str(secret)))
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: parts)
    images = open_images("hf:someone/pets")
    assert len(images) == 39
    assert "train#0 (a path outside" in " ".join(images.notes)


def test_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"hf:someone/missing: `datasets` cannot load it"):
        open_images("hf:someone/missing")
    with pytest.raises(ValueError, match="did you mean 'rows'"):
        open_images("hf:someone/pets?row=3")
    with pytest.raises(ValueError, match="write hf:owner/name"):
        open_images("hf:someone/pets?rows=many")
    plain = datasets.DatasetDict(train=datasets.Dataset.from_dict({"text": ["a", "b"]}))
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: plain)
    with pytest.raises(ValueError, match=r"none of its columns is an image \(text\)"):
        open_images("hf:someone/texts")
