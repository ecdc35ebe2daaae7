"""The one pass over images that are decoded anew at each reading: what it finds is kept.

Such a set is larger than the disk, or lies in a store; a command that goes on must not read all of
it again to find what is damaged or there twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import astuple, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.pixels.content import Content, content_of
from selfsight.data.pixels.store import cache_folder, fingerprint
from selfsight.files import cached_arrays

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

    def arrays_of_pass() -> dict[str, NDArray[Any]]:
        sink = ContentSink()
        said = np.frombuffer(json.dumps(fill(sink)).encode(), np.uint8)
        return {SAID: said, **dict(zip(NAMES, astuple(sink.content(empty)), strict=True))}

    # The names of what is kept are a part of the file's, so that it is never of another version.
    path = cache_folder() / f"{fingerprint([name, *NAMES])}{SUFFIX}"
    arrays = cached_arrays(path, arrays_of_pass)
    said: dict[str, Any] = json.loads(arrays[SAID].tobytes())
    return said, Content(*(arrays[each] for each in NAMES))
