"""Decoded pixels: in memory where they fit, else once in a memory-mapped file of the cache folder.

Anonymous memory stays within the budget whatever the size of the data: a quarter of the memory of
the machine (or container), or ``$SELFSIGHT_MEMORY`` bytes. A store is named by a fingerprint of
what it was made from, appears only when it is complete, is verified when it is opened and made
again when it is damaged.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.files import read_json, replacing, write_json

VERSION = 1
CHUNK = 64 << 20
VERIFIED = 8 << 30
SHARE = 0.25
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class NoRoom(ValueError):  # noqa: N818 - a finding: who can do without a store goes on
    """The disk of the cache folder has no room for the decoded images."""


Fill = Callable[[NDArray[Any]], dict[str, Any]]
"""Fills an array from its start; says how many rows it filled under ``rows``, and more."""


def cache_folder() -> Path:
    """``$SELFSIGHT_CACHE``, or ``~/.cache/selfsight``."""
    return Path(os.environ.get("SELFSIGHT_CACHE") or Path.home() / ".cache" / "selfsight")


def memory_budget() -> int:
    """Bytes of decoded pixels that are kept in memory: a quarter of it, or ``$SELFSIGHT_MEMORY``.

    Raises:
        ValueError: the variable is no number of bytes (``800M`` and ``2G`` are).
    """
    text = os.environ.get("SELFSIGHT_MEMORY", "").strip()
    if text:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text, re.I)
        if match is None:
            raise ValueError(f"SELFSIGHT_MEMORY: {text!r} is no number of bytes, such as 2G.")
        return int(float(match.group(1)) * UNITS[match.group(2).upper()])
    return int(SHARE * machine_memory())


def fingerprint(parts: Iterable[str]) -> str:
    """16 hexadecimal digits of some text."""
    digest = hashlib.blake2b(f"store {VERSION}\n".encode(), digest_size=8)
    for part in parts:
        digest.update(part.encode("utf-8", "backslashreplace") + b"\n")
    return digest.hexdigest()


def decoded(
    shape: tuple[int, ...], dtype: Any, identity: Callable[[], str], fill: Fill
) -> tuple[NDArray[Any], dict[str, Any]]:
    """An array that ``fill`` has filled, and what it said; memory-mapped if it is large.

    Args:
        shape: ``(N, H, W, C)``; fewer rows may be filled, and only they come back.
        dtype: of the pixels.
        identity: the fingerprint of the sources, asked only for a store.
        fill: see `Fill`.

    Raises:
        NoRoom: the disk is too small.
        ValueError: the cache folder cannot be written.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size <= memory_budget():
        pixels = np.empty(shape, dtype)
        said = fill(pixels)
        return pixels[: said["rows"]], said
    path = cache_folder() / f"{identity()}.npy"
    said = _verified(path) or _built(path, shape, dtype, size, fill)
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped[: said["rows"]], said


def noted(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``make`` says, kept in the cache folder under the name of a fingerprint."""
    path = cache_folder() / f"{name}.noted.json"
    try:
        found: dict[str, Any] = read_json(path)
        if isinstance(found, dict):
            return found
    except ValueError:
        pass
    said = make()
    with contextlib.suppress(OSError):  # without a folder to write to it is made each time
        write_json(path, said)
    return said


def _built(path: Path, shape: tuple[int, ...], dtype: Any, size: int, fill: Fill) -> dict[str, Any]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = os.statvfs(path.parent).f_bavail * os.statvfs(path.parent).f_frsize
        if free < size:
            raise NoRoom(
                f"{path.parent}: the decoded images need {size / 1e9:.1f} GB and there are "
                f"{free / 1e9:.1f} GB free; set SELFSIGHT_CACHE to a larger disk, or a smaller "
                "image size or limit."
            )
        with replacing(path) as temporary:
            mapped = np.lib.format.open_memmap(temporary, "w+", dtype=dtype, shape=shape)
            said = fill(mapped)
            mapped.flush()
            del mapped
            said |= {"bytes": temporary.stat().st_size, "checksums": _checksums(temporary)}
            # The description goes first: without the store it is harmless, never the reverse.
            write_json(path.with_suffix(".json"), said)
    except OSError as error:
        raise ValueError(
            f"{path.parent}: decoded images cannot be kept there ({error.strerror or error}); "
            "set SELFSIGHT_CACHE to a folder that can be written."
        ) from None
    return said


def _verified(path: Path) -> dict[str, Any] | None:
    """What was said when the store was made, or None where it is missing or damaged."""
    try:
        said = read_json(path.with_suffix(".json"))
        whole = path.stat().st_size == said["bytes"]
        good = whole and _checksums(path, said["checksums"]) == said["checksums"]
    except (ValueError, OSError, KeyError, TypeError):
        return None
    return said if good else None


def _checksums(path: Path, known: list[int] | None = None) -> list[int]:
    """CRC-32 of each 64 MiB; of a store above 8 GiB only some are read again (every k-th)."""
    count = -(-path.stat().st_size // CHUNK)
    step = 1 if known is None else max(1, count * CHUNK // VERIFIED)
    sums = [] if known is None else list(known)
    with open(path, "rb") as file:
        for place in range(0, count, step):
            file.seek(place * CHUNK)
            value = zlib.crc32(file.read(CHUNK))
            if known is None:
                sums.append(value)
            else:
                sums[place] = value
    return sums


def machine_memory() -> int:
    """Bytes of memory that this process may use."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(file).read_text()))
        except (OSError, ValueError):
            continue
    return min(limits)
