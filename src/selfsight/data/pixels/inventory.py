"""The verb `cache`: what is kept on this machine, how large it is, and how it is removed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from selfsight.console import counted
from selfsight.data.pixels.store import cache_folder
from selfsight.settings import Settings


class Cache(Settings):
    """List what is kept on this machine: decoded images, copies of streamed data sets, indexes of
    shards, and weights that other libraries have downloaded. `--clean` removes the first three,
    which are made again when they are needed.
    """

    clean: bool = False
    """Remove the stores of selfsight; downloaded weights stay, other programs share them."""
    older_days: Annotated[float, Field(ge=0.0)] = 0.0
    """With --clean: only what no command has read for this many days."""


class Kept(NamedTuple):
    """A file or folder.

    Attributes:
        path: of it.
        what: it holds.
        size: bytes.
        days: since it was last read.
        own: whether selfsight made it.
    """

    path: Path
    what: str
    size: int
    days: float
    own: bool


@dataclass(frozen=True)
class Inventory:
    """What is kept, the largest first.

    Attributes:
        kept: what is there now.
        removed: what was there before.
    """

    kept: tuple[Kept, ...]
    removed: tuple[Kept, ...] = ()

    def __str__(self) -> str:
        lines = [
            f"{size_text(one.size):>9}  {one.days:5.0f} days  {one.what:<22}  {one.path}"
            for one in self.kept
        ]
        own = sum(one.size for one in self.kept if one.own)
        lines.append(f"{size_text(own)} in {cache_folder()}; --clean removes it.")
        if self.removed:
            freed = size_text(sum(one.size for one in self.removed))
            lines.append(f"Removed {counted(len(self.removed), 'store')}, {freed}.")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{size_text(one.size)}</td><td>{escape(one.what)}</td>"
            f"<td>{escape(str(one.path))}</td></tr>"
            for one in self.kept
        )
        return f"<table>{rows}</table>"

    def plain(self) -> dict[str, Any]:
        return {
            "folder": str(cache_folder()),
            "kept": [one._asdict() for one in self.kept],
            "removed": [one._asdict() for one in self.removed],
        }


def cache(settings: Cache) -> Inventory:
    """Lists the stores and the downloaded weights; removes stores where that is asked for.

    Returns:
        What is kept, and what was removed.

    Raises:
        ValueError: a store cannot be removed.
    """
    own = list(_own())
    gone = [one for one in own if settings.clean and one.days >= settings.older_days]
    for one in gone:
        try:
            if one.path.is_dir():
                shutil.rmtree(one.path)
            else:
                one.path.unlink(missing_ok=True)
        except OSError as error:
            raise ValueError(f"cache {one.path}: {error.strerror or error}.") from None
    left = [one for one in [*own, *_weights()] if one not in gone]
    return Inventory(tuple(sorted(left, key=lambda one: -one.size)), tuple(gone))


def size_text(size: float) -> str:
    """``1536`` -> ``1.5 KB``."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _own() -> Iterator[Kept]:
    folder = cache_folder()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        yield _kept(path, _what(path.name), own=True)


def _what(name: str) -> str:
    if name.endswith(".index.parquet"):
        return "index of shards"
    if name.endswith(".parquet"):
        return "copy of a data set"
    return "decoded images" if name.endswith(".npy") else "notes"


def _weights() -> Iterator[Kept]:
    """Weights in the folders of torch.hub and of Hugging Face, found without importing them."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch_home = Path(os.environ.get("TORCH_HOME") or home / "torch") / "hub" / "checkpoints"
    hub = os.environ.get("HF_HUB_CACHE")
    hub_folder = Path(hub or Path(os.environ.get("HF_HOME") or home / "huggingface") / "hub")
    for folder, pattern in ((torch_home, "*"), (hub_folder, "models--*")):
        for path in sorted(folder.glob(pattern)) if folder.is_dir() else ():
            yield _kept(path, "downloaded weights", own=False)


def _kept(path: Path, what: str, *, own: bool) -> Kept:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    size, last = 0, 0.0
    for file in files:
        status = file.lstat()
        size += status.st_size
        last = max(last, status.st_atime, status.st_mtime)
    days = max(0.0, time.time() - last) / 86400 if files else 0.0
    return Kept(path, what, size, days, own)
