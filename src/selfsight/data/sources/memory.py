"""Images that are in memory already, or that a map-style dataset gives one by one."""

from __future__ import annotations

import builtins
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.data.pixels.memmap import picked
from selfsight.data.pixels.plan import chosen_size, resize_notes
from selfsight.data.pixels.resize import resized
from selfsight.data.pixels.store import decoded, fingerprint, memory_budget
from selfsight.data.reading import Asked
from selfsight.data.sources.steps.array_layout import as_pixels
from selfsight.data.sources.steps.listing import Listing, Loaded, Size, evident
from selfsight.data.sources.steps.targets import targets_of

ORDER = 0
"""Asked first: the others take paths and names."""
LABEL = "label"
"""What the second item of a dataset's ``(image, label)`` is called."""


class MapDataset(Protocol):
    """A list of images, a torch ``Dataset``: images, or ``(image, label)``, by their index."""

    def __getitem__(self, index: int, /) -> Any: ...


def name_of_memory(source: Any) -> str:
    """How sentences and settings call it: ``images``, or the class of a dataset."""
    plain = isinstance(source, np.ndarray | builtins.list | tuple) or _is_tensor(source)
    return "images" if plain else type(source).__name__


def opens(source: Any) -> bool:
    """Anything but a path, a name, or an image set."""
    return not isinstance(source, str | Path | ImageSet)


def list(source: Any, asked: Asked) -> Listing:
    """An array, a list of images or a map-style dataset as a source; every row is in train.

    Args:
        source: an array or tensor ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``; a list of
            arrays ``(H, W)`` or ``(H, W, C)``, of tensors ``(H, W)`` or ``(C, H, W)``, or of
            Pillow images, of any sizes; or anything with a length and an index that gives such
            an image, ``(image,)`` or ``(image, label)``, as a torch ``Dataset`` does. A dataset is
            read from end to end once, and again where its images do not fit in memory.

    Raises:
        ValueError: it is none of these, it is empty, or its images differ in type or channels.
    """
    name = name_of_memory(source)
    if _is_tensor(source):
        source = source.detach().cpu().numpy()
    if isinstance(source, np.ndarray) and source.dtype != object:
        return _list_array(source, name, asked)
    length, item = getattr(source, "__len__", None), getattr(source, "__getitem__", None)
    if isinstance(source, dict) or length is None or item is None:
        raise ValueError(
            f"{name}: images are a path, an array, a list of arrays, an image set, or a dataset "
            "that has a length and an index."
        )
    return _list_items(source, name, asked)


def _list_array(array: NDArray[Any], name: str, asked: Asked) -> Listing:
    pixels, notes = as_pixels({name: array}, name, asked)
    whole = pixels.as_it_is

    def load(rows: NDArray[np.int64], size: Size, max_unreadable: float) -> Loaded:
        if whole is not None:
            found = whole if len(rows) == len(whole) else picked(whole, rows)
        else:
            found = np.concatenate([*pixels.chunks(rows, name)])
        found = resized(found, size)
        return Loaded(found, rows, (), evident(pixels.scale, found, asked))

    count = pixels.shape[0]
    return Listing(name, _row_ids(count), _train(count), load, notes=tuple(notes))


@dataclass(frozen=True)
class Items:
    """Images that are read one by one, which look like an array ``(N, H, W, C)`` of one size."""

    read: Callable[[int], NDArray[Any]]
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        out = np.empty((len(range(*rows.indices(len(self)))), *self.shape[1:]), self.dtype)
        for place, row in enumerate(range(*rows.indices(len(self)))):
            image = self.read(row)
            if image.shape[:2] != self.shape[1:3]:
                image = resized(image[None], (self.shape[1], self.shape[2]))[0]
            out[place] = image
        return out


def _list_items(source: Sequence[Any], name: str, asked: Asked) -> Listing:
    count, budget = len(source), memory_budget()
    if not count:
        raise ValueError(f"{name}: it holds no images.")
    kept: Any = []
    labels: Any = []
    sizes: Any = []
    digest, used = hashlib.blake2b(digest_size=8), 0
    first: NDArray[Any] | None = None
    for row in range(count):
        image, label = _image_and_label(source[row], f"{name}#{row}")
        first = image if first is None else first
        if image.dtype != first.dtype or image.shape[2] != first.shape[2]:
            raise ValueError(
                f"{name}#{row}: it has {image.shape[2]} channels of {image.dtype}, and {name}#0 "
                f"has {first.shape[2]} of {first.dtype}; bring all images to one form."
            )
        sizes.append((image.shape[0], image.shape[1]))
        labels.append(label)
        digest.update(np.ascontiguousarray(image).data)
        used += image.nbytes
        if used <= budget:
            kept.append(image)
    assert first is not None
    if used > budget:
        kept.clear()

    def read(row: int) -> NDArray[Any]:
        return kept[row] if kept else _image_and_label(source[row], f"{name}#{row}")[0]

    def load(rows: NDArray[np.int64], size: Size, max_unreadable: float) -> Loaded:
        height, width = chosen_size(Counter(sizes), size, name)
        items = Items(read, (count, height, width, first.shape[2]), first.dtype)
        pixels, notes = as_pixels({name: items}, name, asked, "NHWC")

        def fill(out: NDArray[Any]) -> dict[str, Any]:
            place = 0
            for chunk in pixels.chunks(rows, name):
                out[place : place + len(chunk)] = chunk
                place += len(chunk)
            return {"rows": place}

        shape = (len(rows), *pixels.shape[1:])
        made_of = [
            digest.hexdigest(),
            repr((shape, pixels.scale, pixels.factors)),
            rows.tobytes().hex(),
        ]
        found, _ = decoded(shape, pixels.dtype, partial(fingerprint, made_of), fill)
        return Loaded(found, rows, (*resize_notes(sizes, (height, width)), *notes),
                      evident(pixels.scale, found, asked))  # fmt: skip

    targets, notes = _targets(labels, getattr(source, "classes", None), name)
    return Listing(name, _row_ids(count), _train(count), load, targets, notes=tuple(notes))


def _image_and_label(item: Any, name: str) -> tuple[NDArray[Any], Any]:
    """``(H, W, C)`` and what is said of it, None where nothing is."""
    image, label = item, None
    if isinstance(item, tuple | builtins.list):
        if len(item) not in (1, 2):
            raise ValueError(f"{name}: a dataset gives an image, or an image and its label.")
        image, label = item if len(item) == 2 else (item[0], None)
    tensor = _is_tensor(image)
    values = image.detach().cpu().numpy() if tensor else np.asarray(image)
    if values.ndim == 3 and tensor:
        values = values.transpose(1, 2, 0)
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or 0 in values.shape or values.dtype.kind not in "biuf":
        raise ValueError(
            f"{name}: {values.dtype} of shape {values.shape} is no image; an array is (H, W) or "
            "(H, W, C), a tensor (H, W) or (C, H, W)."
        )
    if values.dtype.kind == "b":
        values = values.astype(np.uint8) * np.uint8(255)
    elif values.dtype.kind == "f":
        values = values.astype(np.float32, copy=False)
    return values, label


def _targets(
    labels: Sequence[Any], names: Sequence[str] | None, source: str
) -> tuple[dict[str, Any], Sequence[str]]:
    import pyarrow as pa

    plain = [value.tolist() if hasattr(value, "tolist") else value for value in labels]
    if all(value is None for value in plain):
        return {}, []
    try:
        column = pa.array(plain)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{source}: its labels cannot be read together: {error}.") from None
    named = {} if names is None else {LABEL: [str(each) for each in names]}
    return targets_of({LABEL: column}, named, LABEL)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "numpy")


def _row_ids(count: int) -> NDArray[np.str_]:
    return np.char.add("#", np.arange(count).astype(str))


def _train(count: int) -> NDArray[np.str_]:
    return np.full(count, "train", "<U10")
