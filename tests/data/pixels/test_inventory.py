"""`selfsight cache`: what it lists, and what it never removes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from selfsight.data.pixels.inventory import Cache, cache, size_text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELFSIGHT_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.npy").write_bytes(b"x" * 2000)
    (own / "b.index.parquet").write_bytes(b"x" * 10)
    old = time.time() - 40 * 86400
    os.utime(own / "b.index.parquet", (old, old))
    (tmp_path / "torch/hub/checkpoints").mkdir(parents=True)
    (tmp_path / "torch/hub/checkpoints/resnet.pth").write_bytes(b"x" * 500)
    (tmp_path / "hf/hub/models--vit/blobs").mkdir(parents=True)
    (tmp_path / "hf/hub/models--vit/blobs/1").write_bytes(b"x" * 300)
    return own


def test_it_lists_stores_and_weights_by_size(folder: Path) -> None:
    found = cache(Cache())
    assert [one.size for one in found.kept] == [2000, 500, 300, 10]
    assert [one.own for one in found.kept] == [True, False, False, True]
    assert found.kept[3].what == "index of shards" and 39 < found.kept[3].days < 41
    assert "2.0 KB in " in str(found) and "models--vit" in str(found)
    assert (folder / "a.npy").exists()


def test_clean_removes_own_stores_alone(folder: Path) -> None:
    found = cache(Cache(clean=True, older_days=30))
    assert [one.path.name for one in found.removed] == ["b.index.parquet"]
    found = cache(Cache(clean=True))
    assert [one.path.name for one in found.removed] == ["a.npy"]
    assert not list(folder.iterdir()) and len(found.kept) == 2
    assert all(one.path.exists() for one in found.kept)
    assert "Removed 1 store, 2.0 KB" in str(found)


def test_no_cache_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFSIGHT_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert cache(Cache(clean=True)).kept == ()


def test_sizes() -> None:
    assert [size_text(n) for n in (12, 1536, 2.5e8, 7e9)] == ["12 B", "1.5 KB", "250 MB", "7.0 GB"]
