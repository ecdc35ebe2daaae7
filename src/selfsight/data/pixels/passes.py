"""The one pass over images that are decoded anew at each reading: what it finds is kept.

Such a set is larger than the disk, or lies in a store; a command that goes on must not read all of
it again to find what is damaged or there twice.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.content import Content, content_of
from selfsight.data.pixels.store import cache_folder
from selfsight.files import CHECKSUM, replacing

SUFFIX = ".pass.npz"
SAID = "said"
NAMES = tuple(field.name for field in fields(Content))


class ContentSink:
    """Takes decoded images in order, and keeps their `Content` only."""

    def __init__(self) -> None:
        self._parts: list[Content] = []

    def __setitem__(self, place: Any, image: NDArray[Any]) -> None:
        self._parts.append(content_of(image[None]))

    def content(self, empty: NDArray[Any]) -> Content:
        """Of all images.

        Args:
            empty: ``(0, H, W, C)`` pixels, for a set without any.
        """
        parts = self._parts or [content_of(empty)]
        columns = zip(*(tuple(getattr(p, name) for name in NAMES) for p in parts), strict=True)
        return Content(*map(np.concatenate, columns))


def passed(
    name: str, empty: NDArray[Any], fill: Callable[[ContentSink], dict[str, Any]]
) -> tuple[dict[str, Any], Content]:
    """What ``fill`` says of some images, and their content; kept under the name of a fingerprint.

    Args:
        name: differs where images or their form do.
        empty: ``(0, H, W, C)`` pixels of that form.
        fill: decodes the images into a sink, one after the other; see `decode.fill`.
    """
    path = cache_folder() / f"{name}{SUFFIX}"
    kept = _whole(path)
    if kept is not None:
        return kept
    sink = ContentSink()
    said = fill(sink)
    content = sink.content(empty)
    arrays = dict(zip(NAMES, astuple(content), strict=True))
    arrays[SAID] = np.frombuffer(json.dumps(said).encode(), np.uint8)
    arrays[CHECKSUM] = _checksum(arrays)
    with suppress(OSError), replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return said, content


def _whole(path: Path) -> tuple[dict[str, Any], Content] | None:
    """What a file holds; None where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        if (arrays.pop(CHECKSUM) != _checksum(arrays)).any():
            return None
        said: dict[str, Any] = json.loads(arrays.pop(SAID).tobytes())
        return said, Content(**arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _checksum(arrays: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
    digest = hashlib.blake2b(digest_size=16)
    for key, values in sorted(arrays.items()):
        digest.update(f"{key} {values.shape} {values.dtype.str}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return np.frombuffer(digest.digest(), np.uint8)
