"""Tar shards in a store: the same set as on this machine, each image once an epoch, and faults."""

from __future__ import annotations

import io
import itertools
import re
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from selfsight.data.loader import Loader
from selfsight.data.pixels import store
from selfsight.data.pixels.lazy import LazyPixels
from selfsight.data.request import open_images
from selfsight.data.sources.steps import shard_files
from selfsight.training.pretrain import pretrain
from selfsight.training.settings import Pretrain

COUNT = 48
_names = itertools.count()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELFSIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shard_files, "PAUSES", (0.0,))
    return tmp_path / "cache"


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise store.NoRoom("the disk is full.")

    monkeypatch.setenv("SELFSIGHT_MEMORY", "1K")
    monkeypatch.setattr(store, "_built", full)


def png(seed: int) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "png")
    return buffer.getvalue()


def tar(numbers: range) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number in numbers:
            members = {f"{number:04}.png": png(number), f"{number:04}.cls": b"%d" % (number % 3)}
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def contents(per_shard: int = 16) -> dict[str, bytes]:
    return {
        f"train-{i:03}.tar": tar(range(first, first + per_shard))
        for i, first in enumerate(range(0, COUNT, per_shard))
    }


@pytest.fixture
def local(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    for name, content in contents().items():
        (tmp_path / "set" / name).write_bytes(content)
    return tmp_path / "set"


@pytest.fixture
def remote() -> Iterator[str]:
    """The folder of the same shards in the store of fsspec that lies in memory."""
    system = fsspec.filesystem("memory")
    folder = f"/bucket{next(_names)}/set"
    for name, content in contents().items():
        system.pipe_file(f"{folder}/{name}", content)
    yield f"memory:/{folder}"
    system.rm(folder, recursive=True)


@pytest.fixture
def requests_of_images(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """How often each range of a shard was asked for."""
    from fsspec.implementations.memory import MemoryFileSystem

    asked: Counter[tuple[str, int]] = Counter()
    plain = MemoryFileSystem.cat_file

    def counted(self: Any, path: str, start: Any = None, end: Any = None, **more: Any) -> bytes:
        asked[path, start] += 1
        content: bytes = plain(self, path, start, end, **more)
        return content

    monkeypatch.setattr(MemoryFileSystem, "cat_file", counted)
    return asked


def same(one: Any, two: Any) -> None:
    assert one.row_ids.tolist() == two.row_ids.tolist()
    assert one.splits.tolist() == two.splits.tolist()
    assert np.array_equal(np.asarray(one.pixels), np.asarray(two.pixels))
    assert one.fingerprint() == two.fingerprint()
    for name, target in one.targets.items():
        assert target.names == two.targets[name].names
        assert np.array_equal(target.values, two.targets[name].values)


@pytest.mark.parametrize("words", ["", "/train-*.tar", "/train-{000..002}.tar"])
def test_a_store_gives_the_set_of_a_folder(local: Path, remote: str, words: str) -> None:
    whole = open_images(local)
    same(open_images(remote + words), whole)
    same(open_images(f"file://{local}{words}"), whole)


def test_one_shard_and_folders_named_after_splits(remote: str) -> None:
    assert len(open_images(f"{remote}/train-001.tar")) == 16
    system = fsspec.filesystem("memory")
    folder = remote.removeprefix("memory:/")
    system.pipe_file(f"{folder}-split/train/000.tar", tar(range(20)))
    system.pipe_file(f"{folder}-split/test/000.tar", tar(range(20, 30)))
    system.pipe_file(f"{folder}-split/other/000.tar", tar(range(30, 40)))
    images = open_images(f"{remote}-split", validation=0.0)
    assert Counter(images.splits.tolist()) == {"train": 20, "test": 10}


class Ranges(BaseHTTPRequestHandler):
    """A web server that knows ranges of bytes, and fails now and then."""

    files: dict[str, bytes]
    fails: Callable[[], bool] = staticmethod(lambda: False)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        content = self.files.get(self.path.lstrip("/"))
        if content is None or (body and self.fails()):
            self.send_error(404 if content is None else 503)
            return
        size = len(content)
        span = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        self.send_response(206 if span else 200)
        if span:
            first, last = int(span[1]), min(int(span[2] or size - 1), size - 1)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            content = content[first : last + 1]
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"one"')
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[tuple[str, type[Ranges]]]:
    pytest.importorskip("aiohttp")
    handler = type("Handler", (Ranges,), {"files": contents()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


def test_a_web_server_many_requests_at_a_time(
    local: Path, web: tuple[str, type[Ranges]], full_disk: None
) -> None:
    address, handler = web
    whole = open_images(local)
    same(open_images(f"{address}/train-{{000..002}}.tar"), whole)
    calls = itertools.count()
    images = open_images(f"{address}/train-{{000..002}}.tar")
    handler.fails = staticmethod(lambda: next(calls) == 2)
    assert np.array_equal(images.pixels[:8], whole.pixels[:8]), "one attempt more is made"
    handler.fails = staticmethod(lambda: True)
    with pytest.raises(ValueError, match=r"train-000.tar: the store cannot be read \(503"):
        images.pixels[:8]


def test_each_image_once_an_epoch_over_all_processes(
    remote: str, full_disk: None, requests_of_images: Counter[tuple[str, int]]
) -> None:
    images = open_images(remote)
    assert isinstance(images.pixels, LazyPixels)
    requests_of_images.clear()
    for rank in range(2):
        loader = Loader(
            [(images.pixels, np.arange(COUNT))],
            torch.arange(COUNT),
            batch_size=8,
            epochs=1,
            seed=0,
            device=torch.device("cpu"),
        )
        loader.rank, loader.world = rank, 2
        assert sum(len(batch.images) for batch in loader) == COUNT // 2
    assert len(requests_of_images) == COUNT
    assert set(requests_of_images.values()) == {1}


def test_what_one_pass_found_is_kept(
    remote: str,
    cache: Path,
    full_disk: None,
    requests_of_images: Counter[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from selfsight.data.sources.steps import listing
    from selfsight.data.statistics import channel_statistics

    monkeypatch.setattr(listing, "MAX_SCANNED", 4)
    monkeypatch.setattr(listing, "SAMPLE", 4)
    rows = np.arange(COUNT)

    def opened() -> tuple[str, Any, int]:
        requests_of_images.clear()
        images = open_images(remote, decode=True)
        found = images.fingerprint(), channel_statistics(images, rows)
        return *found, requests_of_images.total()

    first = opened()
    assert first[2] >= 2 * COUNT, "a pass over the images, and one for the statistics"
    again = opened()
    assert again[:2] == first[:2]
    assert again[2] <= COUNT, "headers only"
    for path in cache.glob("*.pass.npz"):
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 1
        path.write_bytes(content)
    third = opened()
    assert third[:2] == first[:2]
    assert third[2] > again[2], "a damaged file is made again"


def settings(data: str, out: Path) -> Pretrain:
    return Pretrain.model_validate(
        {
            "method": {"name": "simclr", "projector": (16, 8)},
            "data": data,
            "batch_size": 8,
            "epochs": 3,
            "checkpoint_steps": 2,
            "monitor_images": 0,
            "device": "cpu",
            "backbone": "resnet18",
            "network": {"widths": (4, 8), "depths": (1, 1)},
            "out": str(out),
        }
    )


def test_a_stopped_training_goes_on_exactly(
    local: Path, remote: str, tmp_path: Path, full_disk: None
) -> None:
    import lightning.pytorch as pl

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            if module.step == 5:
                raise RuntimeError("stopped here")

    whole = pretrain(settings(str(local), tmp_path / "whole"))
    with pytest.raises(RuntimeError, match="stopped here"):
        pretrain(settings(remote, tmp_path / "stopped"), watching=[Stop()])
    resumed = pretrain(settings(remote, tmp_path / "stopped"))
    one, two = whole.backbone().state_dict(), resumed.backbone().state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_shard_that_changes_is_noticed(remote: str, full_disk: None) -> None:
    images = open_images(remote)
    system = fsspec.filesystem("memory")
    path = remote.removeprefix("memory:/") + "/train-002.tar"
    system.pipe_file(path, system.cat_file(path)[:100])
    with pytest.raises(ValueError, match=r"train-002.tar has changed since it was opened"):
        images.pixels[:]


def test_sentences(remote: str) -> None:
    for url, sentence in {
        "memory://nowhere": "there are no tar shards; from a store only those are read",
        "memory://nowhere.tar": r"there is no .*nowhere.tar",
        f"{remote}/train-{{001..009}}.tar": r"there is no .*train-003.tar",
        "florp://bucket/a.tar": "Protocol not known: florp",
        "s3://bucket/a.tar": "s3fs",
    }.items():
        if "s3fs" in sentence:
            try:
                import s3fs  # noqa: F401
            except ImportError:
                pass
            else:
                continue
        with pytest.raises(ValueError, match=sentence) as caught:
            open_images(url)
        assert str(caught.value).startswith(url), caught.value
    fsspec.filesystem("memory").pipe_file("/bad/a.tar", b"no tar at all" * 100)
    with pytest.raises(ValueError, match=r"a.tar is not a readable tar"):
        open_images("memory://bad/a.tar")
