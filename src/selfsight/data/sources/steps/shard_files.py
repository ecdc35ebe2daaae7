"""Tar shards where they lie: in a folder of this machine, or in a store that fsspec reads."""

from __future__ import annotations

import re
import tarfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any, BinaryIO

from selfsight.data.sources.steps.listing import file_identity
from selfsight.data.sources.steps.split_names import SPLIT_OF

SUFFIX = ".tar"
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
SCHEME = "://"
BLOCK = 8 << 20
"""Bytes that one request asks for while headers are read in order."""
AT_ONCE = 32
"""Requests that are under way together, where a file system has no queue of its own."""
PAUSES = (1.0, 4.0, 16.0)
"""Seconds between the attempts of a request that failed."""
STAMPS = (
    *("size", "ETag", "etag", "LastModified", "last_modified", "mtime", "created", "generation"),
    *("md5", "md5Hash", "checksum", "content_md5", "blob_id", "xet_hash"),
)
"""What stores tell of a file that changes with its content."""


@dataclass(frozen=True)
class ShardFile:
    """One shard.

    Attributes:
        place: path, or URL.
        short: its name below the folder that all shards lie in.
        size: bytes.
        identity: text that changes when the shard does.
    """

    place: str
    short: str
    size: int
    identity: str

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The shard as a binary file, for reading in order."""
        if not is_url(self.place):
            with open(self.place, "rb") as file:
                yield file
            return
        system, path = _system(self.place)
        with (
            _sentence(self.place),
            system.open(path, "rb", block_size=BLOCK, cache_type="readahead") as remote,
        ):
            yield remote


def is_url(path: str | Path) -> bool:
    """``s3://bucket/set``, ``hf://datasets/owner/name``, ``https://...``, ``memory://...``."""
    return SCHEME in str(path)


def is_pattern(path: str | Path) -> bool:
    """``shards-*.tar`` or ``shards-{000..012}.tar``."""
    text = str(path)
    return text.lower().endswith(SUFFIX) and (has_magic(text) or bool(BRACES.search(text)))


def shards_in(path: Path) -> Sequence[Path]:
    """The shards of a folder, in it or in folders named after splits."""
    if not path.is_dir():
        return []
    return sorted(path.glob("*.tar")) or sorted(
        file for file in path.glob("*/*.tar") if file.parent.name.lower() in SPLIT_OF
    )


def local_shards(path: Path) -> tuple[str, list[ShardFile]]:
    """The folder that the shards of a path lie in, and the shards.

    Raises:
        ValueError: there is none, or one of a numbered pattern is missing.
    """
    text = str(path)
    names = _numbered(text)
    missing = next((name for name in names if not Path(name).is_file()), None)
    if missing:
        raise ValueError(f"{path}: there is no {missing}.")
    files: Sequence[Path] = [Path(name) for name in names]
    if not files:
        files = [path] if path.is_file() else shards_in(path) or sorted(map(Path, glob(text)))
    if not files:
        raise ValueError(f"{path}: no such file is there.")
    folder = files[0].parent if len({file.parent for file in files}) == 1 else files[0].parents[1]
    shards = [
        ShardFile(
            str(file),
            file.relative_to(folder).as_posix(),
            file.stat().st_size,
            file_identity(file),
        )
        for file in files
    ]
    return str(folder), shards


def remote_shards(url: str) -> tuple[str, list[ShardFile]]:
    """The folder in a store that the shards of a URL lie in, and the shards.

    Raises:
        ValueError: there is none, one of a numbered pattern is missing, or the store cannot be
            read.
    """
    system, path = _system(url)
    with _sentence(url):
        if names := _numbered(path):
            with ThreadPoolExecutor(AT_ONCE) as pool:
                infos = dict(zip(names, pool.map(system.info, names), strict=True))
        elif has_magic(path):
            infos = system.glob(path, detail=True)
        elif path.lower().endswith(SUFFIX):
            infos = {path: system.info(path)}
        else:
            infos = system.find(path, maxdepth=2, detail=True)
    paths = sorted(name for name in infos if name.lower().endswith(SUFFIX))
    folders = {name.rpartition("/")[0] for name in paths}
    if len(folders) > 1 and not names and not has_magic(path):
        top = path.rstrip("/")
        paths = [name for name in paths if name.rpartition("/")[0] == top] or [
            name for name in paths if name.split("/")[-2].lower() in SPLIT_OF
        ]
        folders = {name.rpartition("/")[0] for name in paths}
    if not paths:
        raise ValueError(
            f"{url}: there are no tar shards; from a store only those are read. Write images into "
            "shards (WebDataset), or copy the set to this machine."
        )
    folder = folders.pop() if len(folders) == 1 else paths[0].rsplit("/", 2)[0]
    shards = []
    for name in paths:
        info = infos[name]
        stamps = {key: str(info[key]) for key in STAMPS if info.get(key) is not None}
        place = system.unstrip_protocol(name)
        short = name.removeprefix(folder).lstrip("/")
        shards.append(ShardFile(place, short, int(info["size"]), f"{place} {stamps}"))
    return system.unstrip_protocol(folder or "/"), shards


def _numbered(text: str) -> list[str]:
    """The names that ``{000..012}`` stands for; none where there are no braces."""
    braces = BRACES.search(text)
    if not braces:
        return []
    first, last = braces.groups()
    return [
        text[: braces.start()] + f"{n:0{len(first)}}" + text[braces.end() :]
        for n in range(int(first), int(last) + 1)
    ]


def ranges(shards: Sequence[ShardFile], spans: Sequence[tuple[int, int, int]]) -> list[bytes]:
    """Bytes of some shards, in the order of the spans.

    Args:
        shards: all of a set.
        spans: (number of the shard, first byte, bytes), best in order.

    Raises:
        ValueError: a shard cannot be read after several attempts, or is shorter than it was.
    """
    if not spans:
        return []
    if not is_url(shards[spans[0][0]].place):
        return _local_ranges(shards, spans)
    system, _ = _system(shards[0].place)
    contents: list[Any] = [None] * len(spans)
    missing = list(range(len(spans)))
    for pause in (0.0, *PAUSES):
        time.sleep(pause)
        some = _asked(system, shards, [spans[i] for i in missing])
        for i, content in zip(missing, some, strict=True):
            contents[i] = content
        missing = [i for i in missing if isinstance(contents[i], Exception)]
        if not missing or isinstance(contents[missing[0]], FileNotFoundError | PermissionError):
            break
    for (shard, _, size), content in zip(spans, contents, strict=True):
        if isinstance(content, Exception):
            with _sentence(shards[shard].place):
                raise content
        if len(content) != size:
            raise ValueError(f"{shards[shard].place} has changed since it was opened.")
    return contents


def _local_ranges(
    shards: Sequence[ShardFile], spans: Sequence[tuple[int, int, int]]
) -> list[bytes]:
    contents = []
    number, file = -1, None
    try:
        for shard, first, size in spans:
            if shard != number or file is None:
                if file is not None:
                    file.close()
                number, file = shard, open(shards[shard].place, "rb")  # noqa: SIM115
            file.seek(first)
            contents.append(file.read(size))
    finally:
        if file is not None:
            file.close()
    return contents


def _asked(
    system: Any, shards: Sequence[ShardFile], spans: Sequence[tuple[int, int, int]]
) -> list[Any]:
    """Bytes of each span, or the error that came instead; many requests at a time."""
    paths = [system._strip_protocol(shards[shard].place) for shard, _, _ in spans]
    firsts = [first for _, first, _ in spans]
    lasts = [first + size for _, first, size in spans]
    if system.async_impl:
        found: list[Any] = system.cat_ranges(paths, firsts, lasts, on_error="return")
        return found

    def one(path: str, first: int, last: int) -> Any:
        try:
            return system.cat_file(path, first, last)
        except Exception as error:  # each store has errors of its own
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, paths, firsts, lasts))


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it; asked anew in each process.

    Raises:
        ValueError: there is no such protocol, or its package is not installed.
    """
    from fsspec.core import url_to_fs

    with _sentence(url):
        system, path = url_to_fs(url)
        return system, str(path)


@contextmanager
def _sentence(url: str) -> Iterator[None]:
    """Errors of a store as a sentence that names the URL."""
    try:
        yield
    except tarfile.TarError:
        raise
    except FileNotFoundError as error:
        raise ValueError(f"{url}: there is no {error.filename or error}.") from None
    except ImportError as error:
        raise ValueError(f"{url}: {str(error).rstrip('.')}.") from None
    except PermissionError as error:
        raise ValueError(
            f"{url}: the store refuses it ({str(error).rstrip('.')}); check your credentials."
        ) from None
    except Exception as error:  # each store has errors of its own
        text = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise ValueError(f"{url}: the store cannot be read ({text}).") from None
