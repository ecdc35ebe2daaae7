"""Pixel arrays brought to a size, a number of channels and a value scale, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsight.data.imageset import ImageSet
from selfsight.data.pixels.form import grey
from selfsight.data.pixels.memmap import picked, rows_at_once
from selfsight.data.pixels.resize import resized
from selfsight.data.pixels.store import decoded, fingerprint
from selfsight.data.pixels.values import (
    ValueScale,
    conversion,
    converted,
    declared,
    fill_nodata,
)
from selfsight.data.reading import Asked, ReadOptions
from selfsight.data.sources.steps.listing import Listing, Loaded, Size, evident

CHUNK = 256
"""Images that are made grey at once."""


@dataclass(frozen=True)
class ArrayPixels:
    """Arrays one after the other as ``(N, H, W, C)`` of one type, read a chunk at a time.

    Attributes:
        parts: arrays or HDF5 datasets of the same shape but for their length.
        axes: of each, an order of N, H, W and C.
        shape: ``(N, H, W, C)``.
        scale: of the values, with the type that they are brought to.
        factors: (factor, shift) of each part.
        nodata: see `fill_nodata`.
    """

    parts: Sequence[Any]
    axes: str
    shape: tuple[int, int, int, int]
    scale: ValueScale
    factors: Sequence[tuple[float, float]]
    nodata: str | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.scale.dtype)

    def chunks(self, rows: NDArray[np.int64], source: str) -> Iterator[NDArray[Any]]:
        """The (ascending) rows, converted, in order.

        Raises:
            ValueError: values that the type does not hold, in a file beside a run.
        """
        start, place = 0, self.axes.index("N")
        for part, factor in zip(self.parts, self.factors, strict=True):
            count = part.shape[place]
            inside = rows[(rows >= start) & (rows < start + count)] - start
            start += count
            # Whole chunks of an HDF5 file, which are decompressed whole.
            size = max(rows_at_once(part), (getattr(part, "chunks", None) or (1,) * 4)[place])
            for first in range(0, count, size):
                chosen = inside[(inside >= first) & (inside < first + size)] - first
                if len(chosen):
                    some = slice(first, first + size)
                    here = (*(slice(None),) * place, some) if place else some
                    try:
                        yield self._converted(np.asarray(part[here]), chosen, factor)
                    except ValueError as error:
                        raise ValueError(f"{source}: {error}.") from None

    def _converted(
        self, values: NDArray[Any], chosen: NDArray[np.int64], factor: tuple[float, float]
    ) -> NDArray[Any]:
        values = channels_last(values, self.axes)[chosen]
        if values.dtype.kind == "b":
            values = values.astype(np.uint8) * np.uint8(255)
        if self.nodata is not None:
            values = np.stack([fill_nodata(image, self.nodata) for image in values])
        return np.ascontiguousarray(converted(values, self.dtype, *factor))

    @property
    def as_it_is(self) -> NDArray[Any] | None:
        """The memory-mapped file itself where nothing has to be converted."""
        part: Any = self.parts[0]
        plain = isinstance(part, np.ndarray) and part.dtype == self.dtype
        same = tuple(self.factors) == ((1.0, 0.0),) and self.nodata is None
        if not plain or not same or self.axes not in ("NHW", "NHWC"):
            return None
        whole: NDArray[Any] = part[..., None] if part.ndim == 3 else part
        return whole


def channels_last(values: NDArray[Any], axes: str) -> NDArray[Any]:
    """An array with these axes as ``(N, H, W, C)``."""
    values = values.transpose([axes.index(axis) for axis in "NHWC" if axis in axes])
    return values[..., None] if values.ndim == 3 else values


def array_loader(
    pixels: ArrayPixels, source: str, asked: Asked, identity: Callable[[], str]
) -> Callable[[NDArray[np.int64], Size, float], Loaded]:
    """What `Listing.load` is for arrays; a file that needs no change is used where it lies.

    Args:
        pixels: the arrays.
        source: its name, for messages.
        asked: whether a run prescribes the scale.
        identity: text that changes when the arrays do.
    """
    return partial(_load, pixels, source, asked, identity)


def _load(
    pixels: ArrayPixels,
    source: str,
    asked: Asked,
    identity: Callable[[], str],
    rows: NDArray[np.int64],
    size: Size,
    max_unreadable: float,
) -> Loaded:
    height, width = (size, size) if isinstance(size, int) else size or pixels.shape[1:3]
    whole = len(rows) == pixels.shape[0] and (height, width) == pixels.shape[1:3]
    if whole and pixels.as_it_is is not None:
        return Loaded(pixels.as_it_is, rows, (), evident(pixels.scale, pixels.as_it_is, asked))

    def fill(out: NDArray[Any]) -> dict[str, Any]:
        place = 0
        for chunk in pixels.chunks(rows, source):
            out[place : place + len(chunk)] = resized(chunk, (height, width))
            place += len(chunk)
        return {"rows": place}

    shape = (len(rows), height, width, pixels.shape[3])
    made_of = [repr((shape, pixels.axes, pixels.scale, pixels.factors, pixels.nodata))]

    def named() -> str:
        return fingerprint([*made_of, identity(), rows.tobytes().hex()])

    found, _ = decoded(shape, pixels.dtype, named, fill)
    notes: list[str] = []
    if (height, width) != pixels.shape[1:3]:
        old = f"{pixels.shape[1]}x{pixels.shape[2]}"
        notes.append(f"Images ({old}) were resized and centre-cropped to {height}x{width} pixels.")
    return Loaded(found, rows, tuple(notes), evident(pixels.scale, found, asked))


def list_set(images: ImageSet) -> Listing:
    """An image set that is there already, as a source."""

    def load(rows: NDArray[np.int64], size: Size, max_unreadable: float) -> Loaded:
        whole = len(rows) == len(images)
        pixels = resized(images.pixels if whole else picked(images.pixels, rows), size)
        return Loaded(pixels, rows, (), images.value_scale)

    return Listing(
        name=images.name,
        row_ids=images.row_ids,
        splits=images.splits,
        load=load,
        targets=images.targets,
        groups=images.groups,
        group_name=images.group_name,
        group_names=images.group_names,
        mirrored=images.mirrored,
        notes=images.notes,
        tile_of=images.tile_of,
    )


def made_like(images: ImageSet, like: ImageSet, options: ReadOptions | None = None) -> ImageSet:
    """The images with the channels and the value scale of another set: grey <-> RGB, 8 <-> 16 bits.

    Args:
        images: to convert.
        like: what they become like.
        options: bits and value range that the user gave.

    Raises:
        ValueError: there is no such conversion between their channels or their values.
    """
    pixels, notes = images.pixels, []
    if images.channels != like.channels:
        if {images.channels, like.channels} != {1, 3}:
            raise ValueError(
                f"{images.name} has {images.channels} channels and {like.name} has "
                f"{like.channels}: they cannot be used together."
            )
        if like.channels == 3:
            pixels = np.repeat(pixels, 3, axis=3)
        else:
            made = [grey(pixels[i : i + CHUNK]) for i in range(0, len(pixels), CHUNK)]
            pixels = np.concatenate(made)
        notes.append(f"Its {images.channels} channels were made {like.channels}, as {like.name}.")
    own, wanted = images.value_scale, like.value_scale
    assert own is not None and wanted is not None
    if options is not None:
        own = declared(own, own.bits or options.bits, options.value_range)
    try:
        factor = conversion(
            own, wanted, like.name, None if options is None else options.value_range
        )
        if factor != (1.0, 0.0) or pixels.dtype != like.pixels.dtype:
            pixels = converted(np.asarray(pixels), like.pixels.dtype, *factor)
            notes.append(f"Its {own.words} were made {wanted.words}, as {like.name}.")
    except ValueError as error:
        raise ValueError(f"{images.name}: {error}.") from None
    return replace(images, pixels=pixels, value_scale=wanted).with_notes(*notes)
