"""Tar shards: samples, targets, splits, an index made once, and members that are not to be read."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selfsight.data.request import open_images
from selfsight.data.settled import settled
from selfsight.data.sources.steps import shard_index
from selfsight.data.sources.steps.shard_files import local_shards


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELFSIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(seed)).save(buffer, "png")
    return buffer.getvalue()


def shard(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def samples(first: int, count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for i in range(first, first + count):
        found[f"{i:04}.png"] = png(i)
        found[f"{i:04}.mask.png"] = png(9999)
        found[f"{i:04}.cls"] = str(i % 2).encode()
        found[f"{i:04}.json"] = json.dumps({"mass": i / 7, "group": f"g{i // 4}"}).encode()
    return found


def test_samples_targets_groups_and_random_access(tmp_path: Path) -> None:
    for number in range(3):
        shard(tmp_path / "set" / f"shard-{number:03}.tar", samples(20 * number, 20))
    images = open_images(tmp_path / "set")
    assert images.pixels.shape == (60, 8, 8, 3)
    assert images.row_ids[21] == "0021.png"
    assert all((images.pixels[row] == pixels(row)).all() for row in (0, 19, 20, 59))
    assert images.targets["cls"].values[:4].tolist() == [0, 1, 0, 1]
    assert images.targets["mass"].kind == "number"
    assert images.group_name == "group"
    lazy = open_images(tmp_path / "set", decode=False)
    assert (lazy.pixels[[59, 3]] == np.stack([pixels(59), pixels(3)])).all()


def test_names_give_splits_and_patterns_choose(tmp_path: Path) -> None:
    shard(tmp_path / "train-000.tar", samples(0, 20))
    shard(tmp_path / "train-001.tar", samples(20, 20))
    shard(tmp_path / "test-000.tar", samples(0, 6))
    images = open_images(tmp_path, validation=0, max_unreadable=0)
    assert [len(images.rows(split)) for split in ("train", "test")] == [40, 6]
    assert images.row_ids[0] == "test-000.tar#0000.png"
    assert len(open_images(tmp_path / "train-*.tar")) == 40
    assert len(open_images(tmp_path / "train-{000..001}.tar")) == 40
    with pytest.raises(ValueError, match=r"there is no .*train-002\.tar"):
        open_images(tmp_path / "train-{000..002}.tar")
    with pytest.raises(ValueError, match="no such file is there"):
        open_images(tmp_path / "other-*.tar")


def test_folders_named_after_splits(tmp_path: Path) -> None:
    shard(tmp_path / "train" / "0.tar", samples(0, 8))
    shard(tmp_path / "test" / "0.tar", samples(8, 4))
    images = open_images(tmp_path, validation=0)
    assert [len(images.rows(split)) for split in ("train", "test")] == [8, 4]


def test_the_index_is_made_once_and_again_when_damaged(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[Path] = []
    real = shard_index._samples

    def counted(file: Path, *rest: Any) -> Any:
        passes.append(file)
        return real(file, *rest)

    monkeypatch.setattr(shard_index, "_samples", counted)
    path = shard(tmp_path / "a.tar", samples(0, 8))
    first, second = open_images(path), open_images(path)
    assert len(passes) == 1
    assert first.fingerprint() == second.fingerprint()
    assert first.notes == second.notes
    (index,) = cache.glob("*.index.parquet")
    index.write_bytes(index.read_bytes()[:50])
    assert open_images(path).fingerprint() == first.fingerprint()
    assert len(passes) == 2


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def test_members_that_lead_elsewhere_are_named_and_nothing_is_written(
    tmp_path: Path, cache: Path
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(99))
    device = tarfile.TarInfo("device.png")
    device.type = tarfile.CHRTYPE
    members = samples(0, 40) | {
        "../escaped.png": png(1),
        str(tmp_path / "absolute.png"): png(2),
        "link.png": link("link.png", str(secret)),
        "hard.png": link("hard.png", "0000.png", tarfile.LNKTYPE),
        "device.png": device,
        "text.png": b"this is no image",
        "empty.png": b"",
        "cut.png": png(3)[:60],
    }
    path = shard(tmp_path / "in" / "a.tar", members)
    before = sorted(tmp_path.rglob("*"))
    images = open_images(path, max_unreadable=0.2)
    assert len(images) == 40
    told = " ".join(images.notes)
    assert "8 unreadable images were skipped" in told
    after = [file for file in tmp_path.rglob("*") if not file.is_relative_to(cache)]
    assert sorted(after) == before
    folder, files = local_shards(path)
    table, _ = shard_index.shard_index(files, folder)
    why = dict(zip(table["__name"].to_pylist(), table["__why"].to_pylist(), strict=True))
    for name in ("../escaped.png", str(tmp_path / "absolute.png")):
        assert why[name] == "a path outside the shard"
    for name in ("link.png", "hard.png"):
        assert why[name] == "a link, which is not followed"
    assert why["device.png"] == "no plain file"
    with pytest.raises(ValueError, match="of 48 images cannot be read, more than the 10%"):
        open_images(path, max_unreadable=0.1)


def test_a_shard_that_is_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", samples(0, 30))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    images = open_images(path)
    assert 10 <= len(images) < 30
    assert "cut off" in " ".join(images.notes)


def test_sentences_for_bad_shards(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(ValueError, match=r"a\.tar is not a readable tar"):
        open_images(tmp_path / "a.tar")
    shard(tmp_path / "b.tar", {"readme.txt": b"hello"})
    with pytest.raises(ValueError, match="no images"):
        open_images(tmp_path / "b.tar")


def test_unlabelled_shards_stream_where_no_disk_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfsight.data.pixels import store
    from selfsight.data.pixels.lazy import LazyPixels

    path = shard(tmp_path / "a.tar", {f"{i}.png": png(i) for i in range(30)} | {"x.png": b""})
    whole = open_images(path)

    def full(*_: Any) -> Any:
        raise store.NoRoom("the disk is full.")

    monkeypatch.setenv("SELFSIGHT_MEMORY", "1K")
    monkeypatch.setattr(store, "_built", full)
    images = open_images(path)
    assert isinstance(images.pixels, LazyPixels)
    assert settled(images) is images
    assert "decoded anew" in " ".join(images.notes)
    assert images.fingerprint() == whole.fingerprint()
    rows = np.array([20, 3, 3])
    assert (np.take(images.pixels, rows, axis=0) == whole.pixels[rows]).all()
